"""The engine: which candidates a workload excludes, how the others rank, and by which rule and fact. Pure.

A rule whose fact is not there does not hold and is not forgotten: it is in `unknown`, so that nothing is concluded from
a figure that nobody has measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from evanesce.advisor.facts import Facts
from evanesce.advisor.rules import Candidate, Condition, Rule, Rules, Term, Test
from evanesce.advisor.workload import Field, Workload


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that holds for one candidate."""

    rule: str
    candidate: str
    points: int
    """0 for an exclusion."""
    says: str
    compared: tuple[str, ...]
    """What was compared, with the values."""
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """One rule that could not be judged for one candidate, for want of facts."""

    rule: str
    candidate: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate that fits."""

    candidate: Candidate
    points: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Ranking:
    """A workload's."""

    workload: Workload
    fits: tuple[Ranked, ...]
    """Best first; equal ones in the rules' order."""
    excluded: tuple[tuple[Candidate, tuple[Finding, ...]], ...]
    unknown: tuple[Unknown, ...]

    @property
    def first(self) -> str | None:
        """The first choice's id; None where nothing fits."""
        return self.fits[0].candidate.id if self.fits else None


@dataclass(slots=True)
class _Judged:
    """A condition's outcome: `holds` is None where a fact is missing."""

    holds: bool | None
    compared: list[str]
    facts: list[str]
    missing: list[str]


def rank(workload: Workload, rules: Rules, facts: Facts) -> Ranking:
    """Judges every candidate by every rule."""
    fits: list[Ranked] = []
    excluded: list[tuple[Candidate, tuple[Finding, ...]]] = []
    unknown: list[Unknown] = []
    for candidate in rules.candidates:
        findings: list[Finding] = []
        for rule in rules.of[candidate.id]:
            judged = judge(rule.when, workload, candidate.id, facts)
            if judged.holds is None:
                unknown.append(Unknown(rule.id, candidate.id, tuple(judged.missing)))
            elif judged.holds:
                findings.append(_finding(rule, candidate.id, judged))
        against = tuple(finding for finding in findings if not finding.points)
        if against:
            excluded.append((candidate, against))
        else:
            fits.append(Ranked(candidate, sum(finding.points for finding in findings), tuple(findings)))
    # The sort is stable: equal ones stay in the rules' order.
    fits.sort(key=lambda ranked: -ranked.points)
    return Ranking(workload, tuple(fits), tuple(excluded), tuple(unknown))


def first_choice(workload: Workload, rules: Rules, facts: Facts) -> str | None:
    """`rank(…).first`, without the words."""
    best: tuple[int, str | None] = (-(10**9), None)
    for candidate in rules.candidates:
        points = 0
        for rule in rules.of[candidate.id]:
            if judge(rule.when, workload, candidate.id, facts, words=False).holds:
                if rule.excludes:
                    break
                points += rule.points[candidate.id]
        else:
            if points > best[0]:
                best = (points, candidate.id)
    return best[1]


def verdict(ranking: Ranking, facts: Facts) -> str:
    """What is said to whoever has this first choice."""
    if not ranking.fits:
        return "Nothing here fits. The exclusions below say what would have to give."
    candidate = ranking.fits[0].candidate
    return next(
        says for when, says in candidate.verdicts if judge(when, ranking.workload, candidate.id, facts).holds is True
    )


def weaknesses(candidate: Candidate, workload: Workload, facts: Facts) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What is weak about a candidate for this workload: in words, and the facts it rests on."""
    return tuple(
        (one.says, one.facts)
        for one in candidate.weaknesses
        if judge(one.when, workload, candidate.id, facts, words=False).holds is True
    )


def matters(field: Field, workload: Workload, rules: Rules, facts: Facts) -> bool:
    """Whether what is answered to a choice makes any difference to what fits, its points or its weaknesses."""
    outcomes = []
    for choice in field.choices:
        asked = workload.but(**{field.name: choice})
        outcomes.append(
            {
                ranked.candidate.id: (ranked.points, weaknesses(ranked.candidate, asked, facts))
                for ranked in rank(asked, rules, facts).fits
            }
        )
    return any(outcome != outcomes[0] for outcome in outcomes[1:])


def _finding(rule: Rule, candidate: str, judged: _Judged) -> Finding:
    facts = tuple(dict.fromkeys([*judged.facts, *rule.facts]))
    return Finding(
        rule.id, candidate, rule.points.get(candidate, 0), rule.says, tuple(dict.fromkeys(judged.compared)), facts
    )


def judge(condition: Condition, workload: Workload, candidate: str, facts: Facts, words: bool = True) -> _Judged:
    """Whether a condition holds of a workload, for a candidate; with `words`, also what was compared."""
    parts = [_test(test, workload, candidate, facts, words) for test in condition.tests]
    parts += [
        _any([judge(one, workload, candidate, facts, words) for one in alternatives])
        for alternatives in condition.choices
    ]
    holds: bool | None = True
    if any(part.holds is False for part in parts):
        holds = False
    elif any(part.holds is None for part in parts):
        holds = None
    return _joined(holds, parts)


def _any(parts: Sequence[_Judged]) -> _Judged:
    good = [part for part in parts if part.holds]
    if good:
        return good[0]
    return _joined(None if any(part.holds is None for part in parts) else False, parts)


def _joined(holds: bool | None, parts: Sequence[_Judged]) -> _Judged:
    return _Judged(
        holds,
        [text for part in parts for text in part.compared],
        [fact for part in parts for fact in part.facts],
        [fact for part in parts for fact in part.missing],
    )


def _test(test: Test, workload: Workload, candidate: str, facts: Facts, words: bool) -> _Judged:
    used: list[str] = []
    missing: list[str] = []
    value = workload[test.field]
    bound, text = _resolve(test.term, workload, candidate, facts, used, missing, words)
    if missing:
        return _Judged(None, [], used, missing)
    shown = [f"{test.field} {_shown(value)} {test.name} {text}"] if words else []
    return _Judged(_holds(test.name, value, bound), shown, used, [])


def _holds(name: str, value: Any, bound: Any) -> bool:
    match name:
        case "is":
            return bool(value == bound)
        case "is-not":
            return bool(value != bound)
        case "in":
            return value in bound
        case "not-in":
            return value not in bound
        case "has-any":
            return bool(set(value) & set(bound))
        case "has-other-than":
            return bool(set(value) - set(bound))
        case "above":
            return bool(value > bound)
        case "below":
            return bool(value < bound)
        case "at-least":
            return bool(value >= bound)
        case _:
            return bool(value <= bound)


def _resolve(
    term: Term, workload: Workload, candidate: str, facts: Facts, used: list[str], missing: list[str], words: bool
) -> tuple[Any, str]:
    """A term's value and, with `words`, how it is shown."""
    if term.kind == "value":
        return term.value, _shown(term.value) if words else ""
    if term.kind == "field":
        value: Any = workload[term.value]
        return value, f"{term.value} {_shown(value)}" if words else ""
    if term.kind == "fact":
        name = term.value.replace("{candidate}", candidate).replace("{class}", str(workload["class"]))
        fact = facts.get(name)
        if fact is not None:
            name = fact.of(workload)
            fact = facts.get(name)
        if fact is None or fact.value is None:
            missing.append(name)
            return None, ""
        used.append(name)
        return fact.value, f"{name} {_shown(fact.value)}" if words else ""
    parts = [_resolve(inner, workload, candidate, facts, used, missing, words) for inner in term.value]
    if missing:
        return None, ""
    values = [value for value, _ in parts]
    total = sum(values) if term.kind == "sum" else prod(values)
    sign = " + " if term.kind == "sum" else " \u00d7 "
    return total, f"{_shown(total)} ({sign.join(text for _, text in parts)})" if words else ""


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
