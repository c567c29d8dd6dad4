"""A key that may be used so often: by however many callers at once, over restarts, kills and reshares."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from machines import Machine, Quorum

from evanesce import Client, EvanesceError, Policy, Token

ALL = "permit(principal, action, resource);"


def mint(
    caller: Machine, name: str, limits: str, quorum: str = "3 of (agent-1, agent-2, agent-3, agent-4, agent-5)"
) -> Path:
    policy = caller.home / f"{name}.cedar"
    policy.write_text(f'@limits("{limits}") {ALL}')
    made = caller.run("key", "create", name, "--suite", "ed25519", "--quorum", quorum, "--policy", policy, "--json")
    return Path(made.json["file"])


def use_up(caller: Machine, path: Path) -> tuple[int, EvanesceError]:
    """Signs until it is refused: how often it could, and how it was refused."""
    token = Token.load(path, home=caller.home)
    with Client(caller.home) as client:
        for signed in range(1000):
            try:
                client.sign(token, b"again")
            except EvanesceError as e:
                return signed, e
    raise AssertionError("it signs without end")


def test_a_total_is_kept_over_kills_and_told_before(caller: Machine, quorum: Quorum) -> None:
    checked = caller.run(
        "policy",
        "check",
        "-",
        "--quorum",
        "3 of (a, b, c, d, e)",
        stdin=f'@limits("total 12 surviving 1") {ALL}'.encode(),
    )
    assert "each agent permits 6 operations" in checked.err
    path = mint(caller, "limited", "total 12 surviving 1")
    limit = caller.run("policy", "check", path, "--json").json["limits"][0]
    assert (limit["text"], limit["each"]) == ("total 12 surviving 1", 6)
    token = Token.load(path, home=caller.home)
    with Client(caller.home) as client:
        first = client.sign(token, b"first")
    assert {receipt.verify()["uses"]["key"] for receipt in first.receipts} == {1}
    # Killed in the middle, every one of them.
    for _ in range(2):
        caller.run("sign", path, "-m", "one more")
        for agent in list(quorum.agents):
            quorum.end(agent, how=signal.SIGKILL)
        quorum.start()
    signed, refused = use_up(caller, path)
    assert 6 <= signed + 3 <= 10, "six at the least, and five thirds of that while no agent is corrupt"
    assert any("6 of 6 operations are spent" in culprit.detail for culprit in refused.culprits)
    again, refused = use_up(caller, path)
    assert again == 0
    quorum.end("agent-1", "agent-2")
    quorum.start()
    failed = caller.try_("sign", path, "-m", "x")
    assert failed.status != 0
    assert "total 12 surviving 1" in failed.err
    # Each agent has answered six times, and no more.
    for name, agent in quorum.agents.items():
        with Client(caller.home) as client, pytest.raises(EvanesceError):
            client.sign(token, b"x")
        assert agent.running, name


def test_callers_who_race_have_no_more_between_them(caller: Machine, quorum: Quorum) -> None:
    rival = quorum.newcomer("rival")
    quorum.admit("rival", rival)
    path = mint(caller, "raced", "total 30 surviving 0; caller agent 12")
    (rival.home / "raced.regen").write_bytes(path.read_bytes())
    counts: dict[str, int] = {}

    def ask(machine: Machine, token: Path) -> None:
        counts[machine.home.name] = use_up(machine, token)[0]

    racers = [
        threading.Thread(target=ask, args=(caller, path)),
        threading.Thread(target=ask, args=(rival, rival.home / "raced.regen")),
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert 18 <= sum(counts.values()) <= 30, counts
    assert max(counts.values()) <= 20, "twelve at each of five agents, three to an operation"


def test_a_reshared_key_goes_on_from_where_it_stood(caller: Machine) -> None:
    path = mint(caller, "handed-on", "agent 8", "3 of (agent-1, agent-2, agent-3)")
    caller.run("sign", path, "-m", "one")
    caller.run("key", "refresh", path, "--retire-old")
    # One signature, the opening for the refresh, and the one that proves the new token.
    signed, refused = use_up(caller, path)
    assert signed == 5
    assert any("8 of 8 operations are spent" in culprit.detail for culprit in refused.culprits)
    refused = caller.fail(2, "refused", "key", "refresh", path).error
    assert "spent" in refused["culprits"][0]["detail"], "spent for resharing too"


def test_a_rate_gives_room_again(caller: Machine) -> None:
    path = mint(caller, "steady", "agent 2 per 3s", "3 of (agent-1, agent-2, agent-3)")
    signed, refused = use_up(caller, path)
    assert signed == 2
    assert any("again in" in culprit.detail for culprit in refused.culprits)
    caller.run("policy", "check", path)
    for _ in range(100):
        if caller.try_("sign", path, "-m", "later").status == 0:
            break
    else:
        raise AssertionError("there is never room again")


def test_what_cannot_be_promised_is_refused_before_anybody_is_asked(caller: Machine, tmp_path: Path) -> None:
    policy = tmp_path / "p.cedar"
    create = ("key", "create", "no", "--suite", "ed25519", "--policy", policy, "--quorum")
    for limits, quorum, why in (
        ("total 1 surviving 1", "3 of (agent-1, agent-2, agent-3, agent-4, agent-5)", "once only, 2 operations"),
        ("total 9 surviving 2", "2 of (agent-1, agent-2, agent-3)", "2 corrupt agents could suffice"),
        ("total 9", "2 of (agent-1, agent-2, agent-3)", "how many corrupt agents it survives"),
    ):
        policy.write_text(f'@limits("{limits}") {ALL}')
        refused = caller.fail(2, "policy", *create, quorum).error
        assert why in refused["message"]
    policy.write_text(f'@limits("total 9 surviving 1") {ALL}')
    shared = caller.fail(2, "policy", *create, "2 of (agent-1, b, agent-3)", "--seat", "b=agent-1").error
    assert "agent-1 sits at 2 seats" in shared["message"]
    with pytest.raises(EvanesceError, match="could suffice"):
        Policy(policy.read_text()).limits("1 of (a, b)")


def test_a_policy_speaks_of_uses(caller: Machine, tmp_path: Path) -> None:
    policy, cases = tmp_path / "p.cedar", tmp_path / "cases.toml"
    policy.write_text("permit(principal, action, resource) when { context.uses.key < 3 };")
    case = '[[case]]\ncaller = "ops"\nkey = "k"\naction = "sign"\nuses = { key = %d }\nexpect = "%s"\n'
    cases.write_text(case % (2, "allow") + case % (3, "deny"))
    caller.run("policy", "test", policy, cases)
    explained = caller.run(
        "policy", "explain", policy, "--action", "sign", "--caller", "x", "--key", "k", "--uses", "3", "0"
    )
    assert "Refused" in explained.err
    quorum = "3 of (agent-1, agent-2, agent-3)"
    words = ("--suite", "ed25519", "--quorum", quorum, "--policy", policy, "--json")
    path = Path(caller.run("key", "create", "counted", *words).json["file"])
    assert use_up(caller, path)[0] == 3
