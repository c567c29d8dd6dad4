"""One case against real agents: everything the case says is tried, everything that differs is told.

`run` gives a list of differences, empty where the product answers as it must. Operations are done one by
one through the core's own reconstructor, so each opens the token anew; a `check` of every seat follows. Every
receipt is verified, and with the agents' status it must say of their elements what the fleet's kind demands.
No call may take longer than `CALL_SECONDS`, whatever the product does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from agents import AgentFailed, Fleet
from vectors import Case, Operation

from evanesce import _core
from evanesce._core import CoreError

T = TypeVar("T")

DEADLINE_MS = 10_000
"""For one operation: an agent on a busy machine is not an unreachable one."""
CALL_SECONDS = 30
FAULTY = {"row-altered", "epoch-not-held", "cannot-regenerate"}
"""What `check` says of a seat whose holder answers and cannot regenerate its share."""
ANY_CALLER = "conformance"

_X25519_BASE = bytes([9]) + bytes(31)
_KEM_CIPHERTEXT = {"ml-kem-768": 1088, "ml-kem-1024": 1568}


class Stuck(Exception):
    """A call did not come back."""


def run(case: Case, fleet: Fleet, identities: Mapping[str, Path]) -> list[str]:
    """What differs from the case, in words. `identities`: caller name → identity file."""
    try:
        token = _core.Token.decode(case.token)
    except CoreError as e:
        if case.error is not None and e.code in case.error:
            return []
        return [f"the token is refused: {said(e)}"]
    if case.error == {"malformed"}:
        return ["the token is malformed and was accepted"]
    try:
        client = reconstructor(case, fleet, identities)
    except (AgentFailed, CoreError) as e:
        return [str(e)]
    differences = list(_inspect(case, token))
    receipts: list[_core.Receipt] = []
    try:
        if case.error is None:
            for operation in case.operations:
                differences += operate(client, token, operation, receipts)
        else:
            differences += _must_fail(case, client, token)
        if case.error is None or "expired" not in case.error:
            differences += _check(case, client, token)
        differences += _elements(case, fleet, client, receipts)
    except Stuck as e:
        differences.append(str(e))
    return differences


def reconstructor(case: Case, fleet: Fleet, identities: Mapping[str, Path]) -> _core.Reconstructor:
    """A new client of the case's agents, of which those not answering have an address where nobody is."""
    addresses = fleet.addresses(agent for agent in case.agents if agent.name in case.answering)
    holders = [(agent.name, agent.id.hex(), addresses.get(agent, fleet.nowhere), "", "") for agent in case.agents]
    identity = identities[case.policy_caller or ANY_CALLER]
    return _core.Reconstructor(str(identity), holders, deadline_ms=DEADLINE_MS)


def operate(
    client: _core.Reconstructor, token: _core.Token, operation: Operation, receipts: list[_core.Receipt]
) -> list[str]:
    """What differs from the operation's result. The receipts it brought are added to `receipts`."""
    title = f"{operation.op} {operation.suite}"
    try:
        if operation.op == "verify":
            return _verify(title, token, operation)
        result = perform(client, token, operation.op, operation.suite, operation.inputs, operation.length, receipts)
    except CoreError as e:
        return [f"{title}: {said(e)}"]
    if result != operation.result:
        return [f"{title}: the result is {_short(result)}, must be {_short(operation.result)}"]
    if operation.op == "sign":
        try:
            _core.verify(token, operation.suite, operation.inputs["message"], result)
        except CoreError as e:
            return [f"{title}: offline verification of the right signature: {said(e)}"]
    return []


def perform(
    client: _core.Reconstructor,
    token: _core.Token,
    action: str,
    suite: str,
    inputs: Mapping[str, bytes],
    length: int = 0,
    receipts: list[_core.Receipt] | None = None,
) -> bytes:
    """One operation under an opening of its own; its receipts are added to `receipts`. Raises `CoreError`, `Stuck`."""
    main = next((inputs[name] for name in ("message", "plaintext", "ciphertext", "peer") if name in inputs), b"")
    second = next((inputs[name] for name in ("aad", "mac", "context") if name in inputs), b"")
    job = (suite, action, main, second, length)
    outcome = bounded(f"{action} {suite}", lambda: client.run(token, [job]))
    (output,) = outcome.outputs
    if receipts is not None:
        receipts += outcome.receipts
    return revealed(output)


def revealed(output: bytes | _core.Secret | None) -> bytes:
    """An output as bytes. Secret ones become ordinary bytes: for test keys only."""
    if output is None or isinstance(output, bytes):
        return output or b""
    copy = bytearray(len(output))
    output.write_into(copy)
    return bytes(copy)


def bounded(what: str, call: Callable[[], T]) -> T:
    """The call's result. Raises `Stuck` after `CALL_SECONDS`; the call is then left behind on its thread."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(call())
        except BaseException as e:
            errors.append(e)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(CALL_SECONDS)
    if errors:
        raise errors[0]
    if not results:
        raise Stuck(f"{what}: no answer within {CALL_SECONDS} s, in spite of a deadline of {DEADLINE_MS} ms")
    return results[0]


def said(e: CoreError) -> str:
    """An error as one line: its code, its message and whom it names."""
    named = "; ".join(f"{seat or '-'} {holder}: {kind}" for seat, holder, _, kind, _ in e.faults)
    return f"{e.code}: {e.message}" + (f" [{named}]" if named else "")


def _inspect(case: Case, token: _core.Token) -> Iterator[str]:
    if case.token_id is not None and token.id != case.token_id:
        yield f"the token's id is {token.id.hex()}, must be {case.token_id.hex()}"
    if case.public is not None and token.public != case.public:
        yield f"the public keys are {_short(token.public)}, must be {_short(dict(case.public))}"
    if token.encode() != case.token:
        yield "the token encodes to other bytes than it was decoded from"


def _verify(title: str, token: _core.Token, operation: Operation) -> list[str]:
    try:
        _core.verify(token, operation.suite, operation.inputs["message"], operation.inputs["signature"])
    except CoreError as e:
        return [f"{title}: {said(e)}"] if operation.result or e.code != "invalid-signature" else []
    return [] if operation.result else [f"{title}: accepts a signature that must not verify"]


def _must_fail(case: Case, client: _core.Reconstructor, token: _core.Token) -> Iterator[str]:
    """Tries an operation of each suite: all must fail with one of the codes."""
    codes = case.error or frozenset()
    for suite, action, inputs, length in fitting(token):
        try:
            perform(client, token, action, suite, inputs, length)
        except CoreError as e:
            if e.code not in codes:
                yield f"{action} {suite}: {said(e)}; must be {' or '.join(sorted(codes))}"
        else:
            yield f"{action} {suite}: succeeds; must be {' or '.join(sorted(codes))}"


def fitting(token: _core.Token) -> Iterator[tuple[str, str, dict[str, bytes], int]]:
    """(suite, action, inputs, length): a well-formed operation of each suite of the token."""
    actions = {name: operations for name, _, _, operations in _core.suites()}
    for suite in token.suites:
        action = actions[suite][0]
        inputs: dict[str, bytes] = {}
        match action:
            case "sign" | "mac" | "verify-mac":
                inputs["message"] = b"any message"
            case "encrypt":
                inputs["plaintext"] = b"any plaintext"
            case "decrypt":
                inputs["ciphertext"] = _ciphertext(token, suite)
            case "agree":
                inputs["peer"] = _X25519_BASE
            case "decapsulate":
                inputs["ciphertext"] = bytes(_KEM_CIPHERTEXT[suite])
        if action == "verify-mac":
            inputs["mac"] = bytes(32)
        yield suite, action, inputs, 32 if action == "derive" else 0


def _ciphertext(token: _core.Token, suite: str) -> bytes:
    try:
        return _core.encrypt_to(token, suite, b"any plaintext")
    except CoreError:  # a symmetric suite, or a public key that was tampered with
        return bytes(256)


def _check(case: Case, client: _core.Reconstructor, token: _core.Token) -> Iterator[str]:
    try:
        table, *_ = bounded("check", lambda: client.check(token))
    except CoreError as e:
        yield f"check: {said(e)}"
        return
    seats = [seat for seat, *_ in table]
    if seats != [seat for seat, _, _ in token.rows]:
        yield f"check: asks the seats {seats}, not every seat of the token once"
    faulty = {seat for seat, _, _, kind, *_ in table if kind in FAULTY}
    if faulty != case.faulty:
        rows = ", ".join(f"{seat} {kind}" for seat, _, _, kind, *_ in table)
        yield f"check: names {sorted(faulty)} as unable to regenerate, must be {sorted(case.faulty)} ({rows})"
    if case.error == {"inconsistent"}:
        try:
            _, failure, *_ = bounded("check --open", lambda: client.check(token, open=True))
        except CoreError as e:
            failure = e
        if failure is None:
            yield "check --open: accepts a dishonest deal"
        elif failure.code != "inconsistent":
            yield f"check --open: {said(failure)}; must be inconsistent"


def _elements(
    case: Case, fleet: Fleet, client: _core.Reconstructor, receipts: Sequence[_core.Receipt]
) -> Iterator[str]:
    """What the agents that are up, and every receipt, say of the elements and should not."""
    for name, agent, status, why in bounded("status", client.status):
        if name not in case.answering:
            continue
        if status is None:
            yield f"status: {name}: {why}"
            continue
        fleet.said[bytes.fromhex(agent)] = tuple(status["weaknesses"])
        yield from fleet.kind.differences(f"status of {name}", status["element"], status["weaknesses"])
    if not receipts and any(operation.op != "verify" for operation in case.operations):
        yield "no operation brought a receipt"
    for receipt in receipts:
        try:
            entry = receipt.verify()
        except CoreError as e:
            yield f"a receipt of {receipt.agent.hex()}: {said(e)}"
            continue
        yield from fleet.kind.differences(f"receipt of {entry['agent']}", entry["element"], entry["weaknesses"])


def _short(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= 80 else f"{text[:72]}… ({len(text)} characters)"
