"""`regen`: keys that a quorum regenerates for one operation each, and that are stored nowhere (PROTOCOL §2)."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from evanesce import suites
from evanesce._heal import Changes
from evanesce._mint import Terms, mint
from evanesce._text import printable
from evanesce.custody.model import OPERATIONS
from evanesce.custody.reference import Reference
from evanesce.custody.tokens import Tokens
from evanesce.errors import error
from evanesce.tokens import Token

if TYPE_CHECKING:
    from evanesce._connect import Connection
    from evanesce._mint import Source


class Regen(Tokens):
    """The regen tokens of one home."""

    name = "regen"
    supports: ClassVar = {
        "create": "minted by the quorum; nothing but its public token remains",
        "import": "an existing key, sealed in the token; destroying the original is yours to do",
        "public-key": "from the token",
        "rotate": "a new key under the same terms, whose token names the old one",
        "refresh": "the same key under fresh shares, for the same holders or others; a new token",
        "back-up": "a copy of the public token: the quorum is what keeps the key",
        "restore": "from a copy of the token, with its pin",
        "destroy": "retired by its holders, for good",
        "describe": "what the token says",
    }
    refuses: ClassVar = {}

    @classmethod
    @functools.cache
    def operations(cls) -> Mapping[str, Sequence[str]]:
        asked = {"sign-payload": "sign", "mac-payload": "mac"}
        return {
            action: [name for name, suite in suites.ALL.items() if suite.offers(asked.get(action, action))]
            for action in OPERATIONS
        }

    def create(self, reference: Reference, suites: Iterable[str], terms: Mapping[str, Any]) -> Token:
        chosen = self._terms(terms)
        return self._new(reference, lambda connection, name: self._made(connection, name, suites, chosen))

    def import_key(
        self, reference: Reference, suites: Iterable[str], source: Source, terms: Mapping[str, Any]
    ) -> Token:
        chosen = self._terms(terms)

        def make(connection: Connection, name: str) -> Token:
            return connection.mint(mint(connection.agents, name, suites, chosen, source))

        return self._new(reference, make)

    def refresh(self, reference: Reference, terms: Mapping[str, Any]) -> Token:
        for name in terms:
            if name not in Changes.__annotations__:
                known = ", ".join(Changes.__annotations__)
                raise error("bad-input", f"a refresh has no term {printable(name)!r}", f"There are: {known}.")
        old = self._newest(reference, "refresh")
        token = self._connection().reshare(old, cast(Changes, dict(terms)), False).token
        waiting = self._waiting(reference)
        token.save(waiting, force=True)
        self._replace(reference, old, waiting)
        return token

    def back_up(self, reference: Reference, to: str | os.PathLike[str], terms: Mapping[str, Any]) -> dict[str, Any]:
        return self._back_up(reference, to, terms)

    def restore(self, reference: Reference, source: str | os.PathLike[str], terms: Mapping[str, Any]) -> Token:
        return self._restore(reference, source, terms)

    def _made(self, connection: Connection, name: str, suites: Iterable[str], terms: Terms) -> Token:
        return connection.mint(mint(connection.agents, name, suites, terms))
