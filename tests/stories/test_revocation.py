"""What agents tell one another: revoked stays revoked, whoever was away, and whatever was restored."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import PATIENCE, Machine, Quorum


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quorum]:
    """Five agents that are each other's peers."""
    with Quorum(tmp_path_factory.mktemp("peers")) as running:
        for agent in running.agents.values():
            running.caller.run("agent", "peers", agent.folder)
            path = agent.folder / "peers.toml"
            path.write_text("every_ms = 100\n" + path.read_text())
        running.end(*running.agents)
        running.start()
        well(running)
        yield running


def mint(quorum: Quorum, name: str) -> Path:
    return Path(quorum.caller.run("key", "create", name, "--suite", "ed25519", "--json").json["file"])


def well(quorum: Quorum, *names: str) -> None:
    """Until these agents, or all, say that they answer."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = {
            agent["name"]: agent["status"] for agent in quorum.caller.try_("agent", "status", "--json").json["agents"]
        }
        reports = [found[name] for name in names or quorum.agents]
        if all(report is not None and not report["standing"] for report in reports):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def status(quorum: Quorum, name: str) -> dict[str, object]:
    agents = quorum.caller.try_("agent", "status", "--json").json["agents"]
    found: dict[str, object] = next(agent["status"] for agent in agents if agent["name"] == name)
    return found


def sign(machine: Machine, token: Path) -> None:
    machine.run("sign", token, "-m", "hello")


def test_a_revoked_token_is_dead_and_who_was_away_learns_it(peers: Quorum) -> None:
    caller, token = peers.caller, mint(peers, "one")
    sign(caller, token)
    with peers.without("agent-5"):
        done = caller.run("key", "revoke", token, "--yes", "--json").json
        assert done["settled"] is True
        verdicts = {seat["holder"]: seat["verdict"] for seat in done["seats"]}
        assert verdicts == {f"agent-{n}": "revoked" for n in range(1, 5)} | {"agent-5": "unreachable"}
        assert len(done["receipts"]) == 4
    well(peers, "agent-5")
    seats = caller.try_("check", token, "--json").json["seats"]
    assert {seat["verdict"] for seat in seats} == {"refused"}, seats
    assert all("retired" in seat["detail"] for seat in seats)
    caller.fail(2, "refused", "sign", token, "-m", "hello")


def test_too_few_is_not_dead_yet_and_the_rest_is_told_by_those_that_know(peers: Quorum) -> None:
    caller, token = peers.caller, mint(peers, "two")
    away = ("agent-3", "agent-4", "agent-5")
    peers.end(*away)
    words = caller.try_("key", "revoke", token, "--yes")
    assert words.status == 1
    assert "not dead yet: agent-3, agent-4, agent-5 did not obey" in words.err, words.err
    peers.start(*away)
    well(peers)
    # Those that were there told the others: nobody had to be asked again.
    done = caller.run("key", "revoke", token, "--yes", "--json").json
    assert done["settled"] is True
    caller.fail(2, "refused", "sign", token, "-m", "hello")


def test_a_frozen_token_is_refused_everywhere_until_it_is_thawed(peers: Quorum) -> None:
    caller, token = peers.caller, mint(peers, "three")
    caller.run("key", "freeze", token)
    refused = caller.fail(2, "refused", "sign", token, "-m", "hello").error
    assert all("frozen" in culprit["detail"] for culprit in refused["culprits"]), refused
    assert status(peers, "agent-1")["frozen"] == 1
    peers.end("agent-1")
    peers.start("agent-1")
    well(peers)
    caller.fail(2, "refused", "sign", token, "-m", "hello")
    caller.run("key", "thaw", token)
    sign(caller, token)
    assert status(peers, "agent-1")["frozen"] == 0


def test_an_agent_restored_from_an_old_copy_answers_nothing(peers: Quorum, tmp_path: Path) -> None:
    caller, token = peers.caller, mint(peers, "four")
    agent = peers.agents["agent-2"]
    peers.end("agent-2")
    shutil.copytree(agent.folder, tmp_path / "copy")
    peers.start("agent-2")
    well(peers)
    caller.run("key", "revoke", token, "--yes")
    # Until the others have seen it.
    time.sleep(1.5)
    peers.end("agent-2")
    shutil.move(agent.folder, tmp_path / "newest")
    shutil.copytree(tmp_path / "copy", agent.folder)
    peers.start("agent-2")
    deadline = time.monotonic() + PATIENCE
    while "restored from an old copy" not in str(status(peers, "agent-2")["standing"]):
        assert time.monotonic() < deadline, status(peers, "agent-2")
        time.sleep(0.05)
    found = caller.try_("doctor", "--json").json["findings"]
    assert any(f["what"] == "peers of agent-2" and f["verdict"] == "bad" for f in found), found
    assert "state-lost" in agent.output()
    peers.end("agent-2")
    shutil.rmtree(agent.folder)
    shutil.move(tmp_path / "newest", agent.folder)
    peers.start("agent-2")
    well(peers)


def test_an_agent_that_starts_alone_says_whom_it_misses(peers: Quorum) -> None:
    caller, token = peers.caller, mint(peers, "five")
    peers.end(*peers.agents)
    peers.start("agent-1", "agent-2", "agent-3")
    refused = caller.fail(1, "quorum-not-met", "sign", token, "-m", "hello").error
    details = [culprit["detail"] for culprit in refused["culprits"] if culprit["holder"] == "agent-1"]
    assert any("2 of 3 needed" in detail or "0 of 3" in detail or "1 of 3" in detail for detail in details), refused
    peers.start("agent-4", "agent-5")
    well(peers)
    sign(caller, token)


def test_a_revoked_grant_is_refused_by_those_that_were_away(peers: Quorum, tmp_path: Path) -> None:
    caller, bot = peers.caller, peers.newcomer("bot")
    peers.admit("bot", bot, "caller", "reconstructor")
    time.sleep(0.3)
    policy = tmp_path / "delegable.cedar"
    policy.write_text('@delegable("1") permit(principal == Caller::"caller", action, resource);')
    words = ("--suite", "ed25519", "--policy", policy, "--json")
    token = caller.run("key", "create", "delegated", *words).json["file"]
    grant = tmp_path / "bot.grant"
    caller.run("grant", "create", token, "--to", bot.caller_id, "--action", "sign", "--expires", "1h", "--out", grant)
    ask = ("sign", token, "-m", "hello", "--grant", grant, "--trust-token")
    bot.run(*ask)
    away = ("agent-3", "agent-4", "agent-5")
    with peers.without(*away):
        assert caller.try_("grant", "revoke", grant).status == 1
    well(peers)
    refused = bot.fail(2, "refused", *ask).error
    assert all("was revoked" in culprit["detail"] for culprit in refused["culprits"]), refused
    # What is under no grant goes on.
    caller.run("sign", token, "-m", "hello")
