"""One attack for all that is tried in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attacked import Attack, attacked


@pytest.fixture(scope="session")
def attack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attack]:
    with attacked(tmp_path_factory.mktemp("attack")) as attack:
        yield attack
