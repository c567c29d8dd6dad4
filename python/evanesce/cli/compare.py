"""`evanesce compare`: the custody models side by side, as measured now, on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.text import Text

from evanesce import _files
from evanesce._text import printable
from evanesce.cli._app import App, verb
from evanesce.errors import error


def register(root: click.Group) -> None:
    """Adds the verb."""
    # Imported when it is asked for: it brings in what no other verb needs.
    names = ("hsm", "mpc", "regen", "regen-mpc")

    @verb(root, "compare")
    @click.option(
        "--model", "models", multiple=True, type=click.Choice(names), help="One of them; repeat. [default: all]"
    )
    @click.option(
        "--round-trip",
        metavar="MS",
        type=click.FloatRange(0.1, 2000),
        help="Also time operations across a simulated distance between caller and agents.",
    )
    @click.option(
        "--samples",
        metavar="N",
        type=click.IntRange(20, 10_000),
        default=200,
        show_default=True,
        help="Timed one at a time.",
    )
    @click.option(
        "--seconds", metavar="S", type=click.FloatRange(0.1, 60), default=2.0, show_default=True, help="For each rate."
    )
    @click.option(
        "--own", is_flag=True, help="Measure your own agents and module, with keys that are made for it and destroyed."
    )
    @click.option(
        "--html", "report", metavar="FILE", help="Write a report: one HTML file with charts, no network needed."
    )
    @click.option("--out", metavar="FILE", help="Write the machine form (as --json), for `advise --measured`.")
    @click.option("--force", is_flag=True, help="Replace files that are there.")
    def compare(
        app: App,
        models: tuple[str, ...],
        round_trip: float | None,
        samples: int,
        seconds: float,
        own: bool,
        report: str | None,
        out: str | None,
        force: bool,
    ) -> None:
        """Measure the custody models side by side, now, on this machine.

        Six dimensions: material at rest, insider compromise, per-operation latency, crypto-agility, backup and
        recovery, regulatory fit. Without --own everything happens in temporary folders and nothing of yours is touched.
        What cannot be measured here is said by name, with the reason. See docs/compare.md.
        """
        from evanesce import compare as comparing
        from evanesce.compare import report as reports
        from evanesce.compare import table

        for path in (report, out):
            if path is not None and Path(path).exists() and not force:
                raise error("exists", f"{path} exists already", "Name another file, or replace it: --force.")
        comparison = comparing.compare(
            dict.fromkeys(models) or names,
            samples=samples,
            seconds=seconds,
            round_trip_ms=round_trip,
            home=app.home.root if own else None,
            say=app.remark,
        )
        document = comparison.as_dict()
        if out is not None:
            _files.write(Path(out), json.dumps(document, indent=1).encode(), overwrite=force)
        if report is not None:
            _files.write(Path(report), reports.html(comparison).encode(), overwrite=force)
        app.emit(document)
        if app.json:
            return
        if comparison.models:
            app.out.print(table.table(comparison))
        for text, style in table.lines(comparison):
            app.out.print(Text(printable(text, limit=None), style=style))
        app.say(f"Measured in {comparison.seconds:.1f} s.")
        if report is not None:
            app.say(f"Report: {report}")
