"""Rules: what excludes a candidate, what speaks for or against it, and in which words. Read strictly from a file.

A condition is a mapping: every line of it must hold. A line names a field of the workload and one test:

    is, is-not        the value, or the fact
    in, not-in        a list of values, or a fact that is a list
    has-any           the field is a list and has one of these
    has-other-than    the field is a list and has something that is not among these
    above, below, at-least, at-most        a number

A field is compared with a value, `{fact: id}`, `{field: name}`, `{sum: [...]}` or `{product: [...]}`; in a fact's id,
`{candidate}` and `{class}` stand for the candidate that is judged and the workload's class of algorithm. The line
`any:` has a list of conditions of which one must hold. That is the whole language: nothing here is evaluated as code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from evanesce import _yaml
from evanesce._text import printable
from evanesce._yaml import Map
from evanesce.advisor.facts import Facts
from evanesce.advisor.workload import BY_NAME, DERIVED, Field

TESTS = ("is", "is-not", "in", "not-in", "has-any", "has-other-than", "above", "below", "at-least", "at-most")
_NUMBERS = ("above", "below", "at-least", "at-most")
_HOLES = ("{candidate}", "{class}")


@dataclass(frozen=True, slots=True)
class Term:
    """What a field is compared with."""

    kind: str
    """value, fact, field, sum or product"""
    value: Any
    """The value; the fact's id or the field's name; for the others their terms."""


@dataclass(frozen=True, slots=True)
class Test:
    """One line of a condition."""

    field: str
    name: str
    term: Term


@dataclass(frozen=True, slots=True)
class Condition:
    """All of `tests` hold, and of each of `choices` one condition."""

    tests: tuple[Test, ...] = ()
    choices: tuple[tuple[Condition, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: it excludes, or it gives points."""

    id: str
    when: Condition
    says: str
    excludes: tuple[str, ...]
    points: Mapping[str, int]
    facts: tuple[str, ...]
    """That it rests on, besides those it compares with."""

    @property
    def about(self) -> tuple[str, ...]:
        """The candidates."""
        return self.excludes or tuple(self.points)


@dataclass(frozen=True, slots=True)
class Weakness:
    """One, of the workloads for which the condition holds."""

    when: Condition
    says: str
    facts: tuple[str, ...]
    """That it rests on."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model, or a composition."""

    id: str
    title: str
    quorum: bool
    """It needs a quorum of agents, whose size can be worked out."""
    verdicts: tuple[tuple[Condition, str], ...]
    """What is said to the user whose first choice it is: the first whose condition holds."""
    weaknesses: tuple[Weakness, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """All of a file."""

    candidates: tuple[Candidate, ...]
    """In the order in which equal ones are preferred: simplest first."""
    rules: tuple[Rule, ...]
    of: Mapping[str, tuple[Rule, ...]]
    """Those that are about a candidate."""

    def candidate(self, name: str) -> Candidate:
        return next(candidate for candidate in self.candidates if candidate.id == name)


def load(facts: Facts, path: Path | None = None) -> Rules:
    """The rules of a file, or those of this package, which rest on these facts. Raises `config` with file and line."""
    if path is None:
        return parse(_yaml.parse(packaged(), "rules.yaml"), facts)
    return parse(_yaml.load(path), facts)


def packaged() -> bytes:
    """This package's own rules, as they are written."""
    return resources.files(__package__).joinpath("data/rules.yaml").read_bytes()


def parse(document: Map, facts: Facts) -> Rules:
    document.only(("candidates", "rules"))
    candidates = tuple(_candidate(entry, facts) for entry in document.maps("candidates"))
    names = [candidate.id for candidate in candidates]
    if len(set(names)) < len(names) or not names:
        raise document.wrong("candidates must have different ids, and there must be one", "candidates")
    rules: dict[str, Rule] = {}
    for entry in document.maps("rules"):
        rule = _rule(entry, names, facts)
        if rule.id in rules:
            raise entry.wrong(f"there is another rule {rule.id}", "id")
        rules[rule.id] = rule
    about = {name: tuple(rule for rule in rules.values() if name in rule.about) for name in names}
    return Rules(candidates, tuple(rules.values()), about)


def _candidate(entry: Map, facts: Facts) -> Candidate:
    entry.only(("id", "title", "quorum", "verdicts", "weaknesses"))
    if not isinstance(entry["quorum"], bool):
        raise entry.wrong("quorum must be true or false", "quorum")
    verdicts = []
    for verdict in entry.maps("verdicts"):
        verdict.only(("says",), ("when",))
        verdicts.append((_condition(verdict, "when", facts), verdict.text("says")))
    if not verdicts or verdicts[-1][0] != Condition():
        raise entry.wrong("the last of the verdicts must have no `when`", "verdicts")
    weaknesses = []
    for weakness in entry.maps("weaknesses"):
        weakness.only(("says",), ("when", "facts"))
        when = _condition(weakness, "when", facts)
        weaknesses.append(Weakness(when, weakness.text("says"), _known_facts(weakness, facts)))
    return Candidate(entry.text("id"), entry.text("title"), entry["quorum"], tuple(verdicts), tuple(weaknesses))


def _rule(entry: Map, candidates: list[str], facts: Facts) -> Rule:
    entry.only(("id", "when", "says"), ("excludes", "points", "facts"))
    if ("excludes" in entry) == ("points" in entry):
        raise entry.wrong("a rule has either excludes or points")
    points = entry.get("points")
    if points is None:
        points = {}
    elif not isinstance(points, Map) or not all(type(number) is int for number in points.values()):
        raise entry.wrong("points must be a mapping of candidates to whole numbers", "points")
    excludes = entry.texts("excludes")
    for name in (*excludes, *points):
        if name not in candidates:
            raise entry.wrong(f"{printable(name)!r} is no candidate; there are {', '.join(candidates)}")
    if not (excludes or points):
        raise entry.wrong("it is about no candidate")
    when = _condition(entry, "when", facts)
    if when == Condition() and not entry.texts("facts"):
        raise entry.wrong("a rule that always holds must rest on a fact")
    return Rule(entry.text("id"), when, entry.text("says"), excludes, dict(points), _known_facts(entry, facts))


def _known_facts(entry: Map, facts: Facts) -> tuple[str, ...]:
    for name in entry.texts("facts"):
        if name not in facts:
            raise entry.wrong(f"there is no fact {printable(name)!r}", "facts")
    return entry.texts("facts")


def _condition(entry: Map, key: str, facts: Facts) -> Condition:
    found = entry.get(key)
    if found is None or found == {}:
        return Condition()
    if not isinstance(found, Map):
        raise entry.wrong(f"{key} must be a mapping of fields to tests", key)
    tests: list[Test] = []
    choices: list[tuple[Condition, ...]] = []
    for name, given in found.items():
        if name == "any":
            alternatives = found.maps("any")
            if not alternatives:
                raise found.wrong("any must have a condition", "any")
            choices.append(tuple(_condition(_entry_of(item), "when", facts) for item in alternatives))
            continue
        if name not in BY_NAME and name not in DERIVED:
            raise found.wrong(f"{printable(name)!r} is no field of a workload; there are {', '.join(BY_NAME)}", name)
        if not isinstance(given, Map) or not given:
            raise found.wrong(f"{name} needs a test: {', '.join(TESTS)}", name)
        given.only((), TESTS)
        for test in given:
            tests.append(Test(name, test, _term(given, test, BY_NAME.get(name), facts)))
    return Condition(tuple(tests), tuple(choices))


def _entry_of(condition: Map) -> Map:
    """A condition as an entry that has it."""
    entry = Map({"when": condition})
    entry.name, entry.line, entry.lines = condition.name, condition.line, {"when": condition.line}
    return entry


def _term(given: Map, test: str, field: Field | None, facts: Facts) -> Term:
    term = _any_term(given, given[test], test, facts)
    if field is None:
        return term
    if (test in _NUMBERS) != (field.kind == "number") and test not in ("is", "is-not"):
        raise given.wrong(f"{test} does not fit {field.name}, which is a {field.kind}", test)
    if (test in ("has-any", "has-other-than")) != (field.kind == "choices"):
        raise given.wrong(f"{test} does not fit {field.name}, which is a {field.kind}", test)
    if term.kind == "value" and field.choices:
        for value in term.value if isinstance(term.value, tuple) else (term.value,):
            if value not in field.choices:
                raise given.wrong(f"{printable(str(value))!r} is not a value of {field.name}", test)
    return term


def _any_term(given: Map, value: Any, test: str, facts: Facts) -> Term:
    if isinstance(value, Map):
        if len(value) != 1 or (kind := next(iter(value))) not in ("fact", "field", "sum", "product"):
            raise given.wrong("compared with one of {fact: …}, {field: …}, {sum: […]}, {product: […]}", test)
        inner = value[kind]
        if kind in ("sum", "product"):
            if not isinstance(inner, list) or not inner:
                raise value.wrong(f"{kind} must be a list", kind)
            return Term(kind, tuple(_any_term(value, item, kind, facts) for item in inner))
        name = value.text(kind)
        if kind == "field" and (name not in BY_NAME or BY_NAME[name].kind != "number"):
            raise value.wrong(f"{printable(name)!r} is no field with a number", kind)
        if kind == "fact":
            pattern = re.escape(name)
            for hole in _HOLES:
                pattern = pattern.replace(re.escape(hole), "[a-z0-9-]+")
            if not any(re.fullmatch(pattern, known) for known in facts):
                raise value.wrong(f"there is no fact {printable(name)!r}", kind)
        return Term(kind, name)
    if isinstance(value, list):
        if not all(isinstance(item, str | int | float) for item in value):
            raise given.wrong(f"{test} has a list of something else than values", test)
        return Term("value", tuple(value))
    if value is None or isinstance(value, bool):
        raise given.wrong(f"{test} needs a value", test)
    if test in _NUMBERS and isinstance(value, str):
        raise given.wrong(f"{test} needs a number", test)
    return Term("value", value)
