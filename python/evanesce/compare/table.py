"""A comparison in a terminal: dimensions down, models across, then what was carried out, then what was not measured."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from evanesce._text import printable
from evanesce.compare.results import DIMENSIONS, Comparison, Insider, Latency, Recovery
from evanesce.compare.summary import cell, quantiles, rate, seconds


def table(comparison: Comparison) -> Table:
    """Dimensions down, models across: those that were measured."""
    names = list(comparison.models)
    made = Table("", *names, show_lines=True, pad_edge=False)
    for key, title in DIMENSIONS.items():
        cells = [printable(cell(comparison.models[name], key), lines=True, limit=None) for name in names]
        made.add_row(Text(title, style="bold"), *map(Text, cells))
    return made


def lines(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """(text, style) of what does not fit into the table."""
    for name, model in comparison.models.items():
        if isinstance(model.latency, Latency):
            for one in model.latency.timings:
                parts = []
                if one.rate is not None:
                    parts.append(rate(one))
                if far := quantiles(one.p50_far_ms, one.p99_far_ms):
                    parts.append(f"across {comparison.round_trip_ms:g} ms {far}")
                if parts:
                    yield f"{name}, {one.suite} {one.operation}: {'; '.join(parts)}", ""
            yield f"{name}: {model.latency.arrangement}", "dim"
        if isinstance(model.insider, Insider):
            for deed in model.insider.carried:
                who = " and ".join(deed.members)
                yield f"{name}, {deed.can} by {who}: {deed.got}; seen: {deed.seen}", "" if deed.succeeded else "dim"
            for words in model.insider.not_carried:
                yield f"{name}: {words}", "dim"
        if isinstance(model.recovery, Recovery):
            for step in model.recovery.steps:
                detail = f" ({step.detail})" if step.detail else ""
                verdict = "" if step.ok else "FAILED: "
                yield f"{name}, {verdict}{step.what}: {seconds(step.seconds)}{detail}", "" if step.ok else "red"
    for name, reason in comparison.not_measured.items():
        yield f"{name}: not measured here: {reason}", "yellow"
