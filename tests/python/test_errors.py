"""Errors say what happened, whose fault it is and what to do next; and there is one table of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evanesce import errors
from evanesce.errors import CODES, Culprit, EvanesceError, QuorumError, culprits, error, exit_status

ROOT = Path(__file__).resolve().parents[2]


def test_an_error_reads_as_what_whom_and_what_next() -> None:
    raised = error(
        "quorum-not-met",
        "3 seats are needed and 2 answered",
        "Start the agents that are named.",
        (Culprit("cfo", "agent-2", "cd" * 32, "unreachable", "connection refused"),),
    )
    assert isinstance(raised, QuorumError)
    assert str(raised).splitlines() == [
        "3 seats are needed and 2 answered",
        "  seat cfo, agent-2: unreachable (connection refused)",
        "What to do: Start the agents that are named.",
    ]


def test_culprits_are_data() -> None:
    (culprit,) = culprits([(None, "agent-1", "ab" * 32, "lied", "")])
    assert (culprit.seat, culprit.holder, culprit.kind) == (None, "agent-1", "lied")
    assert error("refused", "no", "", (culprit,)).as_dict()["culprits"][0]["holder_id"] == "ab" * 32


def test_every_code_the_core_can_raise_is_in_the_table() -> None:
    source = (ROOT / "rust/quorum/src/error.rs").read_text()
    raised = set(re.findall(r'Self::\w+ => "([a-z-]+)"', source))
    for file in (ROOT / "rust/py/src").glob("*.rs"):
        raised |= set(re.findall(r'(?:plain|raise)\(\s*"([a-z-]+)"', file.read_text()))
    agent = "".join(file.read_text() for file in (ROOT / "rust/agent/src").glob("*.rs"))
    codes = re.search(r"pub fn code\(&self\).*?\n    \}\n", agent, re.DOTALL)
    assert codes is not None
    raised |= set(re.findall(r'=> "([a-z-]+)"', codes[0]))
    assert len(raised) > 20
    assert raised - set(CODES) == set()


PROMISED = {
    errors.InputError: {
        1: "usage bad-input not-found exists suite-not-in-token unfit-operation closed payload",
        2: "policy grant-invalid",
    },
    errors.UnsupportedError: {1: "unsupported"},
    errors.TokenError: {2: "malformed expired token-altered inconsistent"},
    errors.TrustError: {2: "unpinned pin-mismatch"},
    errors.RefusedError: {2: "refused role"},
    errors.QuorumError: {1: "quorum-not-met not-approved overloaded reconstructor custodians-missing"},
    errors.VerificationError: {
        2: "invalid-signature decryption-failed approval-invalid backup-invalid receipt-invalid log-invalid"
    },
    errors.SetupError: {1: "identity config io running memory element log roll"},
    errors.InternalError: {1: "internal"},
    EvanesceError: {1: "interrupted"},
}
"""Class, exit status, codes: what programs and scripts rely on, written out apart from the table itself."""


def test_every_code_has_its_class_and_exit_status() -> None:
    promised = {
        code: (kind, status)
        for kind, statuses in PROMISED.items()
        for status, codes in statuses.items()
        for code in codes.split()
    }
    found = {code: (type(raised), exit_status(raised)) for code in CODES for raised in [error(code, "message")]}
    assert found == promised


@pytest.mark.parametrize(
    ("kinds", "status"),
    [
        (("refused",), 2),
        (("refused", "cannot-regenerate", "lied"), 2),
        (("refused", "unreachable"), 1),
        (("refused", "slow"), 1),
        (("unknown-holder", "refused"), 1),
        (("element-unavailable", "refused"), 1),
        (("overloaded", "refused"), 1),
        (("unavailable",), 1),
        ((), 1),
    ],
)
def test_a_quorum_not_met_is_a_refusal_where_all_who_failed_said_no(kinds: tuple[str, ...], status: int) -> None:
    named = tuple(Culprit("seat", "agent", "ab" * 32, kind, "") for kind in kinds)
    assert exit_status(error("quorum-not-met", "message", "", named)) == status


def test_every_code_raised_here_is_in_the_table() -> None:
    used = set()
    for file in (ROOT / "python/evanesce").rglob("*.py"):
        used |= set(re.findall(r'\berror\(\s*"([a-z-]+)"', file.read_text()))
    assert used - set(CODES) == set()


def test_an_unknown_code_is_still_an_error() -> None:
    raised = error("from-a-newer-core", "what")
    assert type(raised) is EvanesceError
    assert exit_status(raised) == 1


def test_the_classes_are_all_public() -> None:
    import evanesce

    for code in CODES.values():
        assert getattr(evanesce, code.error.__name__) is code.error
    assert errors.EvanesceError is evanesce.EvanesceError
