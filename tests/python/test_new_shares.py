"""What is to hold new shares of a key that is never put together is judged before people or agents are asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evanesce import EvanesceError, Request, Token, _core
from evanesce._heal import Changes, left_alone, left_out
from evanesce._planned import gives_away, read
from evanesce.home import Agent

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "threshold.json"
CALLER = "cd" * 32
NEW = tuple(Agent(f"new-{number}", f"{number:064x}", f"127.0.0.1:{number}") for number in (1, 2))


def named(name: str) -> Token:
    (case,) = (case for case in json.loads(VECTORS.read_text())["cases"] if case["name"] == name)
    return Token.decode(bytes.fromhex(case["token"]))


@pytest.fixture(scope="module")
def token() -> Token:
    return named("3 of 5, Taproot, replaces another")


@pytest.fixture(scope="module")
def agents(token: Token) -> tuple[Agent, ...]:
    """Its holders, called as their seats are, and two more."""
    return (*(Agent(seat.name, seat.holder_id, "127.0.0.1:9") for seat in token.seats), *NEW)


def ids(agents: tuple[Agent, ...], *names: str) -> list[str]:
    known = {agent.name: agent.id for agent in agents}
    return [known[name] for name in names]


def test_a_request_says_who_is_to_hold_shares_and_that_the_quorum_is_another(
    token: Token, agents: tuple[Agent, ...]
) -> None:
    chosen = Changes(quorum="2 of (seat-0, seat-2, seat-4, chair)", seats={"chair": "new-1"})
    asked = Request.to_refresh_shares(token, CALLER, agents=agents, **chosen)
    assert [*asked.seats] == ["seat-0", "seat-2", "seat-4", "chair"]
    assert [*asked.seats.values()] == ids(agents, "seat-0", "seat-2", "seat-4", "new-1")
    assert "quorum 2 of (seat-0, seat-2, seat-4, chair) (another)" in asked.text
    assert f"chair {NEW[0].id[:16]}" in asked.text
    assert Request.decode(asked.encode()) == asked
    assert gives_away(asked)
    # As a reshare it is the same, since who asks need not know the model.
    again = Request.to_reshare(token, CALLER, agents, **chosen)
    assert again.seats == asked.seats and again.action == "reshare"


def test_where_nothing_is_said_of_them_the_holders_stay(token: Token, agents: tuple[Agent, ...]) -> None:
    for asked in (
        Request.to_refresh_shares(token, CALLER, "mpc"),
        Request.to_refresh_shares(token, CALLER, "mpc", agents=agents, quorum=token.quorum),
    ):
        assert not gives_away(asked)
        assert "model mpc (another)" in asked.text and f"quorum {token.quorum} (as it is)" in asked.text
        inputs = [read(asked)["deal"], *(bytes.fromhex(seat.holder_id) for seat in token.seats)]
        assert asked.input == _core.input_digest(asked.salt, "reshare", "", inputs)
    # The same seats under another holder are other shares too.
    for changes in (Changes(seats={"seat-3": "new-2"}), Changes(quorum=token.quorum.replace("3 of", "4 of"))):
        assert gives_away(Request.to_refresh_shares(token, CALLER, agents=agents, **changes))


def test_what_people_approve_of_another_quorum_covers_who_holds_it(token: Token, agents: tuple[Agent, ...]) -> None:
    asked = Request.to_refresh_shares(token, CALLER, agents=agents, seats={"seat-3": "new-1"})
    other = replace(asked, seats={**asked.seats, "seat-3": NEW[1].id})
    assert gives_away(other) and other.content == asked.content and other.input != asked.input
    assert {asked.input, other.input} == {
        _core.input_digest(asked.salt, "reshare", "", [read(each)["deal"], *map(bytes.fromhex, each.seats.values())])
        for each in (asked, other)
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quorum": "2 of (seat-0, seat-1, new-1, new-2)"}, "sign with the key must sit in the new quorum"),
        ({"quorum": "2 of (new-1, new-2)"}, "that would be nobody"),
        ({"quorum": "2 of (seat-0, seat-1, seat-2, chair)", "seats": {"chair": "seat-0"}}, "sits once"),
        ({"seats": {"seat-0": "seat-1"}}, "sits once"),
        ({"quorum": "1 of (seat-0, seat-1, seat-2)"}, "one seat would do"),
        ({"quorum": "2 of (seat-0, seat-1, 1 of (seat-2, seat-3))"}, "flat"),
        ({"quorum": "2 of seat-0"}, "cannot be read"),
        ({"quorum": "2 of (seat-0, seat-1, seat-2, chair)"}, "nobody sits at chair"),
        ({"quorum": "3 of (seat-0, seat-1, seat-2)", "seats": {"seat-4": "new-1"}}, "no seat 'seat-4'"),
        ({"seats": {"seat-4": "stranger"}}, "no agent 'stranger'"),
        ({"quorum": "3 of (seat-0, seat-1, seat-2)", "expires": 1}, "would have expired already"),
        ({"expires": 1}, "would have expired already"),
    ],
    ids=str,
)
def test_who_cannot_hold_them_is_said_before_anybody_is_asked(
    token: Token, agents: tuple[Agent, ...], changes: Any, said: str
) -> None:
    with pytest.raises(EvanesceError, match=said) as caught:
        Request.to_refresh_shares(token, CALLER, agents=agents, **changes)
    assert caught.value.code == "bad-input"


def test_without_the_agents_nobody_can_be_seated(token: Token) -> None:
    with pytest.raises(EvanesceError, match="which agents there are"):
        Request.to_refresh_shares(token, CALLER, quorum="3 of (seat-0, seat-1, seat-2)")


def test_a_request_that_was_altered_on_its_way_is_judged_likewise(token: Token, agents: tuple[Agent, ...]) -> None:
    asked = Request.to_refresh_shares(token, CALLER, agents=agents, quorum="2 of (seat-0, seat-1, seat-2)")
    document = json.loads(asked.encode())
    for holders, said in (
        (ids(agents, "seat-0", "seat-1", "seat-0"), "sits once"),
        (ids(agents, "seat-0", "seat-1", "new-1"), "must sit in the new quorum"),
    ):
        changed = document | {"seats": dict(zip(asked.seats, holders, strict=True))}
        with pytest.raises(EvanesceError, match=said):
            Request.decode(json.dumps(changed).encode())


def test_who_is_left_out_is_known_and_whether_they_need_anybody_else() -> None:
    # Of the vectors' agents the first two sit in both.
    old, new = named("3 of 5, Taproot, replaces another"), named("2 of 2")
    assert [seat.name for seat in left_out(new, old)] == ["seat-2", "seat-3", "seat-4"]
    (warning,) = left_alone(new, old)
    assert "3 holders are left out at once" in warning
    assert left_out(old, new) == () and left_alone(old, new) == []
    assert left_alone(named("2 of 3"), named("4 of 4, Taproot")) == []
