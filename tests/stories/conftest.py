"""One quorum of five for the stories of a file: each leaves it as it found it, all agents up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import Machine, Quorum

EVERYTHING = (
    "ed25519",
    "ml-dsa-65",
    "ecdsa-p256",
    "x25519",
    "ml-kem-768",
    "xaes-256-gcm",
    "hmac-sha256",
    "hkdf-sha256",
)


@pytest.fixture(scope="module")
def quorum(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quorum]:
    with Quorum(tmp_path_factory.mktemp("quorum")) as running:
        yield running


@pytest.fixture(scope="module")
def caller(quorum: Quorum) -> Machine:
    """The caller's machine."""
    return quorum.caller


@pytest.fixture(scope="module")
def payments(caller: Machine) -> Path:
    """A token for everything, 3 of 5, created on the caller's machine."""
    suites = [word for suite in EVERYTHING for word in ("--suite", suite)]
    created = caller.run("key", "create", "payments", *suites, "--json").json
    return Path(created["file"])
