"""Real machines for the stories: agents as processes of their own, callers as command lines of their own.

Every process here is started here and ended by its own process id. Folders are the test's.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

EVANESCE = (sys.executable, "-m", "evanesce")
PATIENCE = 30.0
"""Seconds for anything to happen on a busy machine."""


@dataclass(frozen=True)
class Done:
    """What one command line did."""

    arguments: tuple[str, ...]
    status: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        """Its one JSON document."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error in its JSON document."""
        found: dict[str, Any] = self.json["error"]
        return found


class Machine:
    """A caller's machine: a home folder, and the command line run there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(mode=0o700, parents=True, exist_ok=True)

    def try_(self, *arguments: str | Path, stdin: bytes = b"", **environment: str) -> Done:
        """Runs it, whatever comes of it. Never a traceback."""
        words = tuple(map(str, arguments))
        done = subprocess.run(
            [*EVANESCE, *words],
            input=stdin,
            capture_output=True,
            cwd=self.home,
            env=os.environ | {"EVANESCE_HOME": str(self.home)} | environment,
            timeout=120,
            check=False,
        )
        err = done.stderr.decode()
        assert "Traceback" not in err, err
        return Done(words, done.returncode, done.stdout, err)

    def run(self, *arguments: str | Path, stdin: bytes = b"", **environment: str) -> Done:
        """Runs it; it must succeed."""
        done = self.try_(*arguments, stdin=stdin, **environment)
        assert done.status == 0, f"{done.arguments}: {done.status}\n{done.err}\n{done.out!r}"
        return done

    def fail(self, status: int, code: str, *arguments: str | Path, stdin: bytes = b"", **environment: str) -> Done:
        """Runs it with --json; it must fail with this status and code."""
        done = self.try_(*arguments, "--json", stdin=stdin, **environment)
        assert done.status == status, f"{done.arguments}: {done.status}\n{done.err}\n{done.out!r}"
        assert done.error["code"] == code, done.error
        assert done.error["message"]
        return done

    @property
    def caller_id(self) -> str:
        found: str = self.run("identity", "show", "--json").json["caller_id"]
        return found


class Served:
    """A machine that serves others: a folder, and the process that runs there, if it does."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends it; returns its exit status."""
        assert self.process is not None
        self.process.send_signal(how)
        status = self.process.wait(PATIENCE)
        self.process = None
        return status

    def output(self) -> str:
        """All it ever wrote to stdout and stderr."""
        return (self.folder / "output").read_text(errors="replace")


class AgentMachine(Served):
    """An agent's machine."""

    def __init__(self, folder: Path, name: str, *options: str, listen: str = "127.0.0.1:0") -> None:
        self.folder = folder
        self.name = name
        self.listen = listen
        self.address = ""
        admin = Machine(folder.parent / f"{name}-admin")
        made = admin.run("agent", "init", folder, "--name", name, "--listen", listen, "--json", *options).json
        self.id: str = made["id"]
        self.admin = admin

    def allow(self, name: str, caller_id: str, *roles: str) -> None:
        """Lets it know a caller, by default in all roles."""
        words = [word for role in roles or ("caller", "minter", "reconstructor") for word in ("--role", role)]
        self.admin.run("agent", "allow", self.folder, "--name", name, "--id", caller_id, *words)

    def launch(self, **environment: str) -> None:
        """Starts it; `wait` until it listens."""
        if self.address:
            # It comes back where it was.
            config = self.folder / "agent.toml"
            config.write_text(config.read_text().replace(f'"{self.listen}"', f'"{self.address}"'))
            self.listen = self.address
        (self.folder / "agent.addr").unlink(missing_ok=True)
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [*EVANESCE, "agent", "run", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | environment,
            )

    def wait(self) -> None:
        """Until it listens."""
        deadline = time.monotonic() + PATIENCE
        written = self.folder / "agent.addr"
        while not (written.exists() and written.read_text().endswith("\n")):
            assert self.process is not None
            assert self.process.poll() is None, f"{self.name} ended: {self.output()}"
            assert time.monotonic() < deadline, f"{self.name} does not listen: {self.output()}"
            time.sleep(0.01)
        self.address = written.read_text().strip()

    def start(self) -> None:
        self.launch()
        self.wait()


class Quorum:
    """Some agents and one caller that they know. A context manager that ends what still runs."""

    def __init__(
        self, folder: Path, count: int = 5, names: Iterable[str] | None = None, options: tuple[str, ...] = ()
    ) -> None:
        self.folder = folder
        self.caller = Machine(folder / "caller")
        self.caller.run("identity", "init")
        given = list(names or [f"agent-{number + 1}" for number in range(count)])
        with ThreadPoolExecutor() as pool:
            made = pool.map(lambda name: AgentMachine(folder / name, name, *options), given)
            self.agents = dict(zip(given, made, strict=True))
        self.admit("caller", self.caller)

    def __enter__(self) -> Self:
        self.start()
        self.tell(self.caller)
        return self

    def __exit__(self, *_: object) -> None:
        for agent in self.agents.values():
            if agent.running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(agent.pid, signal.SIGCONT)
                agent.end(signal.SIGKILL)

    def admit(self, name: str, machine: Machine, *roles: str) -> None:
        """Lets every agent know a machine's identity."""
        caller_id = machine.caller_id
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda agent: agent.allow(name, caller_id, *roles), self.agents.values()))

    def start(self, *names: str) -> None:
        """Starts these, or all that do not run."""
        wanted = [self.agents[name] for name in names] if names else [a for a in self.agents.values() if not a.running]
        for agent in wanted:
            agent.launch()
        for agent in wanted:
            agent.wait()

    def end(self, *names: str, how: signal.Signals = signal.SIGTERM) -> None:
        for name in names:
            self.agents[name].end(how)

    @contextlib.contextmanager
    def without(self, *names: str, how: signal.Signals = signal.SIGTERM) -> Iterator[None]:
        """These are ended, and come back afterwards."""
        self.end(*names, how=how)
        try:
            yield
        finally:
            self.start(*names)

    def tell(self, machine: Machine) -> None:
        """Gives a machine the quorum file."""
        stanzas = [
            f'[[agent]]\nname = "{a.name}"\nid = "{a.id}"\naddress = "{a.address}"\nsite = "{a.name}"\n'
            for a in self.agents.values()
        ]
        (machine.home / "quorum.toml").write_text("\n".join(stanzas))

    def newcomer(self, name: str) -> Machine:
        """A machine with an identity of its own that the agents do not know yet, and the quorum file."""
        machine = Machine(self.folder / name)
        machine.run("identity", "init")
        self.tell(machine)
        return machine
