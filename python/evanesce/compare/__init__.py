"""The four custody models side by side, as measured now, on this machine: six dimensions for each.

`compare` sets each model up in a sandbox, measures what can be measured, and says by name what was not and why;
nothing is filled in. `results` is the data model, `subject` the interface that each model's file implements,
`regulatory` the one dimension that is not measured but maintained. `table` and `report` show it, in a terminal and as
one HTML file.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from evanesce import __version__
from evanesce.compare import regulatory
from evanesce.compare.results import Comparison, Model, NotMeasured, Regulatory
from evanesce.compare.subject import SUBJECTS, CannotMeasure, Sandbox, quiet, subject
from evanesce.errors import EvanesceError

__all__ = ["SUBJECTS", "compare"]

T = TypeVar("T")


def compare(
    names: Iterable[str] = tuple(SUBJECTS),
    *,
    samples: int = 200,
    seconds: float = 2.0,
    round_trip_ms: float | None = None,
    home: Path | None = None,
    say: Callable[[str], None] = quiet,
) -> Comparison:
    """Measures these models. `samples`: operations timed one at a time for each algorithm; `seconds`: for each rate;
    `round_trip_ms`: a simulated distance between caller and agents. `home`: a home folder whose own agents and modules
    are measured, as far as that takes nothing apart."""
    begin = time.perf_counter()
    fit = regulatory.load()
    models: dict[str, Model] = {}
    missing: dict[str, str] = {}
    for name in names:
        say(f"{name}: setting up")
        with tempfile.TemporaryDirectory(prefix="evanesce-compare-") as folder:
            try:
                models[name] = _measure(
                    name, Sandbox(Path(folder), samples, seconds, round_trip_ms, home, say), fit[name]
                )
            except CannotMeasure as e:
                missing[name] = str(e)
    return Comparison(
        datetime.now(UTC).isoformat(timespec="seconds"),
        machine(),
        round_trip_ms,
        models,
        missing,
        time.perf_counter() - begin,
    )


def _measure(name: str, sandbox: Sandbox, fit: Regulatory) -> Model:
    begin = time.perf_counter()
    with subject(name, sandbox) as one:

        def dimension(what: str, measure: Callable[[], T | NotMeasured]) -> T | NotMeasured:
            sandbox.say(f"{name}: {what}")
            try:
                return measure()
            except EvanesceError as e:
                if e.code == "internal":
                    raise
                return NotMeasured(f"it failed: {e.message}")

        # Recovery last: it takes parts of the model away.
        at_rest = dimension("material at rest", one.at_rest)
        insider = dimension("insider compromise", one.insider)
        latency = dimension("latency", one.latency)
        agility = dimension("crypto-agility", one.agility)
        recovery = dimension("backup and recovery", one.recovery)
        title = one.title
    took = time.perf_counter() - begin
    return Model(name, title, at_rest, insider, latency, agility, recovery, fit, took)


def machine() -> dict[str, Any]:
    """What it was measured on."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 2),
        "evanesce": __version__,
    }
