"""A quorum to measure: five agents at three sites, each with an operator of its own, and two to spare.

They are real, and run on threads of this process, with software elements, TLS on loopback and logs on this disk.
Sites and operators are labels, as a quorum file has them: what is computed from them is as real as they would be.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from evanesce import Client, Token, _core, _files
from evanesce._agentdir import AgentFolder, known_identity
from evanesce.home import Agent, Home
from evanesce.testbed import EmbeddedQuorum

SEATED = tuple(f"agent-{number}" for number in range(1, 6))
SPARE = ("agent-6", "agent-7")
QUORUM = f"3 of ({', '.join(SEATED)})"
SITES = {
    "agent-1": "north",
    "agent-2": "north",
    "agent-3": "south",
    "agent-4": "south",
    "agent-5": "east",
    "agent-6": "west",
    "agent-7": "west",
}
OPERATORS = {name: f"operator-{name[-1]}" for name in SITES}


class Household:
    """The agents, and whom they know: `caller` (who may use keys and reconstructs them), `minter` (who may make and end
    them), and `spare`, the caller's other identity for a bare machine. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.quorum = EmbeddedQuorum(_files.folder(folder / "agents"), (*SEATED, *SPARE))
        self.caller = self._admit("caller", ("caller", "reconstructor"))
        self.spare = self._admit("spare", ("caller", "reconstructor"))
        self.minter = self._admit("minter", ("caller", "minter", "reconstructor"))

    def _admit(self, name: str, roles: Sequence[str]) -> Path:
        home = Home.at(_files.folder(self.folder / name))
        _, _, identifier = _core.create_identity(str(home.identity))
        for at in self.quorum.folders.values():
            at.allow(known_identity(name, identifier.hex(), roles, ()))
        return home.root

    def __enter__(self) -> Household:
        self.quorum.start()
        text = "\n".join(agent.stanza() for agent in self.agents)
        for home in (self.caller, self.spare, self.minter):
            _files.write(Home.at(home).quorum, text.encode())
        return self

    def __exit__(self, *_: object) -> None:
        self.quorum.stop()

    @property
    def agents(self) -> tuple[Agent, ...]:
        """With their sites and operators."""
        return tuple(
            replace(agent, site=SITES[agent.name], administrator=OPERATORS[agent.name]) for agent in self.quorum.agents
        )

    def client(self, home: Path, agents: Sequence[Agent] | None = None) -> Client:
        return Client(home, agents=self.agents if agents is None else agents, deadline=10.0)

    def mint(self, name: str, suites: Iterable[str]) -> Token:
        """A key of the five, and its token in the caller's and the spare home."""
        with self.client(self.minter) as client:
            token = client.create(name, suites, quorum=QUORUM)
        self.deliver(name, token)
        return token

    def deliver(self, name: str, token: Token) -> None:
        """To those who use it."""
        for home in (self.caller, self.spare):
            at = Home.at(home)
            _files.folder(at.tokens)
            token.save(at.token(name), force=True)

    def files(self, name: str) -> Path:
        """An agent's folder."""
        return self.quorum.folders[name].root

    def steal(
        self, names: Iterable[str], to: Path, thief: bytes, elements: bool = True
    ) -> dict[str, _core.EmbeddedAgent]:
        """What whoever has these agents' machines does with them: agents of the thief's own, from copies of their
        elements, identities and shares, that know nobody but the thief. `thief`: its caller id; `elements`: whether he
        has those too. Stop them afterwards."""
        running = {}
        for name in names:
            folder = AgentFolder(_files.folder(_files.folder(to) / name))
            shutil.copy2(self.files(name) / "agent.toml", folder.config)
            if elements:
                shutil.copy2(self.files(name) / "roots", folder.root / "roots")
            else:
                # Roots of its own.
                _core.element_create(str(folder.root))
            shutil.copy2(self.files(name) / "identity.key", folder.root / "identity.key")
            if self.shares(name):
                shutil.copytree(self.files(name) / "shares", folder.root / "shares")
            config = folder.config.read_text().splitlines()
            lines = ['listen = "127.0.0.1:0"' if line.startswith("listen") else line for line in config]
            _files.write(folder.config, ("\n".join(lines) + "\n").encode(), mode=0o600, overwrite=True)
            folder.allow(known_identity("thief", thief.hex(), ("caller", "minter", "reconstructor"), ()))
            running[name] = _core.EmbeddedAgent(str(folder.root))
        return running

    def shares(self, name: str) -> list[Path]:
        """The files of shares that an agent keeps."""
        return sorted((self.files(name) / "shares").glob("*"))

    def log_bytes(self, name: str) -> int:
        """How long an agent's log is by now."""
        return (self.files(name) / "log" / "entries").stat().st_size
