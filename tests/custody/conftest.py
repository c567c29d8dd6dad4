"""Every model's place, made once; `place` is each of them in turn."""

from __future__ import annotations

import os
from collections.abc import Iterator

import places
import pytest
from places import Place

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
def regen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("regen")
    with EmbeddedQuorum(folder, ["one", "two", "three"]) as quorum:
        yield places.regen(folder, quorum)


@pytest.fixture(scope="session", params=["softhsm", "nss", "regen"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found
