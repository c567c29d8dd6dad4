"""Every model's place, made once; `place` is each of them in turn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import places
import pytest
from places import Place

from evanesce.custody.mpc import Mpc
from evanesce.custody.regen import Regen
from evanesce.custody.regen_mpc import RegenMpc
from evanesce.testbed import EmbeddedQuorum


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    before = os.environ.get("SOFTHSM2_CONF")
    yield places.softhsm(tmp_path_factory.mktemp("softhsm"), "prod", "second")
    os.environ.pop("SOFTHSM2_CONF") if before is None else os.environ.update(SOFTHSM2_CONF=before)


@pytest.fixture(scope="session")
def nss(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return places.nss(tmp_path_factory.mktemp("nss"))


@pytest.fixture(scope="session")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Of the same three agents a caller for each model."""
    folder = tmp_path_factory.mktemp("quorum")
    with EmbeddedQuorum(folder, ["one", "two", "three"]) as quorum:
        homes = {name: quorum.admit(name, folder / f"home-{name}") for name in ("mpc", "regen", "regen-mpc")}
        quorum.start()
        yield homes


@pytest.fixture(scope="session")
def mpc(callers: dict[str, Path]) -> Place:
    return places.of_quorum(Mpc, callers["mpc"])


@pytest.fixture(scope="session")
def regen(callers: dict[str, Path]) -> Place:
    return places.of_quorum(Regen, callers["regen"])


@pytest.fixture(scope="session")
def regen_mpc(callers: dict[str, Path]) -> Place:
    return places.of_quorum(RegenMpc, callers["regen-mpc"])


@pytest.fixture(scope="session", params=["softhsm", "nss", "mpc", "regen", "regen_mpc"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found
