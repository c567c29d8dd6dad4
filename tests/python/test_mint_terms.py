"""What a mint is told is checked, and explained, before any agent is asked."""

from __future__ import annotations

import time

import pytest

from evanesce import EvanesceError, Terms
from evanesce._mint import Terminal, majority, mint, parse_quorum, seat_holders, shared_seats
from evanesce.cli.key import moment
from evanesce.home import Agent

AGENTS = tuple(Agent(f"agent-{n}", f"{n:064x}", f"127.0.0.1:{n}") for n in range(1, 6))


def test_the_default_quorum_is_a_majority() -> None:
    order = mint(AGENTS, "payments", ["ed25519"], Terms())
    assert order.quorum == "3 of (agent-1, agent-2, agent-3, agent-4, agent-5)"
    assert order.seats == {agent.name: agent.name for agent in AGENTS}
    assert majority(AGENTS[:4]).startswith("3 of")


def test_seats_are_mapped() -> None:
    seats = {"ceo": "agent-1", "board-1": "agent-2", "board-2": "agent-3"}
    order = mint(AGENTS, "k", ["ed25519"], Terms(quorum="2 of (ceo, 1 of (board-1, board-2))", seats=seats))
    assert order.seats == seats
    assert order.quorum == "2 of (ceo, 1 of (board-1, board-2))"


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (Terms(quorum="2 of ceo"), "cannot be read"),
        (Terms(quorum="0 of (agent-1)"), "cannot be read"),
        (Terms(quorum="1 of (ceo, agent-1)"), "nobody sits at ceo"),
        (Terms(quorum="1 of (ceo)", seats={"ceo": "agent-9"}), "no agent 'agent-9'"),
        (Terms(quorum="1 of (agent-1)", seats={"cfo": "agent-1"}), "no seat 'cfo'"),
        (Terms(expires=1), "expire before it exists"),
        (Terms(replaces="abcd"), "64 hex digits"),
    ],
)
def test_wrong_terms_are_explained(terms: Terms, said: str) -> None:
    with pytest.raises(EvanesceError, match=said) as caught:
        mint(AGENTS, "k", ["ed25519"], terms)
    assert caught.value.code == "bad-input"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "suites", "said"),
    [
        ("", ["ed25519"], "name is"),
        ("é" * 128, ["ed25519"], "name is"),
        ("k", [], "at least one suite"),
        ("k", ["rot13"], "no suite 'rot13'"),
        ("k", ["rsa-pss-sha256"], "cannot be derived"),
    ],
)
def test_wrong_names_and_suites_are_explained(name: str, suites: list[str], said: str) -> None:
    with pytest.raises(EvanesceError, match=said):
        mint(AGENTS, name, suites, Terms())


def test_where_an_imported_key_is_read() -> None:
    assert mint(AGENTS, "k", ["rsa-pss-sha256"], Terms(), "/key").import_from == ("file", "/key")
    assert mint(AGENTS, "k", ["rsa-pss-sha256"], Terms(), 3).import_from == ("descriptor", "3")
    assert mint(AGENTS, "k", "aes-cmac", Terms(), Terminal("Key: ")).import_from == ("terminal", "Key: ")


def test_an_agent_in_two_seats_is_warned_of() -> None:
    holders = seat_holders(["a", "b"], {"a": "agent-1", "b": "agent-1"}, AGENTS)
    assert shared_seats(holders) == ["agent-1 holds 2 seats (a, b): it counts, and fails, that many times"]


def test_quorums_have_a_normal_form() -> None:
    text, seats = parse_quorum("2   of(a,b , 1 of (c,d))")
    assert text == "2 of (a, b, 1 of (c, d))"
    assert seats == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90d", 1000 + 90 * 86400), ("2y", 1000 + 730 * 86400), ("1893456000", 1893456000), ("2030-01-01", 1893456000)],
)
def test_expiry_is_said_as_people_say_it(text: str, seconds: int) -> None:
    assert moment(text, 1000) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3d", "12", "3 d", "2030-13-01"])
def test_an_expiry_that_makes_no_sense(text: str) -> None:
    with pytest.raises(EvanesceError, match="no time to expire"):
        moment(text, time.time())
