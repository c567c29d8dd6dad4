"""The independent implementation of the protocol that the conformance tests have, and their PKCS#11 module."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "conformance"))

import threshold as together
from elements import PIN, SOFTHSM
from files import private, quoted
from independent import (
    ASYMMETRIC,
    Gate,
    Token,
    expand,
    hkdf,
    interpolate,
    open_seed,
    regenerate,
    th,
    times,
)
from independent_suites import agent_id, public

__all__ = [
    "ASYMMETRIC",
    "PIN",
    "SOFTHSM",
    "Gate",
    "Token",
    "agent_id",
    "expand",
    "hkdf",
    "interpolate",
    "open_seed",
    "private",
    "public",
    "quoted",
    "regenerate",
    "th",
    "times",
    "together",
]
