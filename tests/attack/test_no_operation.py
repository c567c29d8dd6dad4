"""With the keys of two agents, and all that ever passed over the network: no honest agent does anything."""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
from collections.abc import Iterator

import pytest
from attacked import CORRUPT, Attack
from machines import Machine

PATIENCE = 8.0
"""Seconds until an agent has closed on a peer that does not complete TLS (it gives one 5)."""


@pytest.fixture(scope="module", params=CORRUPT)
def intruder(attack: Attack, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Somebody with an agent's identity, whom both corrupt agents obey in everything."""
    taken = attack.quorum.agents[request.param]
    machine = Machine(attack.quorum.folder / f"intruder-{request.param}")
    shutil.copy(taken.folder / "identity.key", machine.home / "identity.key")
    (machine.home / "identity.key").chmod(0o600)
    attack.quorum.tell(machine)
    for name in CORRUPT:
        attack.quorum.agents[name].allow("intruder", machine.caller_id)
    for name, path in attack.files.items():
        shutil.copy(path, machine.home / f"{name}.regen")
    # Until its own agents know it.
    deadline = time.monotonic() + 10
    while sum(agent["reachable"] for agent in machine.try_("agent", "status", "--json").json["agents"]) < len(CORRUPT):
        assert time.monotonic() < deadline
    yield machine
    for name in CORRUPT:
        attack.quorum.agents[name].admin.run(
            "agent", "allow", attack.quorum.agents[name].folder, "--name", "intruder", "--remove"
        )


@pytest.mark.parametrize(
    "verb",
    [
        ("sign", "first.regen", "--suite", "ed25519", "-m", "all of it, to me"),
        ("sign", "before.regen", "--suite", "ed25519", "-m", "x"),
        ("sign", "refreshed.regen", "--suite", "ed25519", "-m", "x"),
        ("mac", "other.regen", "-m", "x"),
        ("check", "first.regen", "--open"),
        ("key", "refresh", "first.regen", "--out", "mine.regen"),
        ("key", "reshare", "first.regen", "--quorum", "2 of (agent-1, agent-2)", "--out", "mine.regen"),
        ("key", "create", "mine", "--suite", "ed25519"),
    ],
    ids=" ".join,
)
def test_an_agents_identity_opens_nothing(attack: Attack, intruder: Machine, verb: tuple[str, ...]) -> None:
    before = attack.entries()
    words = (*verb, "--trust-token") if verb[:2] != ("key", "create") and verb[0] != "check" else verb
    failed = intruder.try_(*words, "--json")
    assert failed.status != 0, failed.out
    named = {culprit["holder"]: culprit for culprit in failed.error["culprits"]}
    assert {agent.name for agent in attack.honest} <= set(named), failed.error
    for agent in attack.honest:
        assert named[agent.name]["kind"] == "refused", named
        assert named[agent.name]["detail"].startswith("unknown-identity"), named
    assert not (intruder.home / "mine.regen").exists()
    assert attack.entries() == before, "an agent that does not know who asks decides nothing"


def test_it_is_not_told_how_they_are(attack: Attack, intruder: Machine) -> None:
    told = {agent["name"]: agent for agent in intruder.try_("agent", "status", "--json").json["agents"]}
    assert {name for name, agent in told.items() if agent["reachable"]} == set(CORRUPT)
    assert all(told[agent.name]["problem"] for agent in attack.honest)


def test_it_kills_no_key(attack: Attack, intruder: Machine) -> None:
    """Two of five seats do not block; and what only a mint made for this is lost."""
    token = attack.quorum.folder / f"{intruder.home.name}.regen"
    attack.caller.run("key", "create", "to-be-killed", "--suite", "ed25519", "--out", token)
    retired = intruder.try_("key", "retire", token, "--yes", "--trust-token", "--json")
    assert retired.status != 0
    attack.caller.run("sign", token, "-m", "still here")


@pytest.mark.parametrize("name", ["agent-3", "agent-4", "agent-5"])
def test_recorded_traffic_sent_again_does_nothing(attack: Attack, name: str) -> None:
    """Every connection of the caller's, to its own agent and to the others, byte by byte."""
    agent, before = attack.quorum.agents[name], attack.entries()
    streams = [stream for stream in attack.loot.recorder.streams() if len(stream.sent) > 2000]
    assert {stream.agent for stream in streams} == set(attack.quorum.agents)
    for stream in streams:
        reply = _say(agent.address, stream.sent)
        # A handshake of its own, which the recorded finish does not fit; then an alert, or nothing.
        assert len(reply) < len(stream.answered) or len(reply) < 8192
        assert reply[:64] != stream.answered[:64]
    assert attack.entries() == before
    attack.caller.run("sign", attack.files["first"], "--suite", "ed25519", "-m", "x")


def _say(address: str, what: bytes) -> bytes:
    """All that comes back until the agent has closed."""
    host, port = address.rsplit(":", 1)
    reply = b""
    with socket.create_connection((host, int(port)), PATIENCE) as peer, contextlib.suppress(ConnectionError):
        peer.settimeout(PATIENCE)
        peer.sendall(what)
        while piece := peer.recv(1 << 16):
            reply += piece
    return reply


def test_what_passed_through_a_corrupt_agents_hands_is_for_it_alone(attack: Attack) -> None:
    """A caller sent to a corrupt agent in an honest one's place does not speak to it."""
    machine = attack.quorum.newcomer("misled")
    attack.quorum.admit("misled", machine)
    written = machine.home / "quorum.toml"
    text = written.read_text()
    for honest, corrupt in zip(attack.honest, [attack.quorum.agents[name] for name in CORRUPT], strict=False):
        text = text.replace(f'"{honest.address}"', f'"{corrupt.address}"')
    written.write_text(text)
    failed = machine.try_("check", attack.files["first"], "--json")
    verdicts = {seat["holder"]: seat["verdict"] for seat in failed.json["seats"]}
    assert verdicts["agent-3"] != "ok" and verdicts["agent-4"] != "ok"
    assert verdicts["agent-5"] == "ok"
