"""`regen`: keys that a quorum regenerates for one operation each, and that are stored nowhere (PROTOCOL §2).

A reference names the token's file, which is public. A rotated key's token takes the file's name; the old one stays
beside it as `NAME@1.regen` and works on until it is destroyed.
"""

from __future__ import annotations

import functools
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from evanesce import _files, suites
from evanesce._mint import Terms, mint
from evanesce._text import printable
from evanesce.custody.model import OPERATIONS, Destroyed, Model
from evanesce.custody.reference import Reference
from evanesce.errors import error
from evanesce.home import Home
from evanesce.tokens import Token

if TYPE_CHECKING:
    from evanesce._connect import Connection
    from evanesce._mint import Source


class Regen(Model):
    """The regen tokens of one home."""

    name = "regen"
    supports: ClassVar = {
        "create": "minted by the quorum; nothing but its public token remains",
        "import": "an existing key, sealed in the token; destroying the original is yours to do",
        "public-key": "from the token",
        "rotate": "a new key under the same terms, whose token names the old one",
        "back-up": "a copy of the public token: the quorum is what keeps the key",
        "restore": "from a copy of the token, with its pin",
        "destroy": "retired by its holders, for good",
        "describe": "what the token says",
    }
    refuses: ClassVar = {}

    def __init__(self, home: Home, connection: Callable[[], Connection]) -> None:
        self._home = home
        self._connection = connection
        self._lock = threading.Lock()
        self._tokens: dict[Path, tuple[tuple[int, ...], Token]] = {}

    @classmethod
    @functools.cache
    def operations(cls) -> Mapping[str, Sequence[str]]:
        asked = {"sign-payload": "sign", "mac-payload": "mac"}
        return {
            action: [name for name, suite in suites.ALL.items() if suite.offers(asked.get(action, action))]
            for action in OPERATIONS
        }

    def key(self, reference: Reference) -> Token:
        path = self.path(reference)
        try:
            found = path.stat()
        except OSError:
            raise error(
                "not-found",
                f"there is no token {printable(str(path))}",
                "`evanesce key list` shows those there are; regen: followed by a path to a token file works too.",
            ) from None
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        with self._lock:
            kept = self._tokens.get(path)
        if kept is not None and kept[0] == state:
            return kept[1]
        token = Token.load(path, home=self._home.root)
        with self._lock:
            self._tokens[path] = (state, token)
        return token

    def create(self, reference: Reference, suites: Iterable[str], terms: Mapping[str, Any]) -> Token:
        return self._mint(reference, suites, terms, None)

    def import_key(
        self, reference: Reference, suites: Iterable[str], source: Source, terms: Mapping[str, Any]
    ) -> Token:
        return self._mint(reference, suites, terms, source)

    def rotate(self, reference: Reference, terms: Mapping[str, Any]) -> Token:
        if reference.version is not None:
            raise error("bad-input", f"{reference} is one version of a key", "Rotate the key: leave @N out.")
        old, path = self.key(reference), self.path(reference)
        old.require_pinned("rotate")
        if old.imported:
            raise error("bad-input", f"{reference} is an imported key", "Import the new one under another name.")
        connection = self._connection()
        names = {agent.id: agent.name for agent in connection.agents}
        same = Terms(quorum=old.quorum, policy=old.policy, expires=old.expires)
        same["seats"] = {seat.name: names.get(seat.holder_id, seat.name) for seat in old.seats}
        chosen = cast(Terms, {**same, **_terms(terms), "replaces": old.id})
        token = connection.mint(mint(connection.agents, old.name, old.suites, chosen))
        version = max((*self._versions(path), 0)) + 1
        # The new token first lies beside: whatever is cut short here, both are on the disk.
        waiting = path.with_name(f"{path.stem}@new{path.suffix}")
        token.save(waiting, force=True)
        old.save(_beside(path, version))
        waiting.replace(path)
        return token

    def back_up(self, reference: Reference, to: str | os.PathLike[str], terms: Mapping[str, Any]) -> dict[str, Any]:
        _none(terms)
        token = self.key(reference)
        token.save(to)
        return {
            "key": str(reference),
            "file": os.fspath(to),
            "token": token.id,
            "holds": "the public token; no share of the key is in it",
        }

    def restore(self, reference: Reference, source: str | os.PathLike[str], terms: Mapping[str, Any]) -> Token:
        pin = terms.get("pin")
        _none({name: value for name, value in terms.items() if name != "pin"})
        token = Token.load(source, pin=pin, home=self._home.root)
        token.require_pinned("restore")
        path = self.path(reference)
        _files.folder(path.parent)
        token.save(path)
        if token.pinned == "given":
            self._home.pins.add(token.id, token.name)
        return token

    def destroy(self, reference: Reference) -> Destroyed:
        result = self._connection().retire(self.key(reference))
        if result.dead:
            return Destroyed(True, "no sufficient set of seats remains")
        missing = ", ".join(printable(seat.seat) for seat in result.missing)
        return Destroyed(False, f"{missing} did not retire it; ask again when they can be reached")

    def describe(self, reference: Reference) -> dict[str, Any]:
        token = self.key(reference)
        return {
            "key": str(reference),
            "model": "regen",
            "token": token.id,
            "name": token.name,
            "suites": list(token.suites),
            "quorum": token.quorum,
            "expires": token.expires,
            "pinned": token.pinned,
            "imported": token.imported,
            "versions": [*self._versions(self.path(reference))],
            "seats": [seat.name for seat in token.seats],
        }

    def _mint(
        self, reference: Reference, wanted: Iterable[str], terms: Mapping[str, Any], source: Source | None
    ) -> Token:
        path = self.path(reference)
        if reference.version is not None:
            raise error("bad-input", f"{reference} names a version", "A new key is the first: leave @N out.")
        if os.path.lexists(path):
            raise _files.exists(path)
        _files.folder(path.parent)
        connection = self._connection()
        name = path.name.removesuffix(".regen")
        token = connection.mint(mint(connection.agents, name, wanted, _terms(terms), source))
        token.save(path)
        return token

    def path(self, reference: Reference) -> Path:
        """The token's file."""
        place = reference.place
        named = "/" not in place and not place.startswith(".") and not place.endswith(".regen")
        path = self._home.token(place) if named else Path(place).expanduser().absolute()
        return path if reference.version is None else _beside(path, reference.version)

    @staticmethod
    def _versions(path: Path) -> list[int]:
        """Older ones that lie beside, ascending."""
        pattern = re.compile(re.escape(path.stem) + r"@([1-9][0-9]{0,8})" + re.escape(path.suffix))
        found = (pattern.fullmatch(other.name) for other in path.parent.glob("*@*"))
        return sorted(int(match[1]) for match in found if match)


def _beside(path: Path, version: int) -> Path:
    return path.with_name(f"{path.stem}@{version}{path.suffix}")


def _terms(given: Mapping[str, Any]) -> Terms:
    for name in given:
        if name not in Terms.__annotations__:
            known = ", ".join(Terms.__annotations__)
            raise error("bad-input", f"a regen key has no term {printable(name)!r}", f"There are: {known}.")
    return cast(Terms, dict(given))


def _none(terms: Mapping[str, Any]) -> None:
    for name in terms:
        raise error("bad-input", f"a regen key has no term {printable(name)!r} here", "Leave it out.")
