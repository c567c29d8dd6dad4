"""How much a quorum can still lose, and how little suffices to open it: from its formula and who answers. Pure.

Seats are what the formula counts. Agents, sites, vendors and administrators are groups of seats that stand and fall
together, as the quorum file labels them; where a seat's label is missing, nothing is said of that kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evanesce import _core
from evanesce.home import LABELS, Agent


@dataclass(frozen=True, slots=True)
class Group:
    """One kind of group: agents, sites, vendors or administrators."""

    to_block: int | None
    """The fewest of them without which nothing opens; None where that is not known."""
    to_open: int | None
    """The fewest of them that can open by themselves."""


@dataclass(frozen=True, slots=True)
class Margins:
    """A token's margins, at the moment its seats were asked."""

    live: int
    seats: int
    losses: int
    """The fewest further seats without which nothing opens: 0 is unopenable now, 1 is no loss to spare."""
    agents: Group
    sites: Group
    vendors: Group
    administrators: Group


UNKNOWN = Group(None, None)


def margins(token: _core.Token, live: Sequence[bool], holders: Sequence[str], agents: Mapping[str, Agent]) -> Margins:
    """`live` and `holders` (agent ids) are in seat order; `agents` is by id."""
    known = [agents.get(holder) for holder in holders]
    labels: list[list[str] | None] = [list(holders)]
    for kind in LABELS:
        found = ["" if agent is None else str(getattr(agent, kind)) for agent in known]
        # A seat whose place nobody wrote down may be at any of the others'.
        labels.append(found if all(found) else None)
    given = [_numbered(names) for names in labels if names is not None]
    losses, groups = token.margins(list(live), given)
    answers = iter(groups)
    of_kind = (UNKNOWN if names is None else Group(*next(answers)) for names in labels)
    return Margins(sum(live), len(live), losses, *of_kind)


def _numbered(names: Sequence[str]) -> list[int]:
    numbers: dict[str, int] = {}
    return [numbers.setdefault(name, len(numbers)) for name in names]
