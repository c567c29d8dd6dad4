"""`regen`: keys that a quorum regenerates for one operation each, and that are stored nowhere (PROTOCOL §2)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from evanesce import suites
from evanesce._heal import Changes
from evanesce._mint import Terms, mint
from evanesce.custody.model import OPERATIONS, only
from evanesce.custody.reference import Reference
from evanesce.custody.tokens import Tokens
from evanesce.tokens import Token

if TYPE_CHECKING:
    from evanesce._connect import Connection
    from evanesce._mint import Source
    from evanesce.results import Healed


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

    def import_key(
        self, reference: Reference, suites: Iterable[str], source: Source, terms: Mapping[str, Any]
    ) -> Token:
        chosen = self._terms(terms)

        def make(connection: Connection, name: str) -> Token:
            return connection.mint(mint(connection.agents, name, suites, chosen, source))

        return self._new(reference, make)

    def refresh(self, reference: Reference, terms: Mapping[str, Any]) -> Healed:
        only(terms, "a refresh has", *Changes.__annotations__)
        old = self._newest(reference, "refresh")
        healed = self._connection().reshare(old, cast(Changes, dict(terms)), False)
        waiting = self._waiting(reference)
        healed.token.save(waiting, force=True)
        self._replace(reference, old, waiting)
        return healed

    def _made(self, connection: Connection, name: str, suites: Iterable[str], terms: Terms) -> Token:
        return connection.mint(mint(connection.agents, name, suites, terms))
