"""The home folder of one caller: who it is, which agents it knows, what it trusts, its tokens.

`$EVANESCE_HOME`, or `~/.config/evanesce`:

    identity.key    the caller's own signing key (0600); read by the core alone
    quorum.toml     the agents it asks, `[[agent]]` each; tokens cannot add to them. With `[reconstructor]`, the one
                    that does its operations; with `runtime`, the module in which regenerated keys work
    pins            the token ids it trusts (see `pins`)
    tokens/         NAME.regen, public
    grants/         ID.grant, copies of those given from here; public
    hsm.toml        the PKCS#11 tokens it uses, `[[hsm]]` each (see `custody.modules`)
    requests/       what people are asked to approve, unless it is in a shared folder (see `_requests`)
    asked/          which operations it asked approval for, so that no other is performed in their place

Only `identity.key` is secret, and losing it loses no key: agents can be told of another.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from evanesce import _toml
from evanesce._text import printable
from evanesce.errors import EvanesceError, error
from evanesce.pins import Pins

_SEAT = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_HEX_ID = re.compile(r"[0-9a-f]{64}")
LABELS = ("site", "vendor", "administrator")
"""What agents may have in common, and so be lost or corrupted together."""
_FIELDS = ("name", "id", "address", *LABELS)


@dataclass(frozen=True, slots=True)
class Agent:
    """One recovery agent, as a quorum file names it."""

    name: str
    id: str
    """Its agent id, 64 hex digits: what its identity is pinned to."""
    address: str
    """host:port"""
    site: str = ""
    vendor: str = ""
    administrator: str = ""
    """Who runs it: a person or a team, by any name."""

    def stanza(self) -> str:
        """The lines that name it in a quorum file."""
        given = {field: getattr(self, field) for field in _FIELDS}
        # Readers of earlier builds know no such field.
        if not self.administrator:
            del given["administrator"]
        return "[[agent]]\n" + _toml.dumps(given)


@dataclass(frozen=True, slots=True)
class Reconstructor:
    """A reconstructor that works for this caller, as a quorum file names it."""

    name: str
    id: str
    """Its id to those who connect to it, 64 hex digits: `evanesce reconstructor show`."""
    address: str
    """host:port"""

    def stanza(self) -> str:
        """The lines that name it in a quorum file."""
        return "[reconstructor]\n" + _toml.dumps({"name": self.name, "id": self.id, "address": self.address})


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of a home folder. Nothing is made until it is needed."""

    root: Path

    @staticmethod
    def at(root: str | os.PathLike[str] | None = None) -> Home:
        """The given folder, else `$EVANESCE_HOME`, else `~/.config/evanesce`."""
        chosen = root if root is not None else os.environ.get("EVANESCE_HOME") or "~/.config/evanesce"
        return Home(Path(chosen).expanduser().absolute())

    @property
    def identity(self) -> Path:
        return self.root / "identity.key"

    @property
    def quorum(self) -> Path:
        return self.root / "quorum.toml"

    @property
    def modules(self) -> Path:
        return self.root / "hsm.toml"

    @property
    def pins(self) -> Pins:
        return Pins(self.root / "pins")

    @property
    def tokens(self) -> Path:
        return self.root / "tokens"

    @property
    def grants(self) -> Path:
        return self.root / "grants"

    def token(self, name: str) -> Path:
        """Where the token of this name lies. Raises `bad-input` for a name that could leave the folder."""
        if not name or name.startswith(".") or "/" in name or "\0" in name or len(os.fsencode(name)) > 200:
            raise error(
                "bad-input",
                f"{printable(name)!r} cannot be the name of a token file",
                "Use a name without slashes and leading dots, or name a file of your own (--out).",
            )
        return self.tokens / f"{name}.regen"


class QuorumFile(NamedTuple):
    """All that a quorum file says."""

    agents: tuple[Agent, ...]
    reconstructor: Reconstructor | None
    """Who does this side's operations, if it names one."""
    runtime: str | None
    """The module in which regenerated keys work, by its name in hsm.toml; None for the crucible itself."""


def read_agents(path: Path) -> tuple[Agent, ...]:
    """The agents a quorum file names, in its order. Raises `not-found`, `config` (which entry,
    which field)."""
    return _agents(path, _load(path))


def read_quorum(path: Path) -> QuorumFile:
    """All that it says. Raises as `read_agents`."""
    document = _load(path)
    return QuorumFile(_agents(path, document), _reconstructor(path, document), _runtime(path, document))


def _load(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise error(
            "not-found",
            f"there is no quorum file at {path}",
            "Write one: an [[agent]] entry with name, id, address, site, vendor and administrator for each "
            "agent, as `evanesce agent init` prints it.",
        )
    return _toml.load(path)


def _agents(path: Path, document: Mapping[str, Any]) -> tuple[Agent, ...]:
    unknown = sorted(set(document) - {"agent", "reconstructor", "runtime"})
    if unknown:
        raise _wrong(path, f"unknown entry {printable(unknown[0])!r}")
    entries = document.get("agent", [])
    if not isinstance(entries, list) or not entries:
        raise _wrong(path, "it names no agent")
    agents = tuple(_agent(path, number, entry) for number, entry in enumerate(entries, 1))
    check_agents(agents, str(path))
    return agents


def _runtime(path: Path, document: Mapping[str, Any]) -> str | None:
    text = document.get("runtime")
    if text is None:
        return None
    if not isinstance(text, str) or not text.startswith("pkcs11:") or text == "pkcs11:":
        raise _wrong(path, 'runtime is "pkcs11:NAME", a module of hsm.toml')
    if "reconstructor" in document:
        raise _wrong(path, "runtime is this side's, and keys are the [reconstructor]'s: give one of them")
    return text.removeprefix("pkcs11:")


def _reconstructor(path: Path, document: Mapping[str, Any]) -> Reconstructor | None:
    entry = document.get("reconstructor")
    if entry is None:
        return None
    fields = ("name", "id", "address")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(field), str) for field in fields):
        raise _wrong(path, "[reconstructor] needs name, id and address")
    unknown = sorted(set(entry) - set(fields))
    if unknown:
        raise _wrong(path, f"[reconstructor]: unknown field {printable(unknown[0])!r}")
    if not _SEAT.fullmatch(entry["name"]):
        raise _wrong(path, "[reconstructor]: a name is 1 to 64 of A-Z a-z 0-9 . _ @ -")
    if not _HEX_ID.fullmatch(entry["id"].lower()):
        raise _wrong(path, "[reconstructor]: id must be 64 hex digits")
    if not valid_address(entry["address"]):
        raise _wrong(path, "[reconstructor]: address must be host:port")
    return Reconstructor(entry["name"], entry["id"].lower(), entry["address"])


def check_agents(agents: Iterable[Agent], where: str) -> None:
    """Names and ids must be told apart. Raises `config`."""
    names: set[str] = set()
    ids: set[str] = set()
    for agent in agents:
        if agent.name in names or agent.id in ids:
            raise error(
                "config",
                f"{where} names {printable(agent.name)} (or its id) twice",
                "Give every agent a name and an id of its own.",
            )
        names.add(agent.name)
        ids.add(agent.id)


def _agent(path: Path, number: int, entry: Any) -> Agent:
    if not isinstance(entry, dict):
        raise _wrong(path, f"agent {number} is not a table")
    where = f"agent {number} ({printable(str(entry.get('name', 'no name')))})"
    unknown = sorted(set(entry) - set(_FIELDS))
    if unknown:
        raise _wrong(path, f"{where}: unknown field {printable(unknown[0])!r}")
    for field in _FIELDS:
        if not isinstance(entry.get(field, ""), str):
            raise _wrong(path, f"{where}: {field} must be text")
    for field in ("name", "id", "address"):
        if not entry.get(field):
            raise _wrong(path, f"{where}: {field} is missing")
    if not _SEAT.fullmatch(entry["name"]):
        raise _wrong(path, f"{where}: a name is 1 to 64 of A-Z a-z 0-9 . _ @ -")
    identifier = entry["id"].lower()
    if not _HEX_ID.fullmatch(identifier):
        raise _wrong(path, f"{where}: id must be 64 hex digits")
    if not valid_address(entry["address"]):
        raise _wrong(path, f"{where}: address must be host:port")
    labels = (entry.get(label, "") for label in LABELS)
    return Agent(entry["name"], identifier, entry["address"], *labels)


def valid_address(address: str) -> bool:
    """Whether this reads as host:port (IPv6 in brackets)."""
    host, colon, port = address.rpartition(":")
    plain = bool(host) and ":" not in host
    bracketed = host.startswith("[") and host.endswith("]")
    return bool(colon) and (plain or bracketed) and port.isascii() and port.isdigit() and int(port) <= 65535


def _wrong(path: Path, what: str) -> EvanesceError:
    return error("config", f"{path}: {what}", "Correct the quorum file.")
