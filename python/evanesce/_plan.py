"""From verbs to the core's jobs, and from its outcome to results. Pure: no I/O, shared by both clients.

A `Plan` is the jobs of one opening and the function that turns the outcome into the verb's result. All that
the two clients add is how they wait. Verbs whose result relies on the token being the right one ask for its
pin here, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar, cast

from typing_extensions import Buffer

from evanesce import _core, suites
from evanesce.errors import EvanesceError, error
from evanesce.payload import Payload, canonical_payload
from evanesce.results import Ciphertext, Evidence, Mac, Macs, Secret, Signature, Verified

A = TypeVar("A")
K = TypeVar("K")
R = TypeVar("R")

MOST_AT_ONCE = 400
"""Operations that agents take under one opening (docs/agent-api.md)."""

Job = tuple[str, str, Buffer, Buffer, int]
"""(suite, action, main input, second input, length in bytes for derive), as the core takes it."""

Jobs = tuple[Job, ...]

Settled = tuple[Sequence[bytes], Sequence[bytes]]
"""What people had to approve: their approvals, and the salt of each job's input digest."""


class Usable(Protocol):
    """A key as plans see it: a token, or a key of another model."""

    @property
    def suites(self) -> tuple[str, ...]: ...
    def suite_for(self, use: str) -> str: ...
    def require(self, use: str) -> None: ...
    def require_pinned(self, doing: str, trust_token: bool = False) -> None: ...


class Outcome(Evidence, Protocol):
    """What jobs brought, wherever they were done: an output for each, and the evidence of all."""

    @property
    def outputs(self) -> list[bytes | _core.Secret | None]: ...


Plan = tuple[Jobs, Callable[[Outcome, Jobs], R]]
"""Jobs under one opening, and what makes the verb's result of their outcome."""


def _suite(key: Usable, suite: str | None, action: str) -> str:
    """The one that was named, or is meant. Raises `unsupported` where no key of this model does this."""
    key.require(action)
    return suite or key.suite_for(action.removesuffix("-payload"))


def sign(key: Usable, message: Buffer, suite: str | None) -> Plan[Signature]:
    return ((_suite(key, suite, "sign"), "sign", message, b"", 0),), _signature


def sign_payload(key: Usable, payload: Payload, suite: str | None) -> Plan[Signature]:
    return ((_suite(key, suite, "sign-payload"), "sign-payload", canonical_payload(payload), b"", 0),), _signed_payload


def sign_many(key: Usable, messages: Iterable[Buffer], suite: str | None) -> Plan[list[Signature]]:
    chosen = _suite(key, suite, "sign")
    return _at_once(tuple((chosen, "sign", message, b"", 0) for message in messages), "sign"), _signatures


def _at_once(jobs: Jobs, what: str) -> Jobs:
    if not jobs:
        raise error("bad-input", f"there is no message to {what}", "Give at least one.")
    if len(jobs) > MOST_AT_ONCE:
        raise error(
            "bad-input",
            f"{len(jobs)} messages are too many for one opening",
            f"{what[0].upper()}{what[1:]} at most {MOST_AT_ONCE} at once; several calls share requests anyway.",
        )
    return jobs


def each(
    resolve: Callable[[A], K],
    verb: Callable[[K, Buffer, str | None], Plan[R]],
    pairs: Iterable[tuple[A, Buffer]],
    suite: str | None,
) -> list[tuple[K, Plan[R]] | EvanesceError]:
    """The key and the verb's plan for each (key, message), or what is wrong with that key for it."""
    planned: list[tuple[K, Plan[R]] | EvanesceError] = []
    for named, message in pairs:
        try:
            key = resolve(named)
            planned.append((key, verb(key, message, suite)))
        except EvanesceError as e:
            planned.append(e)
    return planned


def sign_hybrid(key: Usable, message: Buffer, chosen: Sequence[str] | None) -> Plan[tuple[Signature, Signature]]:
    both = tuple(chosen) if chosen is not None else suites.fitting(key.suites, "sign")
    if len(both) != 2 or both[0] == both[1]:
        raise error(
            "bad-input",
            f"a hybrid signature takes two different suites, not {', '.join(both) or 'none'}",
            "Name the two that are meant; the token must have both.",
        )
    return tuple((suite, "sign", message, b"", 0) for suite in both), _two_signatures


def mac(key: Usable, message: Buffer, suite: str | None) -> Plan[Mac]:
    return ((_suite(key, suite, "mac"), "mac", message, b"", 0),), _mac


def mac_many(key: Usable, messages: Iterable[Buffer], suite: str | None) -> Plan[Macs]:
    chosen = _suite(key, suite, "mac")
    return _at_once(tuple((chosen, "mac", message, b"", 0) for message in messages), "MAC"), _macs


def mac_payload(key: Usable, payload: Payload, suite: str | None) -> Plan[Mac]:
    return ((_suite(key, suite, "mac-payload"), "mac-payload", canonical_payload(payload), b"", 0),), _payload_mac


def verify_mac(
    key: Usable, message: Buffer, value: Mac | Buffer, suite: str | None, trust_token: bool
) -> Plan[Verified]:
    key.require_pinned("believe a MAC made under", trust_token)
    if isinstance(value, Mac):
        suite = suite or value.suite
        value = value.value
    return ((_suite(key, suite, "verify-mac"), "verify-mac", message, value, 0),), _verified


def encrypt(key: Usable, plaintext: Buffer, aad: Buffer, suite: str | None, trust_token: bool) -> Plan[Ciphertext]:
    key.require_pinned("encrypt under", trust_token)
    return ((_suite(key, suite, "encrypt"), "encrypt", plaintext, aad, 0),), _ciphertext


def decrypt(key: Usable, ciphertext: Ciphertext | Buffer, aad: Buffer, suite: str | None) -> Plan[Secret]:
    if isinstance(ciphertext, Ciphertext):
        suite = suite or ciphertext.suite
        ciphertext = ciphertext.value
    return ((_suite(key, suite, "decrypt"), "decrypt", ciphertext, aad, 0),), _secret


def derive(key: Usable, context: Buffer, length: int, suite: str | None, trust_token: bool) -> Plan[Secret]:
    key.require_pinned("derive a working key from", trust_token)
    if not 1 <= length <= 255 * 32:
        raise error("bad-input", f"cannot derive {length} bytes", "Ask for 1 to 8160 (RFC 5869).")
    return ((_suite(key, suite, "derive"), "derive", b"", context, length),), _secret


def agree(key: Usable, peer: Buffer, suite: str | None, trust_token: bool) -> Plan[Secret]:
    key.require_pinned("agree on a secret with", trust_token)
    return ((_suite(key, suite, "agree"), "agree", peer, b"", 0),), _secret


def decapsulate(key: Usable, ciphertext: Buffer, suite: str | None) -> Plan[Secret]:
    return ((_suite(key, suite, "decapsulate"), "decapsulate", ciphertext, b"", 0),), _secret


def _signature(outcome: Outcome, jobs: Jobs) -> Signature:
    return Signature(jobs[0][0], outcome, 0, cast(bytes, outcome.outputs[0]))


def _signed_payload(outcome: Outcome, jobs: Jobs) -> Signature:
    return Signature(jobs[0][0], outcome, 0, cast(bytes, outcome.outputs[0]), cast(bytes, jobs[0][2]))


def _signatures(outcome: Outcome, jobs: Jobs) -> list[Signature]:
    outputs = cast("list[bytes]", outcome.outputs)
    return [Signature(jobs[place][0], outcome, place, value) for place, value in enumerate(outputs)]


def _two_signatures(outcome: Outcome, jobs: Jobs) -> tuple[Signature, Signature]:
    one, two = _signatures(outcome, jobs)
    return one, two


def _mac(outcome: Outcome, jobs: Jobs) -> Mac:
    return Mac(jobs[0][0], outcome, 0, cast(bytes, outcome.outputs[0]))


def _macs(outcome: Outcome, jobs: Jobs) -> Macs:
    return Macs(jobs[0][0], cast("list[bytes]", outcome.outputs), outcome)


def _payload_mac(outcome: Outcome, jobs: Jobs) -> Mac:
    return Mac(jobs[0][0], outcome, 0, cast(bytes, outcome.outputs[0]), cast(bytes, jobs[0][2]))


def _ciphertext(outcome: Outcome, jobs: Jobs) -> Ciphertext:
    return Ciphertext(jobs[0][0], outcome, 0, cast(bytes, outcome.outputs[0]))


def _verified(outcome: Outcome, jobs: Jobs) -> Verified:
    return Verified(jobs[0][0], outcome, 0)


def _secret(outcome: Outcome, jobs: Jobs) -> Secret:
    return Secret(cast(_core.Secret, outcome.outputs[0]), jobs[0][0], outcome)
