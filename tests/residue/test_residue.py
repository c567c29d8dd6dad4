"""One run: the workload leaves nothing behind, and every kind of leak is found."""

from __future__ import annotations

import pytest

from .leaks import KINDS
from .one_run import Result, run
from .test_search import needs_audit_build

pytestmark = needs_audit_build


@pytest.fixture(scope="module")
def result() -> Result:
    return run(print)


def test_nothing_secret_is_left_anywhere(result: Result) -> None:
    assert result.operations >= 200
    assert not result.hits, "\n".join(map(str, result.hits))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_planted_leak_is_found_where_it_was_put(result: Result, kind: object) -> None:
    planted = [each for each in result.planted if each.kind is kind]
    if not planted:
        pytest.skip("; ".join(result.remarks))
    assert planted[0].found
