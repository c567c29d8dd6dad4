"""What a model must offer to be compared: one file of this package for each, named in `SUBJECTS`.

A subject sets itself up in a sandbox folder of its own, measures one dimension a method, and cleans up. A dimension
that it cannot measure here it returns as `NotMeasured`; a model that cannot be set up at all raises `CannotMeasure`.
Nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol, Self

from evanesce.compare.results import Agility, AtRest, Insider, Latency, NotMeasured, Recovery
from evanesce.errors import error

SUBJECTS: dict[str, str] = {
    "hsm": "evanesce.compare.hsm",
    "mpc": "evanesce.compare.mpc",
    "regen": "evanesce.compare.regen",
    "regen-mpc": "evanesce.compare.regen_mpc",
}
"""The four models, and where the subject of each is: a module with a function `subject(sandbox)`."""


def quiet(text: str) -> None:
    """Says nothing."""


class CannotMeasure(Exception):
    """This model cannot be measured on this machine; the reason is its text."""


def must(holds: bool, otherwise: str) -> None:
    """What a measurement rests on. Raises `internal`."""
    if not holds:
        raise error("internal", f"the comparison failed: {otherwise}", "Please report this.")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a subject may use."""

    folder: Path
    """Its own, empty, removed afterwards."""
    samples: int
    """Operations timed one at a time, for each algorithm."""
    seconds: float
    """For each measuring of a rate."""
    round_trip_ms: float | None
    """Between caller and agents, simulated; None to leave it out."""
    home: Path | None = None
    """The caller's own home folder, whose agents and modules are to be measured; None for a sandbox's."""
    say: Callable[[str], None] = field(default=quiet)
    """Progress, in words."""


class Subject(Protocol):
    """One model, set up."""

    @property
    def title(self) -> str: ...

    def at_rest(self) -> AtRest | NotMeasured: ...
    def insider(self) -> Insider | NotMeasured: ...
    def latency(self) -> Latency | NotMeasured: ...
    def agility(self) -> Agility | NotMeasured: ...
    def recovery(self) -> Recovery | NotMeasured: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


def subject(name: str, sandbox: Sandbox) -> Subject:
    """The subject of this name. Raises `CannotMeasure` where this release has none, or this machine not what it
    needs."""
    try:
        module = import_module(SUBJECTS[name])
    except ModuleNotFoundError as e:
        if e.name != SUBJECTS[name]:
            raise
        raise CannotMeasure(f"this release cannot measure {name}") from None
    made: Subject = module.subject(sandbox)
    return made
