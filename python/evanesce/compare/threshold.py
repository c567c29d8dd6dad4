"""mpc and regen-mpc, measured: keys that agents made among themselves and never put together, over the same household
as regen's.

Nobody has ever known such a key, so that nothing can be searched for it. What rests is enumerated instead: which files
a new key leaves at which agents; and what a thief of those has is tried.
"""

from __future__ import annotations

import time
from pathlib import Path

from evanesce import Client, EvanesceError, Token, _core, verify
from evanesce._mint import Model
from evanesce.compare import coalitions, operations
from evanesce.compare.quorum import QUORUM, SEATED, SITES
from evanesce.compare.regen import Regen, fewest_agents
from evanesce.compare.results import Agility, AtRest, Carried, Insider, Latency
from evanesce.compare.search import FORMS
from evanesce.compare.stores import counted
from evanesce.compare.subject import Sandbox, must
from evanesce.home import Agent, Home


class Threshold(Regen):
    """One of the two models over a household of agents."""

    suite = "frost-ed25519"
    loot = "any signature, for good, with nobody asked"

    def __init__(self, sandbox: Sandbox, model: Model, title: str) -> None:
        super().__init__(sandbox)
        self._model: Model = model
        self.title = title
        self.kept_beforehand = {
            "mpc": "Of shares nothing can be: their holders release none. The public token, {size} bytes, anywhere.",
            "regen-mpc": "Nothing secret. The public token, {size} bytes, anywhere.",
        }[model]

    def _set_up(self) -> None:
        self._token = self._make("compared")

    def _make(self, name: str, suite: str | None = None) -> Token:
        house = self._house
        with house.client(house.minter) as client:
            token = client.create_threshold(name, suite or self.suite, self._model, quorum=QUORUM)
        house.deliver(name, token)
        return token

    # Material at rest.

    def at_rest(self) -> AtRest:
        house = self._house
        before = self._held()
        token = self._make("looked-for")
        with house.client(house.caller) as client:
            for number in range(20):
                message = b"%d" % number
                verify(token, message, client.sign(token, message))
        changed = {path for path, digest in self._held().items() if before.get(path) != digest}
        files = {name: [path for path in house.shares(name) if token.id in path.name] for name in SEATED}
        must(changed == {str(path) for of in files.values() for path in of}, "other files than shares have changed")
        must(bool(changed) == (self._model == "mpc"), "the model keeps another number of shares than it says")
        sizes = [Path(path).stat().st_size for path in sorted(changed)]
        stores = [
            counted("the token", "the public token", [Home.at(house.caller).token("looked-for")], "Nothing."),
            counted(
                "the caller's home",
                "its identity, whom it asks, tokens, pins",
                [house.caller],
                "The caller's name: what the policy permits it, until the agents are told. No key.",
            ),
        ]
        for name in SEATED:
            what, has = "a root for all keys, its identity, its log", "One root of five: three, with the public token, "
            has += "sign whatever is wanted. By itself: to refuse."
            if files[name]:
                what = f"shares/{token.id[:8]}…, sealed by its element; {what}"
                has = "One share of five, with the root that opens it: three of five sign whatever is wanted. Without "
                has += "the root, as where that is in a module: nothing."
            stores.append(
                counted(
                    f"{name}, {SITES[name]}", what, [house.files(name)], has, "a share, sealed" if files[name] else ""
                )
            )
        adds = f"{len(sizes)} files, {sum(sizes)} bytes in all: one at each holder, for as long as the key lives."
        nothing = "Nothing: what five agents hold, logs aside, is byte for byte what it was."
        return AtRest(
            tuple(stores),
            sum(store.bytes for store in stores),
            FORMS,
            None,
            adds if sizes else nothing,
            (
                "Elements are software here, so that roots are files; in a module they are not.",
                "Nobody has ever had this key or another's share. That a new key changes no other file of an agent's, "
                "logs aside, was compared byte for byte; `make residue` looks at memory.",
            ),
        )

    # Insider compromise.

    def _can_take(self, has: frozenset[str]) -> bool:
        # The caller's process never has the key.
        return self._opens(has)

    def insider(self) -> Insider:
        parties = self._parties()
        deeds = {"use": self._can_use, "exfiltrate": self._can_take, "destroy": self._can_destroy}
        found = coalitions.of_each(parties, deeds)
        thieves = fewest_agents(found["exfiltrate"])
        carried = [
            self._steal_the_name(),
            self._take_sites(thieves.members),
            self._take_sites(thieves.members[:1]),
            self._retire(),
        ]
        if self._model == "mpc":
            carried.insert(3, self._take_shares())
        words = (
            "exfiltrate means to sign for good with nobody asked, as was done; three operators could compute "
            "the key from their shares, which no verb of an agent's does, and which was not done."
        )
        return coalitions.insider(parties, found, carried, [words])

    def _take_shares(self) -> Carried:
        """Every holder's disk but for what its element keeps."""
        house = self._house
        begin = time.perf_counter()
        folder = house.folder / "thief-of-shares"
        folder.mkdir()
        home = Home.at(folder / "home")
        home.root.mkdir(mode=0o700)
        _, _, thief = _core.create_identity(str(home.identity))
        running = house.steal(SEATED, folder / "agents", thief, elements=False)
        ids = {agent.name: agent.id for agent in house.agents}
        try:
            agents = [Agent(name, ids[name], of.address) for name, of in running.items()]
            with Client(home.root, agents=agents, deadline=10.0) as client:
                client.sign(self._token, b"pay the thief", self.suite)
            got, succeeded = "any signature", True
        except EvanesceError as e:
            got, succeeded = f"nothing: no other element opens a share ({e.code})", False
        finally:
            for one in running.values():
                one.stop()
        return Carried(
            "exfiltrate",
            ("every holder's share file and identity, without its element",),
            got,
            succeeded,
            "nothing: no agent of the victims was asked",
            time.perf_counter() - begin,
        )

    # Latency and crypto-agility.

    def latency(self) -> Latency:
        house = self._house
        other = operations.other_suite(self.suite)
        tokens = {self.suite: self._token, other: self._make("other", other)}
        arrangement = (
            "3 of 5, agents embedded in the caller's process, software elements, 64-byte messages, both rounds of each "
            "signature, without prepared nonces"
        )
        return operations.latency(
            self._sandbox, house.caller, house.agents, tokens, arrangement, {"signature": self.suite}
        )

    def agility(self) -> Agility:
        house = self._house
        return operations.agility_of_shares(house.caller, house.agents, self.suite, self._make)
