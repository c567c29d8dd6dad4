"""A model over the caller's own agents, regen here: what can be measured from here without taking anything apart.

Keys are minted at them for this and retired again. Their disks are theirs and none of them is stopped, so what would
take that is said not to be measured; coalitions are computed from what the quorum file says of sites, vendors and
administrators.
"""

from __future__ import annotations

import secrets
from typing import Self

from evanesce import Client, EvanesceError, Token
from evanesce.compare import coalitions, operations
from evanesce.compare.coalitions import Party
from evanesce.compare.own_keys import OwnKeys
from evanesce.compare.results import Agility, AtRest, Insider, Latency, NotMeasured, Recovery
from evanesce.compare.search import FORMS, search
from evanesce.compare.stores import searched
from evanesce.compare.subject import CannotMeasure, must
from evanesce.home import LABELS

NAME = "The caller's name: what policies permit it, until the agents are told. No key."
"""What a thief of the home folder has."""


class OwnQuorum(OwnKeys[Token]):
    """regen over the agents of a home folder."""

    title = "keys that your own quorum regenerates for one operation"

    def __enter__(self) -> Self:
        try:
            with Client(self._home.root) as client:
                if client.reconstructor is not None:
                    raise CannotMeasure("keys of this home are reconstructed elsewhere; measure there")
                self._agents = client.agents
            self._set_up()
        except EvanesceError as e:
            self.__exit__()
            raise CannotMeasure(f"your agents make no key for this: {e.message}") from None
        return self

    def _set_up(self) -> None:
        self._token = self._mint("evanesce-compare", list(operations.MEASURED))

    def _end(self, client: Client, key: Token) -> str:
        try:
            dead = client.retire(key).dead
        except EvanesceError:
            dead = False
        return "" if dead else f"not retired everywhere: token {key.id}, {key.name}"

    def _mint(self, name: str, suites: list[str]) -> Token:
        with Client(self._home.root) as client:
            return self._kept(client.create(name, suites))

    def at_rest(self) -> AtRest:
        key = secrets.token_bytes(32)
        written = self._sandbox.folder / "imported"
        written.touch(mode=0o600)
        written.write_bytes(key)
        with Client(self._home.root) as client:
            token = self._kept(client.import_key("evanesce-compare-searched", ["hmac-sha256"], written))
            must(len(client.mac(token, b"x").value) == 32, "it does not work")
        control = search(key, [written]).hits > 0
        written.unlink()
        saved = self._sandbox.folder / "searched.regen"
        token.save(saved)
        stores = (
            searched("the token", "the regen token, public", key, [saved], "Nothing."),
            searched("your home folder", "its identity, whom it asks, tokens, pins", key, [self._home.root], NAME),
        )
        return AtRest(
            stores,
            sum(one.bytes for one in stores),
            FORMS,
            control,
            "not seen from here: what your agents hold is on their machines.",
            ("Your agents' disks are theirs, and were not searched.",),
        )

    def insider(self) -> Insider:
        parties = self._parties()
        deeds = {
            "use": lambda has: "as:caller" in has or self._opens(has),
            "exfiltrate": self._can_take,
            "destroy": lambda has: "as:minter" in has or not self._opens(self._holders - has),
        }
        words = "Nothing was carried out at your own agents; without --own it is, in a sandbox."
        return coalitions.insider(parties, coalitions.of_each(parties, deeds), (), [words])

    def _can_take(self, has: frozenset[str]) -> bool:
        return "in:caller" in has or self._opens(has)

    @property
    def _holders(self) -> frozenset[str]:
        return frozenset(seat.holder_id for seat in self._token.seats)

    def _parties(self) -> list[Party]:
        parties = [
            # It has just minted a key, so it is a minter too.
            Party("your identity", "caller", frozenset({"as:caller", "as:minter"})),
            Party("code in your process", "caller", frozenset({"as:caller", "as:minter", "in:caller"})),
        ]
        seated = [agent for agent in self._agents if agent.id in self._holders]
        for label in LABELS:
            groups: dict[str, set[str]] = {}
            for agent in seated:
                if getattr(agent, label):
                    groups.setdefault(getattr(agent, label), set()).add(agent.id)
            parties += [Party(f"{label} {name}", label, frozenset(ids)) for name, ids in groups.items()]
        parties += [Party(agent.name, "agent", frozenset({agent.id})) for agent in seated]
        return parties

    def _opens(self, has: frozenset[str]) -> bool:
        losses, _ = self._token.core.margins([seat.holder_id in has for seat in self._token.seats], [])
        return losses > 0

    def latency(self) -> Latency:
        tokens = dict.fromkeys(operations.MEASURED, self._token)
        arrangement = f"your own agents, {self._token.quorum}, 64-byte messages"
        return operations.latency(self._sandbox, self._home.root, self._agents, tokens, arrangement)

    def agility(self) -> Agility:
        return operations.agility(self._home.root, self._agents, self._token, self._mint)

    def recovery(self) -> Recovery | NotMeasured:
        return NotMeasured(
            "no agent of yours is stopped; `evanesce quorum drill` says what a token can lose, and without --own a "
            "site is lost in a sandbox"
        )
