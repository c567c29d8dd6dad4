"""Agents for measuring: five processes on loopback, with roots that the bench knows."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evanesce import _core

START_SECONDS = 30
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
QUORUM = "3 of (agent-1, agent-2, agent-3, agent-4, agent-5)"


@dataclass
class Agent:
    """One agent process."""

    name: str
    folder: Path
    id: str = ""
    address: str = ""
    root: bytes = b""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_bytes(self) -> int:
        """Resident memory now."""
        assert self.process is not None
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE


class Fleet:
    """`count` agents that know one caller; a context manager. Its `home` is the caller's."""

    def __init__(
        self,
        folder: Path,
        *,
        count: int = 5,
        commit: str = "process",
        element: str | None = None,
        groups: Sequence[str] = (),
        more: str = "",
    ) -> None:
        """`element`: the `[element]` table's lines instead of software roots; `{name}` in it is the agent's name.
        `groups`: the caller's, as every agent has it. `more`: further lines of every agent's configuration."""
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        _, _, caller = _core.create_identity(str(self.home / "identity.key"))
        self.agents = [Agent(f"agent-{i + 1}", folder / f"agent-{i + 1}") for i in range(count)]
        for agent in self.agents:
            self._furnish(agent, caller.hex(), commit, element, list(groups), more)

    def _furnish(
        self, agent: Agent, caller: str, commit: str, element: str | None, groups: list[str], more: str
    ) -> None:
        agent.folder.mkdir()
        table = element.format(name=agent.name) if element else 'kind = "software"\nroots = "roots"'
        (agent.folder / "agent.toml").write_text(
            f'name = "{agent.name}"\nlisten = "127.0.0.1:0"\nidentity = "identity.key"\ncommit = "{commit}"\n\n'
            f"[element]\n{table}\n{more}"
        )
        (agent.folder / "known.toml").write_text(
            f'[[identity]]\nname = "bench"\nid = "{caller}"\n'
            f'roles = ["caller", "minter", "reconstructor"]\ngroups = {json.dumps(groups)}\n'
        )
        if element is None:
            agent.root = secrets.token_bytes(32)
            roots = agent.folder / "roots"
            roots.touch(mode=0o600)
            roots.write_text(f"evanesce software roots v1\n0 {agent.root.hex()}\n")
            _, agent_id, _ = _core.create_identity(str(agent.folder / "identity.key"))
            agent.id = agent_id.hex()
        else:
            agent.id = str(_core.element_create(str(agent.folder))["agent_id"])

    def __enter__(self) -> Fleet:
        for agent in self.agents:
            with (agent.folder / "output").open("ab") as output:
                agent.process = subprocess.Popen(
                    [sys.executable, "-m", "evanesce", "agent", "run", str(agent.folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
        deadline = time.monotonic() + START_SECONDS
        for agent in self.agents:
            agent.address = self._listening(agent, deadline)
        self._write_quorum(self.home, {agent.name: agent.address for agent in self.agents})
        return self

    def _listening(self, agent: Agent, deadline: float) -> str:
        assert agent.process is not None
        while time.monotonic() < deadline:
            if agent.process.poll() is not None:
                raise RuntimeError(f"{agent.name} ended: {(agent.folder / 'output').read_text()[-2000:]}")
            written = agent.folder / "agent.addr"
            if written.exists() and (address := written.read_text().strip()):
                return address
            time.sleep(0.02)
        raise RuntimeError(f"{agent.name} was not ready within {START_SECONDS} s")

    def home_elsewhere(self, folder: Path, addresses: Mapping[str, str]) -> Path:
        """Another home of the caller's, to which its agents are at these addresses (through a proxy, say)."""
        folder.mkdir()
        shutil.copy2(self.home / "identity.key", folder)
        self._write_quorum(folder, addresses)
        return folder

    def _write_quorum(self, home: Path, addresses: Mapping[str, str]) -> None:
        stanzas = [
            f'[[agent]]\nname = "{a.name}"\nid = "{a.id}"\naddress = "{addresses[a.name]}"\n'
            'site = "here"\nvendor = "bench"\n'
            for a in self.agents
        ]
        (home / "quorum.toml").write_text("\n".join(stanzas))

    def cpu_seconds(self) -> float:
        """Of all agents."""
        return sum(agent.cpu_seconds() for agent in self.agents)

    def __exit__(self, *_: object) -> None:
        running = [agent.process for agent in self.agents if agent.process is not None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
