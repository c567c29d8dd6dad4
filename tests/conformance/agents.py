"""Real agents for vectors: a folder each, a process each, started once and reused.

`Fleet` writes the folder of an agent with a given identity and given roots in an element of the fleet's kind,
starts `evanesce agent run` on it, and hands out the address on which it listens. Nothing outlives the fleet:
processes are ended by their own ids and the folders belong to the caller's temporary folder.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from elements import SOFTWARE, ElementFailed, Furnished, Kind
from files import private, quoted
from vectors import Agent

from evanesce import _core

MOST_PROCESSES = 24
"""Agents alive at once, unless one case needs more: the longest unused are ended first."""
NO_TOKENS_EPOCH = 2**53 - 1
"""An element without a root is none, so an agent without roots gets a random one here: it holds no epoch asked for."""
START_SECONDS = 30
STOP_SECONDS = 5
ENDING = (signal.SIGINT, signal.SIGTERM)

_PKCS8_ED25519 = bytes.fromhex("302e020100300506032b657004220420")
"""RFC 8410 §7: what stands before the 32-byte seed."""


class AgentFailed(Exception):
    """An agent did not come up; says which, and what it wrote last."""


@dataclass(slots=True)
class _Running:
    process: subprocess.Popen[bytes]
    folder: Path
    address: str | None = None


class Fleet:
    """Agents by identity and roots. Use as a context manager."""

    def __init__(self, folder: Path, callers: Mapping[str, bytes], kind: Kind = SOFTWARE) -> None:
        """`callers`: the name under which every agent lists each caller id, with every role."""
        self.kind = kind
        self.said: dict[bytes, tuple[str, ...]] = {}
        """Agent id → the weaknesses its status named when it was last asked."""
        self._folder = folder
        self._callers = dict(callers)
        self._made: dict[tuple[bytes, object], tuple[Path, Furnished]] = {}
        self._numbers = itertools.count()
        self._running: OrderedDict[tuple[bytes, object], _Running] = OrderedDict()
        # Bound and never listened on: connections to it are refused, and no one else can take it.
        self._nobody = socket.socket()
        self._nobody.bind(("127.0.0.1", 0))

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._running.values())
        self._running.clear()
        self._nobody.close()

    def folder(self, agent: Agent) -> Path:
        """Where an agent lives that was asked for before."""
        return self._made[(agent.identity, agent.roots)][0]

    def environment(self, agent: Agent) -> dict[str, str]:
        """What a process needs to find the element of an agent that was asked for before."""
        return dict(os.environ) | dict(self._made[(agent.identity, agent.roots)][1].environment)

    @property
    def nowhere(self) -> str:
        """An address at which nothing listens."""
        return f"127.0.0.1:{self._nobody.getsockname()[1]}"

    def addresses(self, agents: Iterable[Agent]) -> dict[Agent, str]:
        """Where these agents listen; those that are not running are started, all at the same time."""
        wanted = {(agent.identity, agent.roots): agent for agent in agents}
        self._make_room(wanted)
        for key, agent in wanted.items():
            running = self._running.get(key)
            if running is not None and running.process.poll() is not None:
                del self._running[key]
                running = None
            if running is None:
                self._start(key, agent)
            self._running.move_to_end(key)
        deadline = time.monotonic() + START_SECONDS
        return {agent: _wait(self._running[key], agent, deadline) for key, agent in wanted.items()}

    def _make_room(self, wanted: Mapping[tuple[bytes, object], Agent]) -> None:
        idle = [key for key in self._running if key not in wanted]
        needed = sum(key not in self._running for key in wanted)
        excess = idle[: max(len(self._running) + needed - MOST_PROCESSES, 0)]
        _end([self._running[key] for key in excess])
        for key in excess:
            del self._running[key]

    def _start(self, key: tuple[bytes, object], agent: Agent) -> None:
        if key not in self._made:
            new = self._folder / f"agent-{next(self._numbers)}"
            self._made[key] = (new, _furnish(new, agent, self._callers, self.kind))
        folder, furnished = self._made[key]
        (folder / "agent.addr").unlink(missing_ok=True)
        with (folder / "output").open("ab") as output, _uninterrupted():
            process = subprocess.Popen(
                [sys.executable, "-m", "evanesce", "agent", "run", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env=os.environ | furnished.environment,
            )
            self._running[key] = _Running(process, folder)


def write_identity(path: Path, seed: bytes) -> tuple[bytes, bytes]:
    """Writes an Ed25519 key as PKCS#8 PEM, mode 0600. Returns its agent id and its caller id."""
    der = base64.b64encode(_PKCS8_ED25519 + seed).decode()
    private(path, f"-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")
    _, agent_id, caller_id = _core.show_identity(str(path))
    return agent_id, caller_id


def _furnish(folder: Path, agent: Agent, callers: Mapping[str, bytes], kind: Kind) -> Furnished:
    folder.mkdir(mode=0o700)
    agent_id, _ = write_identity(folder / "identity.key", agent.identity)
    if agent_id != agent.id:
        raise AgentFailed(f"{agent.name}: its identity's id is {agent_id.hex()}, the vector says {agent.id.hex()}")
    try:
        furnished = kind.furnish(folder, agent.roots or ((NO_TOKENS_EPOCH, os.urandom(32)),))
    except ElementFailed as why:
        raise AgentFailed(f"{agent.name}: {why}") from why
    (folder / "known.toml").write_text(
        "".join(
            f'[[identity]]\nname = {quoted(name)}\nid = "{caller.hex()}"\n'
            'roles = ["caller", "minter", "reconstructor"]\ngroups = []\n'
            for name, caller in callers.items()
        )
    )
    (folder / "agent.toml").write_text(
        f'name = "{folder.name}"\nlisten = "127.0.0.1:0"\nidentity = "identity.key"\n\n{furnished.table}'
    )
    return furnished


def _wait(running: _Running, agent: Agent, deadline: float) -> str:
    if running.address is None:
        written = running.folder / "agent.addr"
        while not (address := _content(written)):
            if running.process.poll() is not None:
                raise AgentFailed(
                    f"{agent.name} ended at once with status {running.process.returncode}: {_tail(running)}"
                )
            if time.monotonic() > deadline:
                raise AgentFailed(f"{agent.name} was not ready within {START_SECONDS} s: {_tail(running)}")
            time.sleep(0.01)
        running.address = address
    return running.address


def _content(path: Path) -> str | None:
    """The line in `path`, once it is there and complete."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    return text.strip() if ":" in text and text.strip()[-1:].isdigit() else None


def _tail(running: _Running) -> str:
    return (running.folder / "output").read_text(errors="replace")[-600:].strip() or "it wrote nothing"


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """What asks this process to end waits: a process that was started and is not known yet would outlive it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Not by masking, which a new process would inherit.
    held: list[int] = []
    before = {number: signal.signal(number, lambda number, _: held.append(number)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in held:
            signal.raise_signal(number)


def _end(running: Iterable[_Running]) -> None:
    """SIGTERM to each, and SIGKILL to what is left after `STOP_SECONDS`."""
    processes = [one.process for one in running]
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
