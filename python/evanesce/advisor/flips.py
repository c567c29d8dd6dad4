"""What would change the verdict: the smallest change of each field and each fact that gives another first choice.

A search, not a proof: a choice is tried with every other value, until one gives another first choice; of a list, one is
added or taken away; a number moves up and, apart from that, down by factors of two within its field's bounds until the
first choice is another, and the step in which that happened is halved until it is one in a thousand (one, for whole
numbers). A change back and forth within one doubling is missed, and so are two things that would have to change
together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import log2
from typing import Any

from evanesce.advisor.engine import Ranking, first_choice, judge, rank
from evanesce.advisor.facts import Fact, Facts
from evanesce.advisor.rules import Rules
from evanesce.advisor.workload import FIELDS, Field, Value, Workload

_STEPS = 30
"""Factors of two each way: a factor of a billion."""


@dataclass(frozen=True, slots=True)
class Flip:
    """One change that gives another first choice."""

    what: str
    """The field's or fact's name."""
    is_fact: bool
    was: Value
    becomes: Value
    first: str | None
    """The first choice then."""
    size: float
    """How large the change is: one for a choice, or a word more or less in a list; for a number how many doublings."""


def flips(workload: Workload, rules: Rules, facts: Facts, ranking: Ranking | None = None) -> tuple[Flip, ...]:
    """The smallest change of each field and fact that changes the first choice, smallest first."""
    ranking = ranking or rank(workload, rules, facts)
    found: list[Flip] = []

    for field in FIELDS:
        if field.kind == "text":
            continue

        def with_field(value: Value, name: str = field.name) -> str | None:
            return first_choice(workload.but(**{name: value}), rules, facts)

        found += _of_field(field, workload, ranking.first, with_field)
    for name in _numbers_used(ranking, rules, facts):
        fact = facts[name]

        def with_fact(value: Value, fact: Fact = fact) -> str | None:
            return first_choice(workload, rules, {**facts, fact.id: replace(fact, value=value)})

        found += _of_number(name, True, fact.value, _bounds(fact), False, ranking.first, with_fact)
    return tuple(sorted(found, key=lambda flip: (flip.is_fact, flip.size)))


def _numbers_used(ranking: Ranking, rules: Rules, facts: Facts) -> list[str]:
    """Facts with numbers that any rule would compare with for this workload, whether it holds or not."""
    names: dict[str, None] = {}
    for candidate in rules.candidates:
        for rule in rules.of[candidate.id]:
            for name in judge(rule.when, ranking.workload, candidate.id, facts).facts:
                if isinstance(facts[name].value, int | float):
                    names[name] = None
    return list(names)


def _bounds(fact: Fact) -> tuple[float, float]:
    value = float(fact.value)  # type: ignore[arg-type]
    return value / 1e6, value * 1e6


def _of_field(field: Field, workload: Workload, before: str | None, first: Callable[[Value], str | None]) -> list[Flip]:
    was = workload[field.name]
    if field.kind == "number":
        return _of_number(field.name, False, was, (field.lowest, field.highest), field.whole, before, first)
    for value in _others(field, was):
        now = first(value)
        if now != before:
            return [Flip(field.name, False, was, value, now, 1.0)]
    return []


def _others(field: Field, was: Any) -> Iterator[Value]:
    if field.kind == "choice":
        yield from (choice for choice in field.choices if choice != was)
        return
    for choice in field.choices:
        kept = tuple(c for c in field.choices if (c in was) != (c == choice))
        if kept or not field.default:
            yield kept


def _of_number(
    name: str,
    is_fact: bool,
    was: Any,
    bounds: tuple[float, float],
    whole: bool,
    before: str | None,
    first: Callable[[Value], str | None],
) -> list[Flip]:
    found = []
    for way in (1, -1):
        end = _search(float(was), bounds, whole, way, before, first)
        if end is not None:
            found.append(
                Flip(name, is_fact, was, _typed(end, whole), first(_typed(end, whole)), _size(float(was), end))
            )
    return found


def _search(
    was: float,
    bounds: tuple[float, float],
    whole: bool,
    way: int,
    before: str | None,
    first: Callable[[Value], str | None],
) -> float | None:
    good = was
    for step in range(1, _STEPS + 1):
        bad = _moved(was, step, way, whole)
        bad = min(max(bad, bounds[0]), bounds[1])
        if bad == good:
            if bad in bounds:
                return None
            continue
        if first(_typed(bad, whole)) != before:
            break
        good = bad
    else:
        return None
    while abs(bad - good) > (1 if whole else abs(good) / 1000 + 1e-9):
        middle = (good + bad) / 2
        middle = float(int(middle)) if whole else middle
        if first(_typed(middle, whole)) != before:
            bad = middle
        else:
            good = middle
    return bad


def _moved(was: float, step: int, way: int, whole: bool) -> float:
    if whole:
        far = max(step, int(max(was, 1) * (2.0**step - 1)))
        return was + way * far
    base = was if was else 0.01
    return base * 2.0 ** (way * step)


def _typed(value: float, whole: bool) -> Value:
    return int(value) if whole else float(f"{value:.4g}")


def _size(was: float, becomes: float) -> float:
    low, high = sorted((abs(was), abs(becomes)))
    return abs(log2(high / low)) if low else log2(1 + high)
