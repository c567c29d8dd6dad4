"""What a comparison found: six dimensions for each model. Values only; how they are measured is each subject's
business.

Every dimension is either what was measured or `NotMeasured` with the reason: there is no third way to fill a cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any

DIMENSIONS = {
    "at_rest": "Material at rest",
    "insider": "Insider compromise",
    "latency": "Per-operation latency",
    "agility": "Crypto-agility",
    "recovery": "Backup and recovery",
    "regulatory": "Regulatory fit",
}


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """A dimension that was not measured here."""

    reason: str


@dataclass(frozen=True, slots=True)
class Store:
    """One place where something of the key rests, as its thief finds it."""

    holder: str
    what: str
    """In words: what lies there."""
    keeps: str
    """What of the key rests here by the model's own account, in words; empty for nothing."""
    files: int
    bytes: int
    hits: int | None
    """Occurrences of the key's own bytes in it, in any searched form; None where nobody knows them."""
    thief_has: str
    """What whoever takes this store alone can do, in words."""


@dataclass(frozen=True, slots=True)
class AtRest:
    """Material at rest."""

    stores: tuple[Store, ...]
    searched_bytes: int
    forms: tuple[str, ...]
    """In which the key was searched for."""
    control_found: bool | None
    """The same search finds the key where it was put on purpose; None where there is none, since nobody, the sandbox
    included, has ever known the key."""
    per_key: str
    """What another key adds at the agents or in the module, in words."""
    remarks: tuple[str, ...] = ()

    @property
    def hits(self) -> int | None:
        """In all stores; None where there was no search."""
        return None if self.control_found is None else sum(store.hits or 0 for store in self.stores)

    @property
    def keeping(self) -> tuple[Store, ...]:
        """Those that keep something of the key."""
        return tuple(store for store in self.stores if store.keeps)


@dataclass(frozen=True, slots=True)
class Coalition:
    """A smallest set of parties that together can do something."""

    members: tuple[str, ...]
    kinds: tuple[str, ...]
    """Each member's kind: operator, caller, minter, …"""


@dataclass(frozen=True, slots=True)
class Carried:
    """One coalition's deed, carried out in the sandbox."""

    can: str
    """use, exfiltrate or destroy"""
    members: tuple[str, ...]
    got: str
    """What it got, in words."""
    succeeded: bool
    seen: str
    """What those who were betrayed have seen of it, in words."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Insider:
    """Insider compromise: for each of use, exfiltrate and destroy the minimal coalitions, smallest first."""

    parties: int
    coalitions: Mapping[str, tuple[Coalition, ...]]
    counts: Mapping[str, int]
    """How many minimal coalitions there are, where not all are listed."""
    by_kind: Mapping[str, Mapping[str, int]]
    """For each deed the smallest coalition of each kind of party by itself."""
    carried: tuple[Carried, ...]
    not_carried: tuple[str, ...]
    """What was computed and not done, with the reason."""
    computed: Mapping[str, str] = field(default_factory=dict)
    """Deeds of which the smallest coalition was computed and not carried out, though others were: deed → why."""

    def smallest(self, can: str) -> int | None:
        """How many must work together; None where nobody can."""
        return min((len(one.members) for one in self.coalitions.get(can, ())), default=None)


@dataclass(frozen=True, slots=True)
class Timing:
    """One algorithm's operation."""

    suite: str
    operation: str
    p50_ms: float
    p99_ms: float
    samples: int
    rate: float | None = None
    """Operations a second with `in_flight` at once; None where only one at a time was measured."""
    in_flight: int = 0
    p50_far_ms: float | None = None
    """Across the simulated distance."""
    p99_far_ms: float | None = None
    in_call: int = 1
    """Messages of one call, where many in one were timed."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Per-operation latency. `of_class` names the timing that stands for signature, mac and cipher."""

    timings: tuple[Timing, ...]
    of_class: Mapping[str, Timing]
    arrangement: str


@dataclass(frozen=True, slots=True)
class Switch:
    """One change of algorithm, done live."""

    before: str
    after: str
    how: str
    steps: int
    devices: int
    """Agents or modules that had to be touched."""
    ceremonies: int
    """Occasions at which several people must be there."""
    seconds: float | None
    """From the decision to the first verified result; None where the change cannot be made, and `how` says why."""


@dataclass(frozen=True, slots=True)
class Agility:
    switches: tuple[Switch, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a loss and the recovery from it."""

    what: str
    seconds: float
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Recovery:
    """A site is lost and recovered from."""

    lost: str
    steps: tuple[Step, ...]
    backup: str
    """What had to be kept beforehand, in words."""

    @property
    def seconds_to_first(self) -> float | None:
        """From the loss to the first operation that worked."""
        return next((step.seconds for step in self.steps if step.ok), None)


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of a rule, and what a model has to show for it."""

    framework: str
    clause: str
    asks: str
    source: str
    date: str
    evidence: str
    """full, partial, none or not-applicable"""
    shows: str


@dataclass(frozen=True, slots=True)
class Regulatory:
    clauses: tuple[Clause, ...]

    def count(self, evidence: str) -> int:
        return sum(clause.evidence == evidence for clause in self.clauses)


@dataclass(frozen=True, slots=True)
class Model:
    """One model's row."""

    name: str
    title: str
    at_rest: AtRest | NotMeasured
    insider: Insider | NotMeasured
    latency: Latency | NotMeasured
    agility: Agility | NotMeasured
    recovery: Recovery | NotMeasured
    regulatory: Regulatory | NotMeasured
    seconds: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of it."""

    when: str
    machine: Mapping[str, Any]
    round_trip_ms: float | None
    """The simulated distance; None where none was asked for."""
    models: Mapping[str, Model]
    not_measured: Mapping[str, str]
    """Models that were not measured at all: name → reason."""
    seconds: float
    kind: str = field(default="evanesce-compare", init=False)

    def as_dict(self) -> dict[str, Any]:
        """The machine form. `advise --measured` reads `models/NAME/latency/CLASS`."""
        document: dict[str, Any] = _plain(self)
        for name, model in self.models.items():
            latency = document["models"][name]["latency"]
            if isinstance(model.latency, Latency):
                latency |= latency.pop("of_class")
            insider = document["models"][name]["insider"]
            if isinstance(model.insider, Insider):
                insider["smallest"] = {can: model.insider.smallest(can) for can in model.insider.coalitions}
            if isinstance(model.at_rest, AtRest):
                document["models"][name]["at_rest"]["hits"] = model.at_rest.hits
        return document


def _plain(value: Any) -> Any:
    if isinstance(value, NotMeasured):
        return {"not_measured": value.reason}
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
