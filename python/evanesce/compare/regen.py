"""regen, measured: a quorum of embedded agents, its storage, its coalitions, its speed, and what a lost site costs
it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Self

from evanesce import Client, EvanesceError, Token, _core, verify
from evanesce.compare import coalitions, operations
from evanesce.compare.coalitions import Party
from evanesce.compare.operations import MEASURED, MESSAGE
from evanesce.compare.quorum import OPERATORS, QUORUM, SEATED, SITES, SPARE, Household
from evanesce.compare.results import Agility, AtRest, Carried, Coalition, Insider, Latency, Recovery, Step
from evanesce.compare.search import FORMS, search
from evanesce.compare.stores import searched
from evanesce.compare.subject import CannotMeasure, Sandbox, Subject, must
from evanesce.home import Agent, Home


def subject(sandbox: Sandbox) -> Subject:
    """See `evanesce.compare.subject`."""
    if sandbox.home is not None:
        from evanesce.compare.own import OwnQuorum

        return OwnQuorum(sandbox, sandbox.home)
    return Regen(sandbox)


class Regen:
    """regen over a household of agents."""

    title = "keys that a quorum regenerates for one operation"
    suite = "ed25519"
    """In which it signs, where any will do."""
    loot = "any signature, under any algorithm, for good: the key"
    """What whoever has enough of the elements has."""
    kept_beforehand = "Nothing secret. The public token, {size} bytes, anywhere."

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._house = Household(sandbox.folder)

    def __enter__(self) -> Self:
        try:
            self._house.__enter__()
        except EvanesceError as e:
            raise CannotMeasure(f"its agents do not start: {e.message}") from None
        self._set_up()
        return self

    def __exit__(self, *_: object) -> None:
        self._house.__exit__()

    def _set_up(self) -> None:
        self._token = self._house.mint("compared", MEASURED)

    def _make(self, name: str) -> Token:
        """Another key, in the same suite."""
        return self._house.mint(name, [self.suite])

    # Material at rest.

    def at_rest(self) -> AtRest:
        house = self._house
        before = self._held()
        key = secrets.token_bytes(32)
        written = house.folder / "imported"
        written.touch(mode=0o600)
        written.write_bytes(key)
        with house.client(house.minter) as client:
            token = client.import_key("searched", ["hmac-sha256"], written, quorum=QUORUM)
        written.unlink()
        house.deliver("searched", token)
        with house.client(house.caller) as client:
            for number in range(20):
                message = b"%d" % number
                # That it is the key that is searched for.
                must(
                    client.mac(token, message).value == hmac.digest(key, message, "sha256"), "the MAC is another key's"
                )
        unchanged = self._held() == before
        stores = [
            searched(
                "the token", "the regen token, public", key, [Home.at(house.caller).token("searched")], "Nothing."
            ),
            searched(
                "the caller's home",
                "its identity, whom it asks, tokens, pins",
                key,
                [house.caller],
                "The caller's name: what the policy permits it, until the agents are told. No key.",
            ),
        ]
        for name in SEATED:
            stores.append(
                searched(
                    f"{name}, {SITES[name]}",
                    "a root for all keys, its identity, its log",
                    key,
                    [house.files(name)],
                    "One root of five: three and the public token are the key. By itself: to refuse.",
                )
            )
        control = house.folder / "control"
        control.write_text(f"key = {key[4:20].hex()}\n")
        found = search(key, [control]).hits > 0
        control.unlink()
        return AtRest(
            tuple(stores),
            sum(store.bytes for store in stores),
            FORMS,
            found,
            "Nothing: what five agents hold, logs aside, is byte for byte what it was."
            if unchanged
            else "More than nothing: files of agents, logs aside, have changed.",
            (
                "Elements are software here, so that roots are files; in a module they are not.",
                "The token carries the imported key sealed under what the quorum regenerates. Shares are not known "
                "outside of locked memory, so this search cannot look for them; `make residue` does.",
            ),
        )

    def _held(self) -> dict[str, str]:
        """Digests of all that the seated agents hold, their logs aside."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for name in SEATED
            for path in sorted(self._house.files(name).rglob("*"))
            if path.is_file() and "log" not in path.relative_to(self._house.files(name)).parts
        }

    # Insider compromise.

    def insider(self) -> Insider:
        parties = self._parties()
        deeds = {"use": self._can_use, "exfiltrate": self._can_take, "destroy": self._can_destroy}
        found = coalitions.of_each(parties, deeds)
        thieves = fewest_agents(found["exfiltrate"])
        carried = (
            self._steal_the_name(),
            self._take_sites(thieves.members),
            self._take_sites(thieves.members[:1]),
            self._retire(),
        )
        why = (
            "it takes code in the victim's process during an operation, while the key is in its locked memory; "
            "`make residue` reads there after operations, in an audit build, and finds nothing left"
        )
        return coalitions.insider(parties, found, carried, [], {"exfiltrate": why})

    def _parties(self) -> list[Party]:
        parties = [Party("the caller's identity", "caller", frozenset({"as:caller"}))]
        parties.append(Party("code in the caller's process", "caller", frozenset({"as:caller", "in:caller"})))
        parties.append(Party("the minter's identity", "minter", frozenset({"as:caller", "as:minter"})))
        for site in dict.fromkeys(SITES[name] for name in SEATED):
            here = frozenset(name for name in SEATED if SITES[name] == site)
            parties.append(Party(f"site {site}", "site", here))
        parties += [Party(OPERATORS[name], "operator", frozenset({name})) for name in SEATED]
        return parties

    def _can_use(self, has: frozenset[str]) -> bool:
        return "as:caller" in has or self._opens(has)

    def _can_take(self, has: frozenset[str]) -> bool:
        return "in:caller" in has or self._opens(has)

    def _can_destroy(self, has: frozenset[str]) -> bool:
        return "as:minter" in has or not self._opens(frozenset(SEATED) - has)

    def _opens(self, has: frozenset[str]) -> bool:
        """Whether these agents' elements open the token, by its own formula."""
        names = {agent.id: agent.name for agent in self._house.agents}
        live = [names[seat.holder_id] in has for seat in self._token.seats]
        losses, _ = self._token.core.margins(live, [])
        return losses > 0

    def _steal_the_name(self) -> Carried:
        """A copy of the caller's home, on another machine."""
        begin = time.perf_counter()
        copy = self._house.folder / "stolen-home"
        shutil.copytree(self._house.caller, copy)
        with Client(copy, deadline=10.0) as client:
            token = Token.load(Home.at(copy).token("compared"), trust_token=True)
            signature = client.sign(token, b"pay the thief", self.suite)
        verify(self._token, b"pay the thief", signature)
        agents = len({receipt.agent for receipt in signature.receipts if receipt.verify()["code"] == "done"})
        return Carried(
            "use",
            ("the caller's identity",),
            "a signature that verifies, as often as the policy permits it",
            True,
            f"{agents} agents have it in their logs, in the caller's name, with a receipt each",
            time.perf_counter() - begin,
        )

    def _take_sites(self, sites: tuple[str, ...]) -> Carried:
        """Copies of these sites' agents, run by the thief for the thief."""
        house = self._house
        begin = time.perf_counter()
        names = _at(sites)
        folder = house.folder / f"thief-{len(names)}"
        folder.mkdir()
        home = Home.at(folder / "home")
        home.root.mkdir(mode=0o700)
        _, _, thief = _core.create_identity(str(home.identity))
        before = {name: house.log_bytes(name) for name in SEATED}
        running = house.steal(names, folder / "agents", thief)
        ids = {agent.name: agent.id for agent in house.agents}
        try:
            agents = [Agent(name, ids[name], of.address) for name, of in running.items()]
            with Client(home.root, agents=agents, deadline=10.0) as client:
                signature = client.sign(self._token, b"pay the thief", self.suite)
            verify(self._token, b"pay the thief", signature)
            got, succeeded = self.loot, True
        except EvanesceError as e:
            got, succeeded = f"nothing: {e.code}", False
        finally:
            for one in running.values():
                one.stop()
        quiet = before == {name: house.log_bytes(name) for name in SEATED}
        must(quiet, "agents that were not asked have logged something")
        return Carried(
            "exfiltrate",
            sites,
            f"{got} ({len(names)} of 5 elements, and the public token)",
            succeeded,
            "nothing: no agent of the victims was asked" if succeeded else "nothing, and there was nothing to see",
            time.perf_counter() - begin,
        )

    def _retire(self) -> Carried:
        """A key of its own, ended by the minter's identity."""
        house = self._house
        token = self._make("doomed")
        begin = time.perf_counter()
        copy = house.folder / "stolen-minter"
        shutil.copytree(house.minter, copy)
        with Client(copy, deadline=10.0) as client:
            retired = client.retire(token)
        gone = False
        with house.client(house.caller) as client:
            try:
                client.sign(token, MESSAGE, self.suite)
            except EvanesceError:
                gone = True
        return Carried(
            "destroy",
            ("the minter's identity",),
            "the key cannot be used any more, by anybody, for good",
            retired.dead and gone,
            f"{len(retired.receipts)} agents have it in their logs, in the minter's name",
            time.perf_counter() - begin,
        )

    # Latency and crypto-agility, as of any quorum.

    def latency(self) -> Latency:
        house = self._house
        arrangement = "3 of 5, agents embedded in the caller's process, software elements, 64-byte messages"
        return operations.latency(
            self._sandbox, house.caller, house.agents, dict.fromkeys(MEASURED, self._token), arrangement
        )

    def agility(self) -> Agility:
        house = self._house

        def mint(name: str, suites: list[str]) -> Token:
            return house.mint(name, suites)

        return operations.agility(house.caller, house.agents, self._token, mint)

    # Backup and recovery.

    def recovery(self) -> Recovery:
        house = self._house
        lost = [name for name in SEATED if SITES[name] == "north"]
        size = len(self._token.encode())
        steps = []
        with house.client(house.caller) as client:
            verify(self._token, MESSAGE, client.sign(self._token, MESSAGE, self.suite))
            house.quorum.stop(lost)
            begin = time.perf_counter()
            verify(self._token, MESSAGE, client.sign(self._token, MESSAGE, self.suite))
            steps.append(Step("the next signature, with the site gone", time.perf_counter() - begin, True))
        begin = time.perf_counter()
        steps.append(self._bare_machine(begin))
        steps += self._made_whole(lost)
        house.quorum.start(lost)
        return Recovery(
            f"site north: {len(lost)} of {len(SEATED)} agents, with their elements",
            tuple(steps),
            self.kept_beforehand.format(size=size),
        )

    def _made_whole(self, lost: Sequence[str]) -> list[Step]:
        """As many may be lost again as before."""
        house = self._house
        begin = time.perf_counter()
        token = self._token
        with house.client(house.minter) as client:
            for seat, agent in zip(lost, SPARE, strict=True):
                token = client.repair(token, seat, agent).token
        with house.client(house.caller) as client:
            well = client.check(token).ok
            verify(token, MESSAGE, client.sign(token, MESSAGE, self.suite))
        return [
            Step(
                f"{len(lost)} seats given to agents at another site, all seats asked",
                time.perf_counter() - begin,
                well,
                "full redundancy again; the same key, the same token id",
            )
        ]

    def _bare_machine(self, begin: float) -> Step:
        """A new process with nothing but an identity that the agents know, the quorum file and the token."""
        machine = self._house.folder / "bare"
        machine.mkdir(mode=0o700)
        for name in ("identity.key", "quorum.toml"):
            shutil.copy2(self._house.spare / name, machine / name)
        self._token.save(machine / "compared.regen")
        words = [
            sys.executable,
            "-m",
            "evanesce",
            "sign",
            "compared.regen",
            "--suite",
            self.suite,
            "-m",
            "again",
            "--json",
        ]
        environment = os.environ | {"EVANESCE_HOME": str(machine)}
        done = subprocess.run(words, cwd=machine, env=environment, capture_output=True, check=False, timeout=60)
        ok = done.returncode == 0 and "signature" in json.loads(done.stdout)
        took = time.perf_counter() - begin
        return Step("a signature on a bare machine, from starting a process", took, ok, "identity, quorum file, token")


def fewest_agents(found: Sequence[Coalition]) -> Coalition:
    """The smallest of sites alone that has the fewest of their agents."""
    sites = (one for one in found if set(one.kinds) == {"site"})
    return min(sites, key=lambda one: (len(one.members), len(_at(one.members))))


def _at(sites: Sequence[str]) -> list[str]:
    """The agents of these sites."""
    return [name for name in SEATED if f"site {SITES[name]}" in sites]
