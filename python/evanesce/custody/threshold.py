"""What `mpc` and `regen-mpc` have in common: keys that agents made among themselves, that nobody ever had, and that are
never put together (FROST, RFC 9591; PROTOCOL §11). Each has one suite, and signs."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from evanesce import suites
from evanesce._heal import Changes
from evanesce._mint import Model as Kind
from evanesce._mint import Terms, threshold
from evanesce.custody.model import only
from evanesce.custody.reference import Reference
from evanesce.custody.tokens import Tokens
from evanesce.errors import error
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

    def refresh(self, reference: Reference, terms: Mapping[str, Any]) -> Token:
        # Another quorum is another key.
        only(terms, "new shares have", "policy", "expires")
        old = self._newest(reference, "refresh")
        waiting = self._waiting(reference)

        def save(new: Token) -> None:
            # Before any old share goes; what is cut short after this has left the new token here.
            new.save(waiting, force=True)

        renewed = self._connection().refresh_shares(old, save, None, cast(Changes, dict(terms)))
        self._replace(reference, old, waiting)
        return renewed.token

    def _made(self, connection: Connection, name: str, suites: Iterable[str], terms: Terms) -> Token:
        wanted = tuple(suites)
        if len(wanted) != 1:
            known = ", ".join(self.operations()["sign"])
            raise error("bad-input", f"a {self.name} key has exactly one suite", f"Choose among {known}.")
        return connection.create_threshold(threshold(connection.agents, name, wanted[0], self.name, terms))
