"""A quorum of 3 in 5 of which two agents are another's; a caller whose traffic is recorded; a key's whole life."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.proxy import Proxy
from independent import Token
from loot import Loot, Recorder, Taken
from machines import PATIENCE, AgentMachine, Machine, Quorum

CORRUPT = ("agent-1", "agent-2")
SUITES = ("--suite", "ed25519", "--suite", "hmac-sha256")


@dataclass
class Attack:
    """Both sides."""

    quorum: Quorum
    loot: Loot
    files: dict[str, Path]
    """Every token's file."""

    @property
    def caller(self) -> Machine:
        return self.quorum.caller

    @property
    def honest(self) -> list[AgentMachine]:
        return [agent for name, agent in self.quorum.agents.items() if name not in CORRUPT]

    def entries(self) -> dict[str, bytes]:
        """What the honest agents have in their logs."""
        return {agent.name: (agent.folder / "log" / "entries").read_bytes() for agent in self.honest}


@contextmanager
def attacked(folder: Path) -> Iterator[Attack]:
    """All of it, while the agents run."""
    recorder = Recorder()
    with Quorum(folder / "quorum") as quorum:
        caller = quorum.caller
        _become_peers(quorum)
        with Proxy({name: agent.address for name, agent in quorum.agents.items()}, tap=recorder) as proxy:
            written = caller.home / "quorum.toml"
            text = written.read_text()
            for name, agent in quorum.agents.items():
                text = text.replace(f'"{agent.address}"', f'"{proxy.addresses[name]}"')
            written.write_text(text)
            files = _live(folder, quorum)
            tokens = {name: Token.decode(path.read_bytes()) for name, path in files.items()}
            taken = tuple(Taken(quorum.agents[name]) for name in CORRUPT)
            yield Attack(quorum, Loot(taken, tokens, recorder, sorted(folder.glob("*.json"))), files)


def _become_peers(quorum: Quorum) -> None:
    """Of one another, the corrupt ones too."""
    for agent in quorum.agents.values():
        quorum.caller.run("agent", "peers", agent.folder)
        peers = agent.folder / "peers.toml"
        peers.write_text("every_ms = 100\n" + peers.read_text())
    quorum.end(*quorum.agents)
    quorum.start()
    until_well(quorum)


def until_well(quorum: Quorum, *names: str) -> None:
    """Until these agents, or all, say that they answer."""
    deadline = time.monotonic() + PATIENCE
    while True:
        agents = quorum.caller.try_("agent", "status", "--json").json["agents"]
        status = {agent["name"]: agent["status"] for agent in agents}
        if all(status[name] is not None and not status[name]["standing"] for name in names or quorum.agents):
            return
        assert time.monotonic() < deadline, status
        time.sleep(0.05)


def _live(folder: Path, quorum: Quorum) -> dict[str, Path]:
    """A key is minted, used, re-rooted, refreshed; another is minted: each token is kept as it was."""
    caller, inventory = quorum.caller, folder / "inventory"
    inventory.mkdir()
    first = inventory / "first.regen"
    caller.run("key", "create", "payments", *SUITES, "--out", first)
    before = folder / "before-the-roll.regen"
    before.write_bytes(first.read_bytes())
    for number in range(3):
        receipts = folder / f"receipts-{number}.json"
        caller.run(
            "sign", first, "--suite", "ed25519", "-m", f"{number}", "--receipts", receipts, "--out", folder / "s"
        )
        caller.run("mac", first, "-m", f"{number}", "--out", folder / "m", "--force")
        (folder / "s").unlink()
    with quorum.without(CORRUPT[0]):
        caller.run("agent", "roll", quorum.agents[CORRUPT[0]].folder, "--tokens", inventory)
    refreshed, other = folder / "refreshed.regen", folder / "other.regen"
    caller.run("key", "refresh", first, "--out", refreshed)
    caller.run("key", "create", "other", *SUITES, "--out", other)
    for token in (first, refreshed, other):
        caller.run("sign", token, "--suite", "ed25519", "-m", "x", "--out", folder / "s", "--force")
    return {"before": before, "first": first, "refreshed": refreshed, "other": other}
