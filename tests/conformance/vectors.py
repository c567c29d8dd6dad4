"""Vector files: their form, read into types that cannot be half right, and written again.

A file is `{"protocol": "evanesce/v1", "cases": [case…]}`. What a case holds is said field by field at
`Case`. Reading judges shapes only: whether a token is a token is for the product to say.

Everything in a vector file is public or made for testing, seeds and roots included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROTOCOL = "evanesce/v1"

INPUTS: Mapping[str, Sequence[str]] = {
    "sign": ("message",),
    "mac": ("message",),
    "decrypt": ("ciphertext", "aad"),
    "derive": ("context",),
    "agree": ("peer",),
    "decapsulate": ("ciphertext",),
    "verify": ("message", "signature"),
}
"""What each operation is given, in bytes; `derive` has a `length` besides."""

OPTIONAL = {"aad", "context"}


LARGEST_INTEGER = 2**53 - 1
"""PROTOCOL §2."""
LONGEST_CALLER = 128
"""Bytes of a caller's name that agents take."""


class BadVector(Exception):
    """A file, or one case of it, that is not of the form; says where."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One recovery agent of a case; two with the same fields are the same agent."""

    name: str
    identity: bytes
    """Ed25519 private seed, 32 bytes."""
    id: bytes
    """Its agent id, 32 bytes."""
    roots: tuple[tuple[int, bytes], ...]
    """(epoch, 32-byte root), ascending by epoch; none for an agent that holds no epoch of the token's."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation and the result that must come out."""

    op: str
    suite: str
    inputs: Mapping[str, bytes]
    length: int
    """Bytes to derive; 0 for every other operation."""
    result: bytes | bool
    """Bytes, or for `verify` whether the signature is good."""


@dataclass(frozen=True, slots=True)
class Case:
    """One token and what a correct system must answer."""

    name: str
    token: bytes
    agents: tuple[Agent, ...]
    answering: frozenset[str]
    """Names of the agents that are up, be they listed or not; the others are unreachable."""
    operations: tuple[Operation, ...]
    error: frozenset[str] | None
    """Instead of operations: codes, one of which every operation must fail with."""
    faulty: frozenset[str]
    """Seats that `check` must name as unable to regenerate their share."""
    policy_caller: str | None
    """The name by which agents know the caller; None for any name."""
    public: Mapping[str, bytes] | None
    token_id: bytes | None


def read(path: Path) -> list[Case]:
    """The cases of one file, all of them good. Raises `BadVector`."""
    cases = []
    for case in each(path):
        if isinstance(case, BadVector):
            raise case
        cases.append(case)
    return cases


def each(path: Path) -> list[Case | BadVector]:
    """The cases of one file; one that is not of the form is what is wrong with it, and spoils no other. Raises
    `BadVector` for what is no such file at all."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as why:
        raise BadVector(f"{path}: cannot be read: {why.strerror}") from why
    except (ValueError, RecursionError) as why:
        raise BadVector(f"{path}: not JSON: {why}") from why
    if not isinstance(content, dict) or content.get("protocol") != PROTOCOL:
        raise BadVector(f'{path}: "protocol" must be "{PROTOCOL}"')
    cases = content.get("cases")
    if not isinstance(cases, list):
        raise BadVector(f'{path}: "cases" must be a list')
    return [_judge(f"{path}: case {number}", case) for number, case in enumerate(cases)]


def write(path: Path, cases: Sequence[Case]) -> None:
    """Writes a new file of these cases."""
    content = {"protocol": PROTOCOL, "cases": [_case_out(case) for case in cases]}
    path.write_text(json.dumps(content, indent=1) + "\n")


def _judge(where: str, case: Any) -> Case | BadVector:
    try:
        return _case(where, case)
    except BadVector as why:
        return why


def _case(where: str, case: Any) -> Case:
    _expect(isinstance(case, dict), where, "must be an object")
    name = case.get("name")
    _expect(_is_text(name), where, 'has no "name"')
    where = f"{where} ({name})"
    agents = tuple(_agent(where, agent) for agent in _list(where, case, "agents"))
    answering = _names(where, case, "answering")
    error = case.get("error")
    if isinstance(error, str):
        error = [error]
    codes = isinstance(error, list) and error and all(map(_is_text, error))
    _expect(error is None or codes, where, '"error" must be a list of codes')
    given = _list(where, case, "operations") if case.get("operations") is not None else []
    operations = tuple(_operation(where, operation) for operation in given)
    _expect(not (operations and error), where, 'has both "operations" and "error"')
    public, token_id = case.get("public"), case.get("token_id")
    _expect(public is None or isinstance(public, dict), where, '"public" must be an object')
    caller = case.get("policy_caller")
    named = caller is None or (_is_text(caller) and 1 <= len(caller.encode()) <= LONGEST_CALLER)
    _expect(named, where, f'"policy_caller" must be a name of 1 to {LONGEST_CALLER} bytes')
    return Case(
        name=name,
        token=_hex(where, case, "token"),
        agents=agents,
        answering=answering,
        operations=operations,
        error=frozenset(error) if error else None,
        faulty=_names(where, case, "faulty") if case.get("faulty") is not None else frozenset(),
        policy_caller=caller,
        public=None if public is None else {suite: _hex(where, public, suite) for suite in public},
        token_id=None if token_id is None else _hex(where, case, "token_id"),
    )


def _agent(where: str, agent: Any) -> Agent:
    _expect(isinstance(agent, dict) and _is_text(agent.get("name")), where, "has an agent without a name")
    where = f"{where}, {agent['name']}"
    identity, own_id = _hex(where, agent, "identity"), _hex(where, agent, "id")
    _expect(len(identity) == 32 and len(own_id) == 32, where, '"identity" and "id" must be 32 bytes')
    roots = agent.get("roots")
    _expect(isinstance(roots, dict), where, '"roots" must be an object')
    _expect(all(map(_is_epoch, roots)), where, f'"roots" must go by epochs, whole numbers up to {LARGEST_INTEGER}')
    held = sorted((int(epoch), _hex(where, roots, epoch)) for epoch in roots)
    _expect(all(len(root) == 32 for _, root in held), where, "roots must be 32 bytes")
    return Agent(agent["name"], identity, own_id, tuple(held))


def _operation(where: str, operation: Any) -> Operation:
    _expect(isinstance(operation, dict), where, "has an operation that is not an object")
    op, suite = operation.get("op"), operation.get("suite")
    _expect(_is_text(op) and op in INPUTS and _is_text(suite), where, f"has an unknown operation: {op!r} {suite!r}")
    where = f"{where}, {op} {suite}"
    inputs = {
        name: b"" if name in OPTIONAL and name not in operation else _hex(where, operation, name) for name in INPUTS[op]
    }
    length = operation.get("length", 0)
    _expect(type(length) is int and 0 <= length <= LARGEST_INTEGER, where, '"length" must be a whole number')
    if op == "verify":
        result: bytes | bool = operation.get("result", True)
        _expect(isinstance(result, bool), where, '"result" must be true or false')
    else:
        result = _hex(where, operation, "result")
    return Operation(op, suite, inputs, length, result)


def _case_out(case: Case) -> dict[str, Any]:
    out: dict[str, Any] = {
        "name": case.name,
        "token": case.token.hex(),
        "agents": [
            {
                "name": agent.name,
                "identity": agent.identity.hex(),
                "id": agent.id.hex(),
                "roots": {str(epoch): root.hex() for epoch, root in agent.roots},
            }
            for agent in case.agents
        ],
        "answering": sorted(case.answering),
    }
    if case.error is not None:
        out["error"] = sorted(case.error)
    else:
        out["operations"] = [_operation_out(operation) for operation in case.operations]
    if case.faulty:
        out["faulty"] = sorted(case.faulty)
    if case.policy_caller is not None:
        out["policy_caller"] = case.policy_caller
    if case.public is not None:
        out["public"] = {suite: key.hex() for suite, key in case.public.items()}
    if case.token_id is not None:
        out["token_id"] = case.token_id.hex()
    return out


def _operation_out(operation: Operation) -> dict[str, Any]:
    result = operation.result
    return {
        "op": operation.op,
        "suite": operation.suite,
        **{name: value.hex() for name, value in operation.inputs.items()},
        **({"length": operation.length} if operation.op == "derive" else {}),
        "result": result if isinstance(result, bool) else result.hex(),
    }


def _expect(holds: Any, where: str, what: str) -> None:
    if not holds:
        raise BadVector(f"{where} {what}")


def _is_text(value: Any) -> bool:
    """Text that can be written: JSON may hold half of a surrogate pair."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_epoch(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= 16 and int(value) <= LARGEST_INTEGER


def _names(where: str, holder: Mapping[str, Any], name: str) -> frozenset[str]:
    value = _list(where, holder, name)
    _expect(all(map(_is_text, value)), where, f'"{name}" must be a list of names')
    return frozenset(value)


def _list(where: str, holder: Mapping[str, Any], name: str) -> list[Any]:
    value = holder.get(name)
    _expect(isinstance(value, list), where, f'"{name}" must be a list')
    return value  # type: ignore[no-any-return]


def _hex(where: str, holder: Mapping[str, Any], name: str) -> bytes:
    value = holder.get(name)
    try:
        return bytes.fromhex(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise BadVector(f'{where} "{name}" must be hex') from None
