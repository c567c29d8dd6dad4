"""mpc and regen-mpc over the caller's own agents: keys that they make among themselves for this, retired again.

What rests at them is by their own account: each tells how many shares it keeps.
"""

from __future__ import annotations

from pathlib import Path

from evanesce import Client, Token, verify
from evanesce._mint import Model
from evanesce.compare import operations
from evanesce.compare.operations import MESSAGE
from evanesce.compare.own import NAME, OwnQuorum
from evanesce.compare.results import Agility, AtRest, Latency, Store
from evanesce.compare.stores import counted
from evanesce.compare.subject import Sandbox


class OwnThreshold(OwnQuorum):
    """One of the two models over the agents of a home folder."""

    suite = "frost-ed25519"

    def __init__(self, sandbox: Sandbox, home: Path, model: Model) -> None:
        super().__init__(sandbox, home)
        self._model: Model = model
        where = {"mpc": "keeps", "regen-mpc": "regenerates"}[model]
        self.title = f"keys that are never put together, of which each of your own agents {where} a share"

    def _set_up(self) -> None:
        self._token = self._make("evanesce-compare", self.suite)

    def _make(self, name: str, suite: str) -> Token:
        with Client(self._home.root) as client:
            return self._kept(client.create_threshold(name, suite, self._model))

    def _can_take(self, has: frozenset[str]) -> bool:
        # The caller's process never has the key.
        return self._opens(has)

    def at_rest(self) -> AtRest:
        before = self._shares()
        token = self._make("evanesce-compare-looked-for", self.suite)
        with Client(self._home.root) as client:
            verify(token, MESSAGE, client.sign(token, MESSAGE))
        more = {name: kept - before.get(name, 0) for name, kept in self._shares().items()}
        saved = self._sandbox.folder / "looked-for.regen"
        token.save(saved)
        stores = [
            counted("the token", "the public token", [saved], "Nothing."),
            counted("your home folder", "its identity, whom it asks, tokens, pins", [self._home.root], NAME),
        ]
        for agent in self._agents:
            if agent.id in self._holders:
                stores.append(_at(agent.name, more.get(agent.name)))
        added = sum(more.values())
        return AtRest(
            tuple(stores),
            sum(one.bytes for one in stores),
            (),
            None,
            f"By your agents' own account {added} shares, at {sum(map(bool, more.values()))} of them."
            if added
            else "By your agents' own account nothing.",
            ("Your agents' disks are theirs, and were not looked at: they said how many shares they keep.",),
        )

    def _shares(self) -> dict[str, int]:
        """How many each agent that answers keeps, by its own account."""
        with Client(self._home.root) as client:
            return {row.name: int(row.report["shares"]) for row in client.status() if row.report is not None}

    def latency(self) -> Latency:
        other = operations.other_suite(self.suite)
        tokens = {self.suite: self._token, other: self._make("evanesce-compare-other", other)}
        arrangement = (
            f"your own agents, {self._token.quorum}, 64-byte messages, each signature in two rounds, or one where your "
            "agents prepare nonces"
        )
        of_class = {"signature": self.suite}
        return operations.latency(self._sandbox, self._home.root, self._agents, tokens, arrangement, of_class)

    def agility(self) -> Agility:
        return operations.agility_of_shares(self._home.root, self._agents, self.suite, self._make)


def _at(name: str, more: int | None) -> Store:
    """An agent, of which nothing is seen but what it says."""
    says = "it did not answer" if more is None else f"by its own account {'a share more' if more else 'no share more'}"
    has = "Its share, if it has the element too; enough of them sign whatever is wanted. By itself: to refuse."
    return Store(name, says, "a share, sealed" if more else "", 0, 0, None, has)
