"""The folder of a reconstructor that works for others, as far as Python writes it: what it is, whom it asks, whom it
works for, and where the program is that runs it.

    reconstructor.toml     what it is
    identity.key           its key: to agents, and to callers
    quorum.toml            the agents it asks
    callers.toml           whom it works for: `[[caller]]` with name and id; read again on SIGHUP
    reconstructor.pid      locked while it runs
    reconstructor.addr     where it listens

The program is Rust alone (`evanesce-reconstructor`); nothing of Python is left in its process.
"""

from __future__ import annotations

import fcntl
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evanesce import _files, _toml
from evanesce._text import printable
from evanesce.errors import error

PROGRAM = "evanesce-reconstructor"


def program() -> Path:
    """The program: beside this package, or where $EVANESCE_RECONSTRUCTOR says (a build of one's own)."""
    chosen = os.environ.get("EVANESCE_RECONSTRUCTOR")
    path = Path(chosen) if chosen else Path(__file__).parent / "bin" / PROGRAM
    if not os.access(path, os.X_OK):
        raise error(
            "not-found",
            f"there is no program at {path}",
            "Install the package whole, or run `make build`; $EVANESCE_RECONSTRUCTOR may name another build.",
        )
    return path


@dataclass(frozen=True, slots=True)
class Caller:
    """One identity it works for."""

    name: str
    id: str
    """Caller id, 64 hex digits."""

    def stanza(self) -> str:
        """Its lines in callers.toml."""
        return "[[caller]]\n" + _toml.dumps({"name": self.name, "id": self.id})


@dataclass(frozen=True, slots=True)
class ServiceFolder:
    """Paths and files of one reconstructor's folder."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "reconstructor.toml"

    @property
    def identity(self) -> Path:
        return self.root / "identity.key"

    @property
    def quorum(self) -> Path:
        return self.root / "quorum.toml"

    @property
    def callers(self) -> Path:
        return self.root / "callers.toml"

    @property
    def pid(self) -> Path:
        return self.root / "reconstructor.pid"

    @property
    def address(self) -> Path:
        return self.root / "reconstructor.addr"

    def require(self) -> None:
        """Raises `not-found` where there is no reconstructor."""
        if not self.config.exists():
            raise error(
                "not-found",
                f"{self.root} is not a reconstructor's folder",
                f"Make one: `evanesce reconstructor init {self.root}`.",
            )

    def read(self) -> dict[str, Any]:
        """What reconstructor.toml says. Raises `config`."""
        found = _toml.load(self.config)
        if not isinstance(found.get("name"), str) or not isinstance(found.get("listen"), str):
            raise error("config", f"{self.config} needs name and listen", "Correct the file.")
        return found

    def read_callers(self) -> tuple[Caller, ...]:
        """Whom it works for. Raises `config` for a file that it would not accept."""
        entries = _toml.load(self.callers).get("caller", []) if self.callers.exists() else []
        if not isinstance(entries, list):
            raise error("config", f"{self.callers}: caller must be a list of tables", "Correct the file.")
        return tuple(_caller(self.callers, entry) for entry in entries)

    def write_callers(self, callers: tuple[Caller, ...]) -> None:
        text = "\n".join(caller.stanza() for caller in callers)
        _files.write(self.callers, text.encode(), mode=0o600, overwrite=True)

    def running(self) -> int | None:
        """The process id of the reconstructor that runs here, if one does: only its lock counts."""
        try:
            descriptor = os.open(self.pid, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            text = os.read(descriptor, 32).strip()
            return int(text) if text.isdigit() else None
        finally:
            os.close(descriptor)

    def reload(self) -> int | None:
        """Has a running one read callers.toml again; returns its process id."""
        pid = self.running()
        if pid is not None:
            os.kill(pid, signal.SIGHUP)
        return pid

    def become(self) -> None:
        """Replaces this process by the program that runs here: same process id, the lock kept, no interpreter. Returns
        never. Raises `running`, `not-found`."""
        path = program()
        with _files.reporting(f"write {self.pid}"):
            # Not closed by what comes: the lock must outlive Python.
            descriptor = os.open(self.pid, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise error(
                "running", f"a reconstructor runs in {self.root} already (process {pid})", "Stop it first."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        os.set_inheritable(descriptor, True)
        os.execv(path, [str(path), "run", str(self.root)])


def _caller(path: Path, entry: Any) -> Caller:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(field), str) for field in ("name", "id")):
        raise error("config", f"{path}: a caller needs name and id", f"Correct {printable(path.name)}.")
    return Caller(entry["name"], entry["id"].lower())
