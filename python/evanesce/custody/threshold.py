"""What `mpc` and `regen-mpc` have in common: keys that agents made among themselves, that nobody ever had, and that are
never put together (FROST, RFC 9591; PROTOCOL §11). Each has one suite, and signs."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from evanesce import suites
from evanesce._heal import Changes, finished, has_same_key, is_successor
from evanesce._mint import Model as Kind
from evanesce._mint import Terms, threshold
from evanesce.custody.model import only
from evanesce.custody.reference import Reference
from evanesce.custody.tokens import Tokens
from evanesce.errors import error
from evanesce.results import Renewal
from evanesce.tokens import Token

if TYPE_CHECKING:
    from evanesce._connect import Connection

_SIGNS = "a key that is never put together signs, and does nothing else"

REFUSES = {
    "import": "a key that somebody had is not one that nobody ever had: its holders make it among themselves",
    "mac": f"{_SIGNS}; a MAC takes the whole key",
    "mac-payload": f"{_SIGNS}; a MAC takes the whole key",
    "verify-mac": f"{_SIGNS}; a MAC takes the whole key",
    "encrypt": _SIGNS,
    "decrypt": _SIGNS,
    "derive": f"{_SIGNS}; what is derived from it would take the whole key",
    "agree": _SIGNS,
    "decapsulate": _SIGNS,
}
"""Of both models."""


class Threshold(Tokens):
    """Keys that are never put together, of one home."""

    name: ClassVar[Kind]

    @classmethod
    @functools.cache
    def operations(cls) -> Mapping[str, Sequence[str]]:
        return {"sign": [*suites.THRESHOLD], "sign-payload": [*suites.THRESHOLD]}

    def refresh(self, reference: Reference, terms: Mapping[str, Any]) -> Renewal:
        only(terms, "new shares have", *Changes.__annotations__)
        old = super()._newest(reference, "refresh")
        left = self._left(reference, old)
        before = None if left is None else finished(left, old)
        if before is not None and not terms:
            return before
        old = left or old
        waiting = self._waiting(reference)

        def save(new: Token) -> None:
            # Before any old share goes; what is cut short after this has left the new token here.
            new.save(waiting, force=True)

        renewed = self._connection().refresh_shares(old, save, None, cast(Changes, dict(terms)))
        self._replace(reference, old, waiting)
        if before is None:
            return renewed
        return replace(
            renewed,
            warnings=(*before.warnings, *renewed.warnings),
            told=before.told,
            left_out=(*before.left_out, *renewed.left_out),
        )

    def _newest(self, reference: Reference, doing: str) -> Token:
        old = super()._newest(reference, doing)
        return self._left(reference, old) or old

    def _left(self, reference: Reference, old: Token) -> Token | None:
        """The new token of a refresh that was stopped, which takes the old one's place: it may be all that is left of
        the key. Raises `exists` where another such token lies there, which nothing may be written over."""
        waiting = self._waiting(reference)
        if not waiting.exists():
            return None
        new = Token.load(waiting, home=self._home.root)
        if is_successor(new, old):
            self._replace(reference, old, waiting)
            return new
        if has_same_key(new, old):
            raise error(
                "exists",
                f"{waiting} holds a token of this key, and nothing here says that it was made here from {reference}",
                f"Move it away; should {reference} no longer sign, and that token do, it is the key's.",
            )
        return None  # a rotation was stopped: that key was never used

    def _made(self, connection: Connection, name: str, suites: Iterable[str], terms: Terms) -> Token:
        wanted = tuple(suites)
        if len(wanted) != 1:
            known = ", ".join(self.operations()["sign"])
            raise error("bad-input", f"a {self.name} key has exactly one suite", f"Choose among {known}.")
        return connection.create_threshold(threshold(connection.agents, name, wanted[0], self.name, terms))
