"""A whole quorum on one machine, inside this process: for the quickstart, for trying things out, for tests.

The agents are real: their own folders, identities, roots, logs, TLS on loopback. The arrangement is not:
one process holds every root, and the elements are software. Nothing here may guard a real key.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from evanesce import _core, _files, _toml
from evanesce._agentdir import ROLES, AgentFolder, known_identity
from evanesce.errors import translate
from evanesce.home import Agent, Home


class EmbeddedQuorum:
    """Agents on threads of this process, in folders of their own. A context manager that stops them."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """Makes each agent's folder, identity and root under `folder`; starts none."""
        self.folders = {name: AgentFolder(_files.folder(folder / name)) for name in names}
        self._running: dict[str, _core.EmbeddedAgent] = {}
        self._agents: dict[str, Agent] = {}
        self._homes: list[Home] = []
        for name, at in self.folders.items():
            self._configure(name, "127.0.0.1:0")
            try:
                made = _core.element_create(str(at.root))
            except _core.CoreError as e:
                raise translate(e) from None
            self._agents[name] = Agent(name, made["agent_id"], "127.0.0.1:0", site="this machine", vendor="software")

    def admit(self, name: str, home: str | os.PathLike[str]) -> Path:
        """Makes a caller: a home folder with an identity, which every agent knows in all roles, and a
        quorum file, written when the agents start. Call it before `start`."""
        at = Home.at(home)
        _files.folder(at.root)
        try:
            _, _, caller_id = _core.create_identity(str(at.identity))
        except _core.CoreError as e:
            raise translate(e) from None
        for folder in self.folders.values():
            folder.allow(known_identity(name, caller_id.hex(), ROLES, ()))
        self._homes.append(at)
        return at.root

    def start(self, names: Iterable[str] | None = None) -> None:
        """Starts these agents, or all. Each keeps the address it first got."""
        for name in names if names is not None else self.folders:
            if name in self._running:
                continue
            try:
                running = _core.EmbeddedAgent(str(self.folders[name].root))
            except _core.CoreError as e:
                raise translate(e) from None
            self._running[name] = running
            entry = self._agents[name]
            self._agents[name] = replace(entry, address=running.address)
            self._configure(name, running.address)
        text = "\n".join(agent.stanza() for agent in self.agents)
        for home in self._homes:
            if home.root.exists():
                _files.write(home.quorum, text.encode(), overwrite=True)

    def stop(self, names: Iterable[str] | None = None) -> None:
        """Stops these agents, or all; their folders stay."""
        for name in list(names if names is not None else self._running):
            running = self._running.pop(name, None)
            if running is not None:
                running.stop()

    @property
    def running(self) -> tuple[str, ...]:
        """The names of those that run."""
        return tuple(name for name in self.folders if name in self._running)

    @property
    def agents(self) -> tuple[Agent, ...]:
        """As a quorum file names them."""
        return tuple(self._agents.values())

    def _configure(self, name: str, listen: str) -> None:
        top: dict[str, _toml.Value] = {"name": name, "listen": listen, "identity": "identity.key", "quiet": True}
        self.folders[name].write_config(top, {"kind": "software", "roots": "roots"}, overwrite=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
