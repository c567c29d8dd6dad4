"""One run: the workload leaves nothing behind, and every kind of leak is found."""

from __future__ import annotations

import pytest

from .leaks import KINDS
from .one_run import Result, run
from .test_search import needs_audit_build
from .vault import KEPT

pytestmark = needs_audit_build


@pytest.fixture(scope="module")
def result() -> Result:
    return run(print)


def test_nothing_secret_is_left_anywhere(result: Result) -> None:
    assert result.operations >= 200
    assert not result.hits, "\n".join(map(str, result.hits))


def test_what_models_keep_is_found_where_they_keep_it_and_nowhere_else(result: Result) -> None:
    assert len(result.kept) == 5 + KEPT
    assert result.found_at_rest == result.kept


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_planted_leak_is_found_where_it_was_put(result: Result, kind: object) -> None:
    planted = [each for each in result.planted if each.kind is kind]
    if not planted:
        pytest.skip("; ".join(result.remarks))
    assert planted[0].found
