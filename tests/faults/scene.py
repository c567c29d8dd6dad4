"""Five real agents, callers of several kinds on machines of their own, and a network that can break between them."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from bench.proxy import Proxy
from machines import PATIENCE, AgentMachine, Machine, Quorum

from evanesce import Client

THRESHOLD, AGENTS = 3, 5
CALLERS = ("alice", "bob", "carol", "dave")
DISK = 256 << 20
"""Bytes of a disk of its own under an agent's log, where this process may make one."""


class Disk:
    """What an agent's log lies on: a small file system, where that can be mounted, which can be full."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        self.mounted = os.geteuid() == 0 and self._mount(f"size={DISK},mode=0700")

    def _mount(self, options: str) -> bool:
        return _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder))

    def set_full(self, full: bool) -> None:
        """As large as what is on it, or as large as it was."""
        for _ in range(100):
            held = os.statvfs(self.folder)
            used = (held.f_blocks - held.f_bfree) * held.f_frsize
            if _run("mount", "-o", f"remount,size={used if full else DISK}", str(self.folder)):
                return
            # Meanwhile more was written than fits.
        raise RuntimeError(f"{self.folder} cannot be made {'full' if full else 'large'}")

    def close(self) -> None:
        if self.mounted:
            _run("umount", "-l", str(self.folder))


def _run(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False, timeout=30).returncode == 0


class Scene:
    """A context manager. Every caller has ways of its own to every agent, so that its own can be cut."""

    def __init__(self, folder: Path) -> None:
        self._stack = ExitStack()
        self.quorum = Quorum(folder, AGENTS)
        self.disks: dict[str, Disk] = {}
        self.machines: dict[str, Machine] = {}
        self.proxies: dict[str, Proxy] = {}
        self.token = folder / "faults.regen"
        self.healed = folder / "healed.regen"
        """Another key, which is healed all the while."""
        self.rooted = threading.Lock()
        """Held while a key is healed, and while an element is not its agent's: a seat made there would go with it."""
        self._copies = folder / "copies"

    def __enter__(self) -> Self:
        try:
            for name, agent in self.agents.items():
                self.disks[name] = disk = Disk(agent.folder / "log")
                self._stack.callback(disk.close)
            self._stack.enter_context(self.quorum)
            for agent in self.agents.values():
                self.quorum.caller.run("agent", "peers", agent.folder)
                path = agent.folder / "peers.toml"
                path.write_text("every_ms = 100\n" + path.read_text())
            self.quorum.end(*self.agents)
            self.quorum.start()
            self.answer(*self.agents)
            for caller in CALLERS:
                self.machines[caller] = machine = self.quorum.newcomer(caller)
                self.quorum.admit(caller, machine)
                targets = {name: agent.address for name, agent in self.agents.items()}
                self.proxies[caller] = proxy = self._stack.enter_context(Proxy(targets))
                written = machine.home / "quorum.toml"
                text = written.read_text()
                for name, address in targets.items():
                    text = text.replace(f'"{address}"', f'"{proxy.addresses[name]}"')
                written.write_text(text)
            suites = ("--suite", "ed25519", "--suite", "hmac-sha256")
            self.quorum.caller.run("key", "create", "faults", *suites, "--out", self.token)
            self.quorum.caller.run("key", "create", "healed", "--suite", "ed25519", "--out", self.healed)
            self.quorum.end(*self.agents)
            for name in self.agents:
                self.copy(name, "old")
            self.quorum.start()
            self.answer(*self.agents)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def answer(self, *names: str) -> None:
        """Until these have heard from enough of their peers: before that an agent that has started answers nothing."""
        deadline = time.monotonic() + PATIENCE
        waited = set(names)
        with Client(self.quorum.caller.home, deadline=1) as client:
            while waited:
                reports = {status.name: status.report for status in client.status()}
                waited = {name for name in waited if (report := reports[name]) is None or report["standing"]}
                assert time.monotonic() < deadline, f"{', '.join(sorted(waited))} do not answer: {reports}"
                time.sleep(0.05)

    def standing(self, name: str) -> str | None:
        """Why that agent answers nothing, by its own word; None where it cannot be asked. Fails if it answers."""
        with Client(self.quorum.caller.home, deadline=1) as client:
            report = next(status.report for status in client.status() if status.name == name)
        assert report is None or report["standing"], f"{name} answers"
        return None if report is None else str(report["standing"])

    def copy(self, name: str, what: str) -> None:
        """What is on the disk of an agent that does not run."""
        into = self._copies / what / name
        shutil.rmtree(into, ignore_errors=True)
        shutil.copytree(self.agents[name].folder, into)

    def put_back(self, name: str, what: str) -> None:
        """What was copied takes the place of what is there. Of an agent that does not run."""
        folder = self.agents[name].folder
        # Its log may be a file system of its own: what is in it goes, it stays.
        for path in [*folder.iterdir(), *(folder / "log").iterdir()]:
            if path.is_dir():
                if path != folder / "log":
                    shutil.rmtree(path)
            elif path.name not in ("output", "agent.toml"):
                path.unlink()
        skipped = shutil.ignore_patterns("output", "agent.toml")
        shutil.copytree(self._copies / what / name, folder, ignore=skipped, dirs_exist_ok=True)

    @property
    def agents(self) -> dict[str, AgentMachine]:
        return self.quorum.agents
