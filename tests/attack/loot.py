"""What two agents of five, every token and the network give away: everything, and nothing made up."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from independent import Token, regenerate
from machines import AgentMachine


class Recorder:
    """A proxy's tap that keeps what passes, connection by connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, int], tuple[bytearray, bytearray]] = {}

    def __call__(self, agent: str, connection: int, from_caller: bool, data: bytes) -> None:
        with self._lock:
            sent, answered = self._kept.setdefault((agent, connection), (bytearray(), bytearray()))
            (sent if from_caller else answered).extend(data)

    def streams(self) -> list[Stream]:
        with self._lock:
            return [Stream(name, bytes(sent), bytes(back)) for (name, _), (sent, back) in self._kept.items()]


@dataclass(frozen=True)
class Stream:
    """One connection, as somebody on the way saw it."""

    agent: str
    sent: bytes
    """By the caller."""
    answered: bytes


@dataclass(frozen=True)
class Taken:
    """One corrupt agent's machine: everything on it can be read, and written."""

    machine: AgentMachine

    @property
    def id(self) -> bytes:
        return bytes.fromhex(self.machine.id)

    @property
    def roots(self) -> dict[int, bytes]:
        """Its element: every root, by epoch."""
        title, *lines = (self.machine.folder / "roots").read_text().splitlines()
        assert title == "evanesce software roots v1"
        return {int(epoch): bytes.fromhex(root) for epoch, root in (line.split() for line in lines)}

    @property
    def identity(self) -> Ed25519PrivateKey:
        return key_in(self.machine.folder / "identity.key")

    @property
    def log_key(self) -> Ed25519PrivateKey:
        return key_in(self.machine.folder / "log" / "log.key")


def key_in(path: Path) -> Ed25519PrivateKey:
    """In a PEM file."""
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


@dataclass
class Loot:
    """All of it."""

    taken: tuple[Taken, ...]
    tokens: Mapping[str, Token]
    recorder: Recorder
    receipts: list[Path] = field(default_factory=list)
    """Even what its callers keep."""

    @property
    def roots(self) -> dict[bytes, dict[int, bytes]]:
        return {taken.id: taken.roots for taken in self.taken}

    def shares(self) -> Iterator[tuple[Token, int, bytes]]:
        """Every share that these roots give, of every token."""
        for token in self.tokens.values():
            for seat in range(len(token.rows)):
                share = regenerate(token, seat, self.roots)
                if share is not None:
                    yield token, seat, share
