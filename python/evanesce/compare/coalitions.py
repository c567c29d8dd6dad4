"""Who must work together to use, take or destroy a key: computed from who has what, smallest coalitions first. Pure.

A party has capabilities (an element, an identity, a place to run code, …); a deed is possible for those capabilities
that its predicate says. What is computed are the minimal coalitions: sets of parties that can do it, of which no part
can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from evanesce.compare.results import Carried, Coalition, Insider

Can = Callable[[frozenset[str]], bool]
"""Whether these capabilities suffice. More must never be worth less."""

MOST = 8
"""Parties in a coalition that are tried."""
LISTED = 12
"""Minimal coalitions that are listed for each deed."""


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody, or something that one has all at once by taking it over."""

    name: str
    kind: str
    has: frozenset[str]


def minimal(parties: Sequence[Party], can: Can) -> tuple[Coalition, ...]:
    """The minimal coalitions, smallest first, in the order of the parties."""
    found: list[frozenset[int]] = []
    for size in range(1, min(len(parties), MOST) + 1):
        for places in combinations(range(len(parties)), size):
            chosen = frozenset(places)
            if any(smaller <= chosen for smaller in found):
                continue
            if can(frozenset().union(*(parties[place].has for place in places))):
                found.append(chosen)
    return tuple(
        Coalition(
            tuple(parties[place].name for place in sorted(chosen)),
            tuple(parties[place].kind for place in sorted(chosen)),
        )
        for chosen in found
    )


def of_each(parties: Sequence[Party], deeds: Mapping[str, Can]) -> dict[str, tuple[Coalition, ...]]:
    """The minimal coalitions for each deed."""
    return {name: minimal(parties, can) for name, can in deeds.items()}


def by_kind(found: Sequence[Coalition]) -> dict[str, int]:
    """The smallest coalition that each kind of party can form among its own, where it can."""
    smallest: dict[str, int] = {}
    for one in found:
        if len(set(one.kinds)) == 1:
            kind = one.kinds[0]
            smallest[kind] = min(len(one.members), smallest.get(kind, len(one.members)))
    return smallest


def insider(
    parties: Sequence[Party],
    found: Mapping[str, Sequence[Coalition]],
    carried: Sequence[Carried],
    not_carried: Sequence[str],
    computed: Mapping[str, str] | None = None,
) -> Insider:
    """The dimension: what was `found` for each deed, and what was carried out of it; `computed` says why a smallest
    coalition was not. The list is cut short, the counts are not."""
    return Insider(
        len(parties),
        {name: _of_their_own_first(of)[:LISTED] for name, of in found.items()},
        {name: len(of) for name, of in found.items()},
        {name: by_kind(of) for name, of in found.items()},
        tuple(carried),
        tuple(not_carried),
        dict(computed or {}),
    )


def _of_their_own_first(found: Sequence[Coalition]) -> tuple[Coalition, ...]:
    """Smallest first; of one size those of one kind first."""
    return tuple(sorted(found, key=lambda one: (len(one.members), len(set(one.kinds)))))
