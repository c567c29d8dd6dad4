"""Kinds of planted leaks: each a fresh secret, put in one kind of place of a process that has just been searched in
vain. All must be found, and where they were put: a hit elsewhere does not count."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .canaries import Canary
from .household import Household, Service, Watched
from .search import Hit

_SPAN = 600
"""Bytes from a plant's address on within which its hit begins, whatever its form."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of leak."""

    name: str
    plant: str
    """What the victim is told to do."""
    victim: str = "caller"
    file: str | None = None
    """The file it must be found in, below the run's folder (as a beginning); None for memory."""
    fleeting: bool = False
    """In memory that is free and may be reused, or of a process that takes no commands: looked for from outside
    only, at once."""
    core: bool = False
    """Looked for in the core file that the victim leaves."""
    own_root: bool = False
    """The agent's own root is leaked, which in the right place would be none."""


KINDS: Sequence[Kind] = (
    Kind("Rust heap", "rust-heap"),
    Kind("Rust heap, eight bytes of it", "heap-fragment"),
    Kind("Rust heap, reversed", "heap-reversed"),
    Kind("Rust string of hex digits", "hex-string"),
    Kind("Rust Debug string", "debug-string"),
    Kind("HMAC pad block", "hmac-pad"),
    Kind("SHA-2 message block", "hash-block"),
    Kind("stack of a thread", "thread-stack"),
    Kind("static memory", "static-memory"),
    Kind("arena, never dropped", "arena-forgotten"),
    Kind("shared mapping", "shared-mapping"),
    Kind("mapping of a deleted file", "deleted-mapping"),
    Kind("Python bytes", "python-bytes"),
    Kind("Python string of hex digits", "python-hex"),
    Kind("Python string of base64", "python-base64"),
    Kind("Python integer", "python-integer"),
    Kind("traceback that was kept", "python-traceback"),
    Kind("environment of a child", "environment"),
    Kind("argument of a child", "argument"),
    Kind("line of the caller's log", "log-line", file="caller/output"),
    Kind("file in the home folder", "file-at-home", file="home/.planted"),
    Kind("temporary file", "temporary-file", file="tmp/"),
    Kind("Rust heap of an agent", "rust-heap", victim="agent-2"),
    Kind("arena of an agent", "arena-forgotten", victim="agent-2"),
    Kind("line of an agent's log", "log-line", victim="agent-2", file="agent-2/output"),
    Kind("an agent's own root, in its heap", "rust-heap", victim="agent-3", own_root=True),
    Kind("an agent's own root, twice in its arena", "arena-forgotten", victim="agent-4", own_root=True),
    Kind("core file of the caller", "python-bytes", core=True),
    Kind("core file of an agent", "rust-heap", victim="agent-1", core=True),
    Kind("Rust heap of an agent, freed", "heap-freed", victim="agent-2", fleeting=True),
    Kind("Python bytearray, freed", "python-bytes-freed", fleeting=True),
    # A program that takes no commands: planted from outside, and looked for from there.
    Kind("heap of the service", "heap", victim="service", fleeting=True),
    Kind("stack of the service", "stack", victim="service", fleeting=True),
    Kind("arena of the service", "locked", victim="service", fleeting=True),
    Kind("line of the service's log", "output", victim="service", file="service/output"),
)


@dataclass(slots=True)
class Planted:
    """One leak, and what was found of it."""

    kind: Kind
    canary: Canary
    where: dict[str, Any]
    evidence: list[Hit] = field(default_factory=list)

    @property
    def found(self) -> bool:
        """Whether it was found where it was put; in live memory from outside and from inside."""
        if self.kind.file or self.kind.core or self.kind.fleeting or "pid" in self.where:
            return bool(self.evidence)
        return {hit.inside for hit in self.evidence} == {False, True}

    def recognise(self, hits: Iterable[Hit]) -> None:
        """Takes those of the hits that show this leak where it was put."""
        self.evidence += [hit for hit in hits if hit.label == self.canary.label and self._is_there(hit)]

    def _is_there(self, hit: Hit) -> bool:
        kind = self.kind
        if kind.file:
            return hit.holder.startswith(kind.file)
        if "pid" in self.where:
            return hit.holder == f"{kind.victim}'s child {self.where['pid']}" and "[stack]" in hit.place
        at = self.where["address"]
        right_place = hit.place.startswith("core file") == kind.core
        return hit.holder == kind.victim and right_place and at <= hit.address < at + _SPAN


def plant(household: Household) -> list[Planted]:
    """Leaks one secret of every kind."""
    victims: dict[str, Watched] = {"caller": household.caller, "service": household.service} | {
        agent.name: agent for agent in household.agents
    }
    return [_plant(kind, victims[kind.victim], household) for kind in KINDS]


def _plant(kind: Kind, victim: Watched, household: Household) -> Planted:
    canary = Canary(f"planted: {kind.name}", secrets.token_bytes(32))
    if kind.own_root:
        (agent,) = (agent for agent in household.agents if agent.name == kind.victim)
        canary = next(agent.canaries())
    if isinstance(victim, Service):
        return Planted(kind, canary, victim.plant(kind.plant, canary.value))
    mask = bytes(1 + secrets.randbelow(255) for _ in range(8))
    masked = bytes(b ^ mask[i % 8] for i, b in enumerate(canary.value))
    where = victim.ask(do="plant", kind=kind.plant, masked=masked.hex(), mask=mask.hex())
    return Planted(kind, canary, where)


Say = Callable[[str], None]


def report(planted: Iterable[Planted], say: Say) -> None:
    """A line for each kind."""
    for each in planted:
        if each.found:
            hit = each.evidence[0]
            where = hit.place.split(" ", 2)[-1] if hit.place else hit.holder
            say(f"  planted in {each.kind.name}: found, {hit.form}, {each.kind.victim}, {where}")
        else:
            say(f"  planted in {each.kind.name}: NOT FOUND")
