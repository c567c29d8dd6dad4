"""Test cases of a policy: requests in a file, each with what must come of it.

TOML (or the same as JSON):

    [defaults]
    caller = "ops"
    key = "payments"
    suite = "ed25519"

    [[case]]
    name = "a small payment"
    action = "sign"
    payload = { amount = 100, currency = "EUR" }
    expect = "allow"

Pure: tables in, questions and verdicts out.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evanesce import _toml
from evanesce._text import printable
from evanesce.errors import EvanesceError, error
from evanesce.policy import Decision, Policy, Question

FIELDS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "expect": str,
    "action": str,
    "caller": str,
    "groups": list,
    "key": str,
    "suite": str,
    "input": str,
    "now": (int, datetime.datetime),
    "minter": bool,
    "payload": (dict, str),
    "uses": dict,
    "approvals": list,
    "by": (str, list),
}
"""What a case may say, and as what. `by`: the labels of the statements that must have decided."""


@dataclass(frozen=True, slots=True)
class Case:
    """One request, and what must come of it."""

    name: str
    question: Question
    allow: bool
    by: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a case."""

    case: Case
    decision: Decision

    @property
    def deciding(self) -> tuple[str, ...]:
        return tuple(statement.label for statement in self.decision.statements)

    @property
    def right(self) -> bool:
        by = self.case.by
        return self.decision.permitted == self.case.allow and (by is None or by == set(self.deciding))


def read(data: bytes, name: str, key: str | None = None, suite: str | None = None) -> list[Case]:
    """The cases of a file that errors call `name`. `key` and `suite`: of the token they are for, where they
    say none. Raises `config`."""
    document = _json(data, name) if data.lstrip()[:1] == b"{" else _toml.parse(data, name)
    unknown = sorted(set(document) - {"defaults", "case"})
    if unknown:
        raise _wrong(name, f"it has {printable(unknown[0])!r}, which is neither `defaults` nor `case`")
    defaults, cases = document.get("defaults", {}), document.get("case", [])
    if not isinstance(defaults, dict) or not isinstance(cases, list) or not cases:
        raise _wrong(name, "it has no [[case]]")
    below = {"key": key, "suite": suite}
    base = {field: value for field, value in below.items() if value is not None} | defaults
    return [_case({**base, **_table(case, place, name)}, place, name) for place, case in enumerate(cases, 1)]


def run(policy: Policy, cases: list[Case]) -> list[Verdict]:
    """Decides each. A payload that is none is a mistake in the case, and raises."""
    return [Verdict(case, _decide(policy, case)) for case in cases]


def _decide(policy: Policy, case: Case) -> Decision:
    try:
        return policy.decide(case.question)
    except EvanesceError as e:
        raise error(e.code, f"case {printable(case.name)!r}: {e.message}", e.hint) from None


def _case(table: Mapping[str, Any], place: int, file: str) -> Case:
    name = table.get("name", f"case {place}")
    for field, value in table.items():
        kinds = FIELDS.get(field)
        if kinds is None:
            raise _wrong(file, f"{printable(str(name))}: there is no field {printable(field)!r}")
        # Python takes True for a number.
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise _wrong(file, f"{printable(str(name))}: {field} is a {type(value).__name__}")
    expect = table.get("expect")
    if expect not in ("allow", "deny"):
        raise _wrong(file, f'{printable(name)}: expect is neither "allow" nor "deny"')
    for field in ("action", "caller", "key"):
        if field not in table:
            raise _wrong(file, f"{printable(name)}: {field} is missing")
    by = table.get("by")
    question = Question(
        table["action"],
        table["caller"],
        table["key"],
        tuple(_texts(table.get("groups", []), f"{printable(name)}: groups", file)),
        table.get("suite", ""),
        _digest(table.get("input"), name, file),
        _seconds(table.get("now")),
        table.get("minter", False),
        table.get("payload"),
        _uses(table.get("uses", {}), name, file),
        tuple(_texts(table.get("approvals", []), f"{printable(name)}: approvals", file)),
    )
    named = (
        None if by is None else frozenset([by] if isinstance(by, str) else _texts(by, f"{printable(name)}: by", file))
    )
    return Case(name, question, expect == "allow", named)


def _table(case: Any, place: int, file: str) -> dict[str, Any]:
    if not isinstance(case, dict):
        raise _wrong(file, f"case {place} is no table")
    return case


def _texts(value: list[Any], what: str, file: str) -> list[str]:
    if not all(isinstance(item, str) for item in value):
        raise _wrong(file, f"{what} are not all text")
    return value


def _digest(text: str | None, name: str, file: str) -> bytes | None:
    if text is None:
        return None
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise _wrong(file, f"{printable(name)}: input is not 64 hexadecimal digits")
    return digest


def _uses(table: dict[str, Any], name: str, file: str) -> tuple[int, int]:
    counts = table.get("key", 0), table.get("caller", 0)
    if set(table) - {"key", "caller"} or any(type(count) is not int or not 0 <= count < 2**53 for count in counts):
        raise _wrong(file, f"{printable(name)}: uses are {{ key = 5, caller = 2 }}, before the request")
    return counts


def _seconds(moment: int | datetime.datetime | None) -> int | None:
    if not isinstance(moment, datetime.datetime):
        return moment
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
    return int(aware.timestamp())


def _json(data: bytes, name: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(data)
    except (ValueError, RecursionError) as e:
        raise _wrong(name, f"it is not valid JSON: {e}") from None
    return document


def _wrong(file: str, what: str) -> EvanesceError:
    return error("config", f"{printable(file)}: {what}", "Correct the file; docs/policy.md shows one.")
