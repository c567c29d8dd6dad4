"""The independent implementation of the protocol that the conformance tests have."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "conformance"))

from independent import (
    ASYMMETRIC,
    Gate,
    Token,
    _times,
    expand,
    hkdf,
    open_seed,
    regenerate,
    th,
)
from independent_suites import agent_id, public

times = _times
"""Multiplication in GF(2^8)."""

__all__ = [
    "ASYMMETRIC",
    "Gate",
    "Token",
    "agent_id",
    "expand",
    "hkdf",
    "open_seed",
    "public",
    "regenerate",
    "th",
    "times",
]
