"""Grants: one caller lets another ask in its place, for one key, within bounds (docs/delegation.md).

    from evanesce import Client, Grant

    with Client() as client:
        grant = client.grant(token, delegate, ["sign"], expires=time.time() + 3600, count=10)
        grant.save("bot.grant")
    # elsewhere, by the delegate
    with Client(grant=Grant.load("bot.grant")) as client:
        client.sign(token, b"...")

A grant is public and of no use to anyone but its delegate. The delegate holds no key material, before or after.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from evanesce import _core, _files
from evanesce.errors import error, translate

_BLOCK = re.compile(r"-----BEGIN EVANESCE GRANT-----\n([A-Za-z0-9+/=\n]+)-----END EVANESCE GRANT-----\n")
_LARGEST = 64 << 10
"""Bytes of a grant's file; two grants of 8 KiB in base64 are a third of it."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What one value of a payload must be: a whole number in a range, or one of some texts."""

    at: tuple[str, ...]
    """Where it is: keys of objects, from the outermost."""
    least: int | None = None
    most: int | None = None
    among: tuple[str, ...] | None = None

    def __str__(self) -> str:
        place = ".".join(self.at)
        if self.among is not None:
            return f"{place}={'|'.join(self.among)}"
        return f"{self.least}<={place}<={self.most}"


class More(TypedDict, total=False):
    """What else can be said of a grant."""

    suites: Iterable[str]
    """Of the token's; by default all of them."""
    bounds: Iterable[Bound]
    """What a payload must be like; with any, nothing is done without a payload."""
    count: int | None
    """Operations that each agent permits under it; by default as many as the policy does."""
    not_before: float
    """Unix seconds; by default a minute ago."""
    further: bool
    """Whether the delegate may pass it on."""
    under: Grant | None
    """The grant that is passed on."""


@dataclass(frozen=True, slots=True)
class RevokedAt:
    """What an agent said to a revocation."""

    agent: str
    agent_id: str
    reason: str
    """Why it has not revoked the grant; empty where it has."""


@dataclass(frozen=True, slots=True)
class Link:
    """One grant of a chain. Ids are 64 hex digits, times Unix seconds."""

    id: str
    token: str
    grantor: str
    delegate: str
    parent: str | None
    actions: tuple[str, ...]
    suites: tuple[str, ...]
    bounds: tuple[Bound, ...]
    count: int | None
    """Operations that each agent permits under it."""
    not_before: int
    expires: int
    further: bool
    """Whether the delegate may pass it on."""


class Grant:
    """A chain of one grant or two, each signed by whoever gives it, the first grantor's first. Raises
    `grant-invalid` for what no agent would take."""

    __slots__ = ("links", "parts")

    def __init__(self, parts: Iterable[bytes]) -> None:
        self.parts = tuple(parts)
        try:
            links = _core.grant_read(self.parts)
        except _core.CoreError as e:
            raise translate(e) from None
        self.links = tuple(_link(link) for link in links)

    @property
    def last(self) -> Link:
        """The grant whose delegate may ask."""
        return self.links[-1]

    @property
    def token(self) -> str:
        """The token that it is for, by id."""
        return self.last.token

    def encode(self) -> bytes:
        """As text, one block a link."""
        block = "-----BEGIN EVANESCE GRANT-----\n{}-----END EVANESCE GRANT-----\n"
        return "".join(block.format(base64.encodebytes(part).decode()) for part in self.parts).encode()

    @classmethod
    def decode(cls, data: bytes) -> Grant:
        """From `encode`'s bytes. Raises `grant-invalid`."""
        text = data.decode(errors="replace").replace("\r\n", "\n") if len(data) <= _LARGEST else ""
        blocks = _BLOCK.findall(text)
        if not blocks or _BLOCK.sub("", text).strip():
            raise error("grant-invalid", "this is no grant", "`evanesce grant create` writes one.")
        return cls(base64.b64decode(block) for block in blocks)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Grant:
        """From a file. Raises `grant-invalid`, `not-found`, `bad-input` (too large), `io`."""
        return cls.decode(_files.read(Path(path), limit=_LARGEST))

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Writes it, public as it is. Raises `exists` unless `force`."""
        _files.write(Path(path), self.encode(), overwrite=force)

    def __repr__(self) -> str:
        return f"<Grant {self.last.id[:16]}… of token {self.token[:16]}…>"


def sign(
    identity: str,
    token: str,
    delegate: str,
    actions: Sequence[str],
    suites: Sequence[str],
    expires: float,
    *,
    not_before: float,
    count: int | None,
    bounds: Sequence[Bound],
    further: bool,
    under: Grant | None,
) -> Grant:
    """Signs one with the identity in a file."""
    rows = [(bound.at, bound.least, bound.most, bound.among) for bound in bounds]
    before = () if under is None else under.parts
    try:
        part = _core.grant_sign(
            identity,
            bytes.fromhex(token),
            bytes.fromhex(delegate),
            actions,
            suites,
            rows,
            count,
            int(not_before),
            int(expires),
            further,
            before[-1] if before else None,
        )
    except _core.CoreError as e:
        raise translate(e) from None
    return Grant((*before, part))


def _link(fields: dict[str, Any]) -> Link:
    bounds = tuple(
        Bound(tuple(at), least, most, None if among is None else tuple(among))
        for at, least, most, among in fields["bounds"]
    )
    actions, suites = tuple(fields["actions"]), tuple(fields["suites"])
    return Link(**fields | {"bounds": bounds, "actions": actions, "suites": suites})
