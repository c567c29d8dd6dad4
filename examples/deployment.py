"""The machines of the worked deployments. Each is a folder, which is all of its disk, and processes of its own.

Every command is shown as it would be typed on that machine. What differs from the real thing: the machines share one
loopback interface, and their HSMs are SoftHSM tokens, a store of its own on each machine.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evanesce.cli import main as evanesce
from evanesce.errors import EvanesceError
from evanesce.home import Agent, Reconstructor

PATIENCE = 30.0
"""Seconds for anything to happen on a busy machine."""

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
PROCESSES = multiprocessing.get_context("forkserver")
"""Command lines are processes of their own, of an interpreter that has imported the package already."""
PROCESSES.set_forkserver_preload(["evanesce.cli"])

SO_PIN, PIN = "so-only-for-this-run", "only-for-this-run"


def _command_line(words: list[str], folder: Path, environment: dict[str, str], said: str) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    with Path(said).open("wb") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
    evanesce(words)


class Machine:
    """One machine."""

    def __init__(self, disk: Path) -> None:
        disk.mkdir(mode=0o700)
        self.name = disk.name
        self.disk = disk
        self._running: list[subprocess.Popen[bytes]] = []
        self.environment: dict[str, str] = {}
        """Of whatever uses its HSM."""

    def run(self, home: str, *words: str | Path) -> dict[str, Any]:
        """One command line of whoever has this home folder here; what it says, as JSON. It must succeed."""
        status, said = self._evanesce(home, words)
        if status:
            raise SystemExit(f"{self.name}: {shlex.join(map(str, words))}: {said}")
        found: dict[str, Any] = json.loads(said)
        return found

    def refused(self, home: str, *words: str | Path) -> str:
        """One command line that must fail; its error code."""
        status, said = self._evanesce(home, words)
        if not status:
            raise SystemExit(f"{self.name}: {shlex.join(map(str, words))}: was not refused")
        error = json.loads(said)["error"]
        show(error["message"])
        return str(error["code"])

    def _evanesce(self, home: str, words: tuple[str | Path, ...]) -> tuple[int, str]:
        """A process of its own; its exit status and what it said on stdout."""
        print(f"  {home}@{self.name}$ evanesce {shlex.join(map(str, words))}")
        environment = self.environment | {"EVANESCE_HOME": str(self.disk / home)}
        with tempfile.NamedTemporaryFile() as said:
            given = ([*map(str, words), "--json"], self.disk, environment, said.name)
            process = PROCESSES.Process(target=_command_line, args=given)
            process.start()
            process.join(120)
            if process.exitcode is None:
                process.kill()
                raise SystemExit(f"{self.name}: {shlex.join(map(str, words))}: did not end")
            return process.exitcode, Path(said.name).read_text()

    def identity(self, home: str) -> str:
        """A new identity in a home folder; its caller id."""
        self.run(home, "identity", "init")
        return str(self.run(home, "identity", "show")["caller_id"])

    def hsm(self, *labels: str) -> str:
        """Puts HSM tokens into this machine, and their PIN into the file `pin`. Returns their module."""
        module = next((path for path in MODULES if Path(path).exists()), None)
        if module is None or shutil.which("softhsm2-util") is None:
            raise SystemExit("There is no SoftHSM here. On Debian: apt-get install softhsm2")
        (self.disk / "hsm").mkdir()
        configuration = self.disk / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {self.disk / 'hsm'}\nlog.level = ERROR\n")
        self.environment["SOFTHSM2_CONF"] = str(configuration)
        self.write("pin", PIN + "\n", 0o600)
        for label in labels:
            words = ("--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN)
            environment = os.environ | self.environment
            subprocess.run(["softhsm2-util", *words], env=environment, check=True, capture_output=True, timeout=60)
        return module

    def agent(self, **labels: str) -> Agent:
        """Sets up a recovery agent with a root in an HSM token, and starts it."""
        module = self.hsm("agent")
        element = ("--element", "pkcs11", "--module", module, "--token", "agent", "--pin-file", "pin")
        known = [word for label, value in labels.items() for word in (f"--{label}", value)]
        # On port 0 the system chooses: deployments that run at once do not meet.
        at = ("--listen", "127.0.0.1:0")
        made = self.run("operator", "agent", "init", "agent", "--name", self.name, *at, *known, *element)
        said = self.serve("agent", "run", "agent")
        return Agent(self.name, made["id"], said["address"], **labels)

    def reconstructor(self, agents: list[Agent], callers: dict[str, str]) -> tuple[str, str]:
        """Sets up a reconstructor that asks these agents for these callers (name → caller id), and starts it. Returns
        its caller id, which the agents have to know, and what callers have in their quorum files."""
        self.write("operator/quorum.toml", "\n".join(agent.stanza() for agent in agents))
        at = ("--name", "crucible", "--listen", "127.0.0.1:0")
        made = self.run("operator", "reconstructor", "init", "crucible", *at)
        for name, caller in callers.items():
            self.run("operator", "reconstructor", "allow", "crucible", "--name", name, "--id", caller)
        address = self.serve("reconstructor", "run", "crucible")["address"]
        return made["caller_id"], Reconstructor("crucible", made["service_id"], address).stanza()

    def allow(self, name: str, caller: str, roles: str, group: str = "") -> None:
        """The agent's operator lets a caller be known."""
        words = [word for role in roles.split() for word in ("--role", role)]
        words += ["--group", group] if group else []
        self.run("operator", "agent", "allow", "agent", "--name", name, "--id", caller, *words)

    def forget(self, name: str) -> None:
        """The agent's operator has a caller known no more."""
        self.run("operator", "agent", "allow", "agent", "--name", name, "--remove")

    def serve(self, *words: str) -> dict[str, Any]:
        """A process that goes on until the machine ends; what it says once it listens."""
        print(f"  {self.name}$ evanesce {shlex.join(words)} &")
        output = self.disk / f"{words[0]}.output"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "evanesce", *words],
                cwd=self.disk,
                env=os.environ | self.environment | {"EVANESCE_HOME": str(self.disk / "operator")},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self._running.append(process)
        deadline = time.monotonic() + PATIENCE
        while True:
            for line in output.read_bytes().splitlines(keepends=True):
                if b'"listening"' in line and line.endswith(b"\n"):
                    found: dict[str, Any] = json.loads(line)
                    return found
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.name}: {words} does not listen: {output.read_text(errors='replace')}")
            time.sleep(0.02)

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """A file on its disk."""
        path = self.disk / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode)
        path.write_text(text)
        return path

    def stop(self) -> None:
        """Ends its processes; the disk stays."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def lose(self) -> None:
        """Nothing of it is left."""
        for process in self._running:
            process.kill()
        self.stop()
        shutil.rmtree(self.disk)


class Deployment:
    """The machines of one run, in a folder that goes with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machines: dict[str, Machine] = {}

    def machine(self, name: str) -> Machine:
        """A new one, bare."""
        made = self.machines[name] = Machine(self.folder / name)
        return made

    def holding(self, secret: bytes | bytearray) -> list[Path]:
        """The files, on any of the disks, that hold this, as bytes or in hexadecimal digits."""
        forms = (bytes(secret), secret.hex().encode())
        while True:
            everything = [path for path in self.folder.rglob("*") if path.is_file()]
            try:
                return [path for path in everything if any(form in path.read_bytes() for form in forms)]
            except FileNotFoundError:
                # An agent has replaced one by its next version meanwhile: look at all of them again.
                continue


@contextmanager
def deployment() -> Iterator[Deployment]:
    """Machines, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="evanesce-") as name:
        made = Deployment(Path(name))
        try:
            yield made
        finally:
            for machine in made.machines.values():
                machine.stop()


def step(text: str) -> None:
    """A heading."""
    print(f"\n{text}")


def show(text: str) -> None:
    """What was found."""
    print(f"  → {text}")


def refusal(ask: Callable[[], object]) -> str:
    """The code with which something is refused; empty where it is not."""
    try:
        ask()
    except EvanesceError as e:
        return e.code
    return ""


def require(true: bool, otherwise: str) -> None:
    """Holds, or the run ends here."""
    if not true:
        raise SystemExit(f"This should not be: {otherwise}")
