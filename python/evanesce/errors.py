"""Errors: what happened, whose fault it is, what to do next.

Everything this package raises on purpose is an `EvanesceError`. Its `.code` is stable and for programs;
`.message` and `.hint` are for people; `.culprits` names, as data, each seat and holder that failed. `CODES`
is the one table of codes: which class carries it and which status the command line exits with.

No error holds a secret: the core has none to give, and what callers pass in is never quoted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from evanesce._core import CoreError
from evanesce._text import printable, short

if TYPE_CHECKING:
    from evanesce.results import Check

Fault = tuple[str | None, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Culprit:
    """One holder's fault in one operation."""

    seat: str | None
    """The seat's name in the quorum; None where the fault is not about one seat."""
    holder: str
    """The holder's name in the caller's quorum file, or a shortened id when it is not there."""
    holder_id: str
    """The holder's agent id, 64 hex digits."""
    kind: str
    """row-altered, epoch-not-held, cannot-regenerate, lied, refused, unreachable, slow, unknown-holder,
    element-unavailable, overloaded or unavailable."""
    detail: str
    """In the holder's or the network's words; foreign text."""

    def __str__(self) -> str:
        holder = printable(self.holder) or short(self.holder_id)
        where = f"seat {printable(self.seat)}, " if self.seat and self.seat != self.holder else ""
        said = f" ({printable(self.detail)})" if self.detail else ""
        return f"{where}{holder}: {printable(self.kind).replace('-', ' ')}{said}"


def culprits(faults: Iterable[Fault]) -> tuple[Culprit, ...]:
    """The core's fault tuples, as data with names."""
    return tuple(Culprit(*fault) for fault in faults)


class EvanesceError(Exception):
    """The base of all errors here."""

    def __init__(self, code: str, message: str, hint: str = "", culprits: tuple[Culprit, ...] = ()) -> None:
        super().__init__(code, message, hint, culprits)
        self.code = code
        self.message = message
        self.hint = hint
        self.culprits = culprits
        self.check: Check | None = None
        """Of a check that was to open as well and could not: what every seat had answered."""

    def __str__(self) -> str:
        lines = [printable(self.message, lines=True, limit=2000)]
        lines += [f"  {culprit}" for culprit in self.culprits]
        if self.hint:
            lines.append(f"What to do: {printable(self.hint, lines=True, limit=2000)}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """The machine form, as `--json` prints it."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "culprits": [asdict(culprit) for culprit in self.culprits],
        }


class InputError(EvanesceError):
    """What was asked cannot be done as asked: a wrong argument, suite, file or policy."""


class UnsupportedError(InputError):
    """This way of keeping a key does not do it (docs/custody.md); nothing was put in its place."""


class TokenError(EvanesceError):
    """The token itself is at fault: malformed, expired, altered or dishonestly dealt."""


class TrustError(EvanesceError):
    """Nothing says that this token is the right one: pin it (docs/decisions/trust-and-pins.md)."""


class RefusedError(EvanesceError):
    """The agents, or one whose word decides, said no."""


class QuorumError(EvanesceError):
    """Too few seats could be had just now. Nothing was done; trying again is safe."""


class VerificationError(EvanesceError):
    """A signature, MAC, ciphertext or receipt does not verify."""


class SetupError(EvanesceError):
    """This machine is not set up for it: identity, quorum file, folder, element, memory."""


class InternalError(EvanesceError):
    """A defect in Evanesce."""


@dataclass(frozen=True, slots=True)
class Code:
    """What goes with an error code."""

    error: type[EvanesceError]
    exit_status: int
    """1: usage, set-up or unreachable; 2: refused. See `exit_status` for the one exception."""
    hint: str = ""
    """What to do, where whoever raises it has nothing better to say."""


CODES: dict[str, Code] = {
    # What was asked.
    "usage": Code(InputError, 1),
    "bad-input": Code(InputError, 1),
    "not-found": Code(InputError, 1),
    "exists": Code(InputError, 1),
    "suite-not-in-token": Code(InputError, 1, "Use a suite that the token lists: `evanesce inspect TOKEN`."),
    "unsupported": Code(UnsupportedError, 1, "docs/custody.md says which model does what."),
    "unfit-operation": Code(InputError, 1, "Use a suite that does this."),
    "policy": Code(InputError, 2),
    "payload": Code(
        InputError,
        1,
        "A payload is one JSON object of whole numbers within ±2^53, texts, true, false, arrays and objects.",
    ),
    # The token.
    "malformed": Code(
        TokenError, 2, "Get the token again from where it is kept; it was cut short, changed or is something else."
    ),
    "expired": Code(TokenError, 2, "Use the token that replaced it."),
    "token-altered": Code(
        TokenError, 2, "Get the token again from where it is kept: this one is not as it was minted."
    ),
    "inconsistent": Code(TokenError, 2, "Do not use this token: whoever minted it dealt dishonestly."),
    # Trust in the token.
    "unpinned": Code(TrustError, 2),
    "pin-mismatch": Code(TrustError, 2),
    # The agents.
    "refused": Code(RefusedError, 2, "Ask those who run the agents that are named."),
    "role": Code(RefusedError, 2, "Have the agents allow it: `evanesce agent allow DIR --name NAME --id ID --role …`."),
    "not-approved": Code(QuorumError, 1),
    "quorum-not-met": Code(QuorumError, 1, "Start or reach the agents that are named, then try again."),
    "overloaded": Code(QuorumError, 1, "Try again, more slowly."),
    "reconstructor": Code(QuorumError, 1, "Start or reach the reconstructor that is named, then try again."),
    "custodians-missing": Code(QuorumError, 1, "Have enough custodians come with their key files."),
    # What was checked.
    "invalid-signature": Code(VerificationError, 2, "The message, the signature or the key is not the right one."),
    "decryption-failed": Code(
        VerificationError, 2, "The ciphertext, its additional data or the key is not the right one."
    ),
    "grant-invalid": Code(InputError, 2, "Ask its grantor for another."),
    "approval-invalid": Code(VerificationError, 2, "Ask the approver for it again."),
    "backup-invalid": Code(VerificationError, 2, "Take another copy of the backup, and the right custodians' keys."),
    "receipt-invalid": Code(VerificationError, 2, "Do not rely on this receipt."),
    "log-invalid": Code(
        VerificationError,
        2,
        "Keep what you have as evidence, and ask the agent's operator: it did not only grow.",
    ),
    # This machine.
    "identity": Code(SetupError, 1, "Check the identity file: its path, its owner and its mode (0600)."),
    "config": Code(SetupError, 1, "Correct the file that is named."),
    "io": Code(SetupError, 1, "Check the path, its permissions and free space."),
    "running": Code(SetupError, 1),
    "memory": Code(SetupError, 1, "Raise the locked-memory limit (ulimit -l) or lower the load."),
    "element": Code(
        SetupError, 1, "Check the element's token, PIN or passphrase; `evanesce doctor --agent DIR` probes it."
    ),
    "log": Code(SetupError, 1, "Check the agent's folder: free space, its mode, and that no other agent runs in it."),
    "roll": Code(SetupError, 1, "Look into the inventory; nothing was destroyed."),
    # The rest.
    "closed": Code(InputError, 1),
    "interrupted": Code(EvanesceError, 1),
    "internal": Code(InternalError, 1, "Please report this."),
}


def error(code: str, message: str, hint: str = "", culprits: tuple[Culprit, ...] = ()) -> EvanesceError:
    """The error of the class that `CODES` gives this code; an unknown code is a plain `EvanesceError`."""
    known = CODES.get(code)
    return (known.error if known else EvanesceError)(code, message, hint, culprits)


def translate(raised: CoreError) -> EvanesceError:
    """The core's error, as the public one."""
    known = CODES.get(raised.code)
    hint = raised.hint or (known.hint if known else "")
    return error(raised.code, raised.message, hint, culprits(raised.faults))


UNANSWERED = frozenset({"unreachable", "slow", "unknown-holder", "element-unavailable", "overloaded", "unavailable"})
"""Kinds of faults that are no answer: the holder, or its element, may yet say yes."""


def exit_status(raised: EvanesceError) -> int:
    """The status the command line exits with. A quorum that was not met is a refusal where every holder that
    failed had been reached and its answer was no."""
    kinds = {culprit.kind for culprit in raised.culprits}
    if raised.code == "quorum-not-met" and kinds and not kinds & UNANSWERED:
        return 2
    known = CODES.get(raised.code)
    return known.exit_status if known else 1
