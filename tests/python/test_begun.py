"""A settled header is good for one mint, at this home too, whatever is asked of people about it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evanesce import EvanesceError, Request, Token
from evanesce._begun import once
from evanesce.errors import error
from evanesce.home import Agent

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "tokens.json"
CALLER = "cd" * 32


@pytest.fixture(scope="module")
def asked() -> Request:
    cases = json.loads(VECTORS.read_text())["cases"]
    tokens = (Token.decode(bytes.fromhex(case["token"])) for case in cases if "error" not in case)
    token = next(one for one in tokens if one.expires is None and len({at.holder_id for at in one.seats}) > 1)
    ids = sorted({at.holder_id for at in token.seats})
    agents = [Agent(f"holder-{number}", id, f"127.0.0.1:{4000 + number}") for number, id in enumerate(ids)]
    return Request.to_reshare(token, CALLER, agents)


def code(home: Path, asked: Request) -> str:
    with pytest.raises(EvanesceError) as refused, once(home, asked):
        pass
    return refused.value.code


def test_what_was_begun_is_not_begun_again_under_another_salt_either(asked: Request, tmp_path: Path) -> None:
    with once(tmp_path, asked):
        pass
    assert code(tmp_path, asked) == "spent"
    other = replace(asked, salt=bytes(32))
    assert other.id != asked.id
    assert code(tmp_path, other) == "spent"


def test_of_two_at_once_the_second_is_told_so_and_not_that_it_is_over(asked: Request, tmp_path: Path) -> None:
    with pytest.raises(EvanesceError, match="no quorum"), once(tmp_path, asked):
        assert code(tmp_path, asked) == "running"
        raise error("quorum-not-met", "no quorum")
    # Nothing was dealt: it may be begun.
    with once(tmp_path, asked):
        pass


def test_one_that_has_dealt_stays_begun_whatever_fails_then(asked: Request, tmp_path: Path) -> None:
    with pytest.raises(EvanesceError, match="disk"), once(tmp_path, asked) as mint:
        mint.dealt = True
        raise error("io", "the disk is full")
    assert code(tmp_path, asked) == "spent"


def test_one_that_may_have_dealt_stays_begun(asked: Request, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), once(tmp_path, asked):
        raise KeyboardInterrupt
    assert code(tmp_path, asked) == "spent"
