"""What the models of a quorum have in common: a reference names the file of a public token, in the home folder or
anywhere.

Of a key that was made anew the new token takes the file's name; the old one stays beside it as `NAME@1.regen`, for as
long as its holders serve it.
"""

from __future__ import annotations

import os
import re
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from evanesce import _files
from evanesce._mint import Terms
from evanesce._text import printable
from evanesce.custody.model import Destroyed, Model, only
from evanesce.custody.reference import Reference
from evanesce.errors import error
from evanesce.home import Home
from evanesce.tokens import Token

if TYPE_CHECKING:
    from evanesce._connect import Connection


class Tokens(Model):
    """The tokens of one model, in one home."""

    def __init__(self, home: Home, connection: Callable[[], Connection]) -> None:
        self._home = home
        self._connection = connection
        self._lock = threading.Lock()
        self._tokens: dict[Path, tuple[tuple[int, ...], Token]] = {}

    def key(self, reference: Reference) -> Token:
        path = token_path(self._home, reference)
        try:
            found = path.stat()
        except OSError:
            raise error(
                "not-found",
                f"there is no token {printable(str(path))}",
                f"`evanesce key list` shows those there are; {self.name}: followed by a path to a token file works "
                "too.",
            ) from None
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        with self._lock:
            kept = self._tokens.get(path)
        if kept is not None and kept[0] == state:
            return kept[1]
        token = Token.load(path, home=self._home.root)
        require_model(token, reference)
        with self._lock:
            self._tokens[path] = (state, token)
        return token

    def create(self, reference: Reference, suites: Iterable[str], terms: Mapping[str, Any]) -> Token:
        chosen = self._terms(terms)
        return self._new(reference, lambda connection, name: self._made(connection, name, suites, chosen))

    def rotate(self, reference: Reference, terms: Mapping[str, Any]) -> Token:
        old = self._newest(reference, "rotate")
        if old.imported:
            raise error("bad-input", f"{reference} is an imported key", "Import the new one under another name.")
        connection = self._connection()
        names = {agent.id: agent.name for agent in connection.agents}
        same = Terms(quorum=old.quorum, policy=old.policy, expires=old.expires)
        same["seats"] = {seat.name: names.get(seat.holder_id, seat.name) for seat in old.seats}
        chosen = cast(Terms, {**same, **self._terms(terms), "replaces": old.id})
        token = self._made(connection, old.name, old.suites, chosen)
        # The new token first lies beside: whatever is cut short here, both are on the disk.
        waiting = self._waiting(reference)
        token.save(waiting, force=True)
        self._replace(reference, old, waiting)
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
            "model": self.name,
            "token": token.id,
            "name": token.name,
            "suites": list(token.suites),
            "quorum": token.quorum,
            "expires": token.expires,
            "pinned": token.pinned,
            "imported": token.imported,
            "versions": [*_versions(token_path(self._home, reference))],
            "seats": [seat.name for seat in token.seats],
        }

    def back_up(self, reference: Reference, to: str | os.PathLike[str], terms: Mapping[str, Any]) -> dict[str, Any]:
        only(terms, f"the backup of a {self.name} key has")
        token = self.key(reference)
        token.save(to)
        return {
            "key": str(reference),
            "file": os.fspath(to),
            "token": token.id,
            "holds": "the public token; no share of the key is in it",
        }

    def restore(self, reference: Reference, source: str | os.PathLike[str], terms: Mapping[str, Any]) -> Token:
        pin = only(terms, f"to restore a {self.name} key has", "pin").get("pin")
        token = Token.load(source, pin=pin, home=self._home.root)
        require_model(token, reference)
        token.require_pinned("restore")
        path = token_path(self._home, reference)
        _files.folder(path.parent)
        token.save(path)
        if token.pinned == "given":
            self._home.pins.add(token.id, token.name)
        return token

    @abstractmethod
    def _made(self, connection: Connection, name: str, suites: Iterable[str], terms: Terms) -> Token:
        """A new key at the agents."""

    def _new(self, reference: Reference, make: Callable[[Connection, str], Token]) -> Token:
        """The first version, in a file that is not there yet."""
        path = token_path(self._home, reference)
        if reference.version is not None:
            raise error("bad-input", f"{reference} names a version", "A new key is the first: leave @N out.")
        if os.path.lexists(path):
            raise _files.exists(path)
        _files.folder(path.parent)
        token = make(self._connection(), path.name.removesuffix(".regen"))
        token.save(path)
        return token

    def _newest(self, reference: Reference, doing: str) -> Token:
        """The token that is to have a successor."""
        if reference.version is not None:
            raise error(
                "bad-input", f"{reference} is one version of a key", f"{doing.capitalize()} the key: leave @N out."
            )
        old = self.key(reference)
        old.require_pinned(doing)
        return old

    def _waiting(self, reference: Reference) -> Path:
        path = token_path(self._home, reference)
        return path.with_name(f"{path.stem}@new{path.suffix}")

    def _replace(self, reference: Reference, old: Token, waiting: Path) -> None:
        """Puts the new token in the place of the old one, which goes beside."""
        path = token_path(self._home, reference)
        old.save(_beside(path, max((*_versions(path), 0)) + 1))
        waiting.replace(path)

    def _terms(self, given: Mapping[str, Any]) -> Terms:
        return cast(Terms, dict(only(given, f"a {self.name} key has", *Terms.__annotations__)))


def token_path(home: Home, reference: Reference) -> Path:
    """The file of the token that is named, whatever its model."""
    place = reference.place
    named = "/" not in place and not place.startswith(".") and not place.endswith(".regen")
    path = home.token(place) if named else Path(place).expanduser().absolute()
    return path if reference.version is None else _beside(path, reference.version)


def require_model(token: Token, reference: Reference) -> None:
    """Raises `bad-input` where the token is of another model than the reference says."""
    if token.model != reference.model:
        raise error(
            "bad-input",
            f"{printable(str(reference))} is a token of model {token.model}",
            f"Name it as {token.model}:{printable(reference.place)}.",
        )


def _versions(path: Path) -> list[int]:
    """Older ones that lie beside, ascending."""
    pattern = re.compile(re.escape(path.stem) + r"@([1-9][0-9]{0,8})" + re.escape(path.suffix))
    found = (pattern.fullmatch(other.name) for other in path.parent.glob("*@*"))
    return sorted(int(match[1]) for match in found if match)


def _beside(path: Path, version: int) -> Path:
    return path.with_name(f"{path.stem}@{version}{path.suffix}")
