"""The examples do what they say. The deployments end with an error at the first thing that is not as it should be."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("first_signature.py", "verified offline"),
        ("many_at_once.py", "under one opening"),
        ("envelope.py", "the same: True"),
    ],
)
def test_an_example_runs(name: str, said: str) -> None:
    words = [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert not done.stderr


def deployed(name: str) -> list[str]:
    """What a deployment found, step by step."""
    words = [sys.executable, str(EXAMPLES / name / "run.py")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    assert (EXAMPLES / name / "README.md").exists()
    return [line.removeprefix("  → ") for line in done.stdout.splitlines() if line.startswith("  → ")]


def test_a_fintech_reads_payments_seals_customers_data_and_outlives_a_site() -> None:
    found = deployed("fintech")
    expected = (
        "125.00 EUR signed; 2 agents wrote it down, and signed that they did",
        "100,000.00 EUR: refused, by every agent",
        "a digest that could be of anything: refused, by every agent",
        "20 customers written; one forgotten: the salt is gone, and with it the data key",
        "no data key of 19 is on any disk of 3 machines",
        "all data of 19 customers decrypts",
        "payments of before and after verify under one public key",
        "nothing opens: quorum-not-met",
    )
    assert [line for line in expected if line not in found] == []


def test_a_payment_processor_renews_working_keys_while_terminals_pay() -> None:
    found = deployed("payment-processor")
    expected = (
        "version 1; hsm:a says of it: sensitive, non-extractable",
        '{"terminal":4711,"number":1,"amount":4200} under version 1: approved',
        "with another amount: invalid-signature",
        "version 1 is gone from all tokens; the terminal pays under version 3",
        "more than a day's worth: refused, by every agent",
        "no working key is in a file of any machine in the clear; HSMs have theirs, the root is nowhere",
    )
    assert [line for line in expected if line not in found] == []
    during = next(line for line in found if "none refused" in line)
    paid, before, after = map(int, re.findall(r"(\d+)(?= payments|, 2:|\})", during))
    assert paid == before + after and before > 0 and after > 0


def test_a_custodian_removes_its_share_store_and_keeps_its_address() -> None:
    found = deployed("custodian")
    expected = (
        "0.25 BTC signed by the desk alone; a BIP-340 verifier accepts it",
        "3 shares removed, once all had signed that they regenerate theirs; the old token is dead",
        "the same withdrawal, signed again: under the same key the same verifier accepts it",
        "under the old token: refused",
        "2.5 BTC by the desk alone: refused, by every operator",
        "with both: signed",
        "two of three sign",
        "one alone: quorum-not-met",
    )
    assert [line for line in expected if line not in found] == []
    before, after = (line.rpartition(": ")[2] for line in found if "bc1p" in line)
    assert before == after and len(before) == 62
