"""The folder of one recovery agent, as far as Python writes it: its configuration, whom it knows, where it
runs.

    agent.toml      what it is (read by the core)
    known.toml      whom it knows: `[[identity]]` with name, id, roles, groups; read again on SIGHUP
    agent.pid       locked by the running agent
    agent.addr      where it listens, while it runs

Roots, identity and log are the core's business. Nothing here is secret; PINs and passphrases are only ever
*named*, as a file, a descriptor or the terminal.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evanesce import _files, _toml
from evanesce._text import printable
from evanesce.errors import error

ROLES = ("caller", "minter", "reconstructor", "approver")
NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")


@dataclass(frozen=True, slots=True)
class Known:
    """One identity an agent knows."""

    name: str
    id: str
    """Caller id, 64 hex digits."""
    roles: tuple[str, ...]
    groups: tuple[str, ...] = ()
    webauthn: str = ""
    """The relying party of an authenticator's key, which approves and does nothing else."""
    origins: tuple[str, ...] = ()
    """Pages of it that may ask for an approval; none: all of them."""

    def stanza(self) -> str:
        """Its lines in known.toml."""
        site = {"webauthn": self.webauthn, "origins": self.origins} if self.webauthn else {}
        return "[[identity]]\n" + _toml.dumps(
            {"name": self.name, "id": self.id, "roles": self.roles, "groups": self.groups, **site}
        )


@dataclass(frozen=True, slots=True)
class AgentFolder:
    """Paths and files of one agent's folder."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "agent.toml"

    @property
    def known(self) -> Path:
        return self.root / "known.toml"

    @property
    def pid(self) -> Path:
        return self.root / "agent.pid"

    @property
    def address(self) -> Path:
        return self.root / "agent.addr"

    def require(self) -> None:
        """Raises `not-found` where there is no agent."""
        if not self.config.exists():
            raise error(
                "not-found", f"{self.root} is not an agent's folder", f"Make one: `evanesce agent init {self.root}`."
            )

    def write_config(
        self, top: Mapping[str, _toml.Value], element: Mapping[str, _toml.Value], *, overwrite: bool = False
    ) -> None:
        """Writes agent.toml, and an empty known.toml where there is none."""
        text = _toml.dumps(top) + "\n[element]\n" + _toml.dumps(element)
        _files.write(self.config, text.encode(), mode=0o600, overwrite=overwrite)
        if not self.known.exists():
            _files.write(self.known, b"", mode=0o600)

    def read_known(self) -> tuple[Known, ...]:
        """Whom the agent knows. Raises `config` for a file that it would not accept."""
        return read_known(self.known) if self.known.exists() else ()

    def allow(self, new: Known) -> bool:
        """Lets the agent know an identity, or changes what it knows of it; returns whether anything
        changed. What is said of others, comments too, stays as it is unless this identity was there
        before."""
        before = self.read_known()
        if new in before:
            return False
        for other in before:
            if other.name == new.name and other.id != new.id:
                raise error(
                    "exists",
                    f"{self.known} knows another identity as {printable(new.name)}",
                    "Choose another name, or take that one out first (--remove).",
                )
        if any(other.id == new.id for other in before):
            self._replace_known([new if other.id == new.id else other for other in before])
        else:
            text = _files.read(self.known).decode() if self.known.exists() else ""
            gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
            _files.write(self.known, (text + gap + new.stanza()).encode(), mode=0o600, overwrite=True)
        return True

    def forbid(self, name: str) -> bool:
        """Makes the agent forget an identity by name; returns whether it was there."""
        before = self.read_known()
        after = [other for other in before if other.name != name]
        if len(after) == len(before):
            return False
        self._replace_known(after)
        return True

    def _replace_known(self, entries: Sequence[Known]) -> None:
        text = "\n".join(entry.stanza() for entry in entries)
        _files.write(self.known, text.encode(), mode=0o600, overwrite=True)

    def running(self) -> int | None:
        """The process id of the agent that runs here, if one does: only its lock counts, a stale file
        does not."""
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
        """Has a running agent read known.toml again; returns its process id."""
        pid = self.running()
        if pid is not None:
            os.kill(pid, signal.SIGHUP)
        return pid

    def claim(self) -> int:
        """Takes the lock that says an agent runs here; returns its descriptor, to be kept open. Raises
        `running`."""
        with _files.reporting(f"write {self.pid}"):
            descriptor = os.open(self.pid, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self.pid.exists() or not os.path.samestat(os.fstat(descriptor), self.pid.stat()):
                # The agent before us took the file away as it ended: that lock is on nothing.
                os.close(descriptor)
                return self.claim()
        except BlockingIOError:
            pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise error("running", f"an agent runs in {self.root} already (process {pid})", "Stop it first.") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor


def read_known(path: Path) -> tuple[Known, ...]:
    """The identities of a known.toml. Raises `not-found`, `config`."""
    entries = _toml.load(path).get("identity", [])
    if not isinstance(entries, list):
        raise error("config", f"{path}: identity must be a list of tables", "Correct the file.")
    return tuple(_known(path, entry) for entry in entries)


def known_identity(
    name: str,
    identifier: str,
    roles: Sequence[str],
    groups: Sequence[str],
    webauthn: str = "",
    origins: Sequence[str] = (),
) -> Known:
    """A well-formed entry. Raises `bad-input`."""
    if not NAME.fullmatch(name):
        raise error("bad-input", f"{printable(name)!r} cannot be a name", "A name is 1 to 64 of A-Z a-z 0-9 . _ @ -")
    compact = "".join(identifier.split()).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", compact):
        raise error(
            "bad-input",
            f"{printable(identifier, limit=80)!r} is not a caller id",
            "It is 64 hex digits: `evanesce identity show`, on the caller's machine.",
        )
    ordered = tuple(role for role in ROLES if role in roles)
    if webauthn and ordered != ("approver",):
        raise error(
            "bad-input", "an authenticator's key opens no connection", "Give it the role approver, and no other."
        )
    if origins and not webauthn:
        raise error("bad-input", "origins are those of an authenticator's key", "Name its domain: --webauthn DOMAIN.")
    return Known(name, compact, ordered, tuple(dict.fromkeys(groups)), webauthn, tuple(dict.fromkeys(origins)))


def _known(path: Path, entry: Any) -> Known:
    ok = isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("id"), str)
    ok = ok and isinstance(entry.get("webauthn", ""), str)
    lists = [entry.get(field, []) for field in ("roles", "groups", "origins")] if ok else []
    if not ok or not all(isinstance(items, list) and all(isinstance(i, str) for i in items) for items in lists):
        raise error("config", f"{path}: an identity needs name, id, roles and groups", "Correct the file.")
    roles, groups, origins = map(tuple, lists)
    return Known(entry["name"], entry["id"].lower(), roles, groups, entry.get("webauthn", ""), origins)
