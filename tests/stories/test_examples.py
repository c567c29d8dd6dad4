"""The examples do what they say."""

from __future__ import annotations

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
