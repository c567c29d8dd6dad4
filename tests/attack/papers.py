"""What is signed and passes by: grants, approvals, proofs and orders, as two corrupt agents are shown them, and whoever
looks into the folder in which people approve."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cbor2
from attacked import CORRUPT, Attack, until_well
from independent import Token as Decoded
from independent import th
from loot import key_in
from machines import PATIENCE, Machine, Quorum
from rogue import Rogues, Shown
from service import Service
from speaking import Session, spki

from evanesce import Client, EvanesceError, Grant, Token

COUNT = 2
"""Operations that each agent permits under the grant."""


@dataclass
class Papers:
    """All that was signed, who signed it, and what for."""

    attack: Attack
    rogues: Rogues
    clerk: Machine
    """Asks, through the reconstructor, for what the CFO must approve."""
    bot: Machine
    """A delegate of the caller's."""
    insider: Machine
    """Somebody whom the agents know as a caller and a reconstructor, and whom no policy permits anything: who helps."""
    approved: Path
    granted: Path
    frozen: Path
    grant: Path
    revoked: Path
    """Another grant, which was taken back."""
    unspent: list[bytes] = field(default_factory=list)
    """Approvals that nobody has come with yet."""
    waiting: str = ""
    """The request that they are of."""
    shared: Path = Path()

    @property
    def shown(self) -> list[Shown]:
        return [shown for rogue in self.rogues.each for shown in rogue.shown]

    @property
    def orders(self) -> list[dict[str, Any]]:
        return [order for rogue in self.rogues.each for order in rogue.orders]

    def rows(self, shown: Shown) -> list[dict[str, Any]]:
        """Every seat's of the token, which is public: a corrupt agent was shown its own alone."""
        (token,) = {cbor2.loads(request)["token"] for request in shown.opening["requests"]}
        known = (Decoded.decode(path.read_bytes()) for path in (self.approved, self.granted))
        (rows,) = (each.rows for each in known if each.id == token)
        return [
            {"seat": seat, "epoch": epoch, "holder": holder, "correction": correction}
            for seat, (holder, epoch, correction, _) in enumerate(rows)
        ]

    def sessions(self) -> Iterator[Session]:
        """The insider's, with each honest agent."""
        key = key_in(self.insider.home / "identity.key")
        for agent in self.attack.honest:
            with Session(agent.address, bytes.fromhex(agent.id), key) as session:
                yield session

    def pay(self, amount: int) -> bool:
        """Whether the delegate, under its grant, gets a signature."""
        with Client(self.bot.home, grant=Grant.load(self.grant), deadline=10) as client:
            try:
                client.sign_payload(Token.load(self.granted, trust_token=True), {"amount": amount}, "ed25519")
            except EvanesceError:
                return False
        return True


@contextmanager
def written(attack: Attack, folder: Path) -> Iterator[Papers]:
    """All of it, with two rogues in the corrupt agents' places. Afterwards these are as they were."""
    quorum, caller = attack.quorum, attack.caller
    people = {name: Machine(folder / name) for name in ("clerk", "bot", "insider", "cfo")}
    for machine in people.values():
        machine.run("identity", "init")
        quorum.tell(machine)
    cfo = people.pop("cfo")
    service = Service(folder / "crucible", quorum, admit=False)
    _admit(
        quorum,
        {
            "clerk": (_id(people["clerk"]), ["caller"]),
            "bot": (_id(people["bot"]), ["caller", "reconstructor"]),
            "insider": (_id(people["insider"]), ["caller", "reconstructor"]),
            "crucible": (service.caller_id, ["reconstructor"]),
        },
    )
    policies = {
        "approved": f'@approvers("cfo = {_id(cfo)}") permit(principal == Caller::"clerk", '
        'action == Action::"sign", resource) when { context.approvals.count >= 1 };',
        "granted": '@delegable("1") @payload("{ amount: Long }") permit(principal == Caller::"caller", '
        'action == Action::"sign", resource) when { context.payload.amount <= 1000 };',
        "frozen": "",
    }
    tokens = {}
    for name, text in policies.items():
        policy = folder / f"{name}.cedar"
        policy.write_text(text)
        words = ("--suite", "ed25519", "--out", folder / f"{name}.regen")
        caller.run("key", "create", name, *words, *(("--policy", policy) if text else ()))
        tokens[name] = folder / f"{name}.regen"
    service.allow("clerk", _id(people["clerk"]))
    grants = [folder / "bot.grant", folder / "revoked.grant"]
    for grant in grants:
        words = ("--to", _id(people["bot"]), "--action", "sign", "--bound", "amount<=100", "--expires", "1h")
        caller.run("grant", "create", tokens["granted"], *words, "--count", str(COUNT), "--out", grant)
    quorum.end(*CORRUPT)
    try:
        with Rogues(attack.loot.taken) as rogues:
            service.start()
            try:
                service.tell(people["clerk"])
                papers = Papers(attack, rogues, *people.values(), *tokens.values(), *grants)
                _ask(papers, cfo, folder / "shared")
                _order(papers)
                yield papers
            finally:
                service.end()
    finally:
        quorum.start(*CORRUPT)
        until_well(quorum)


def _id(machine: Machine) -> str:
    return th("caller", spki(key_in(machine.home / "identity.key"))).hex()


def _admit(quorum: Quorum, people: dict[str, tuple[str, list[str]]]) -> None:
    """Lets every agent know these, all at once: name → caller id and roles."""
    stanzas = "".join(
        f'\n[[identity]]\nname = "{name}"\nid = "{caller_id}"\nroles = {json.dumps(roles)}\ngroups = []\n'
        for name, (caller_id, roles) in people.items()
    )
    for agent in quorum.agents.values():
        known = agent.folder / "known.toml"
        new = known.with_suffix(".new")
        new.write_text(known.read_text() + stanzas)
        new.chmod(0o600)
        new.rename(known)
        assert agent.process is not None
        agent.process.send_signal(signal.SIGHUP)


def _ask(papers: Papers, cfo: Machine, shared: Path) -> None:
    """Approved operations until a corrupt agent was shown one; then one that was approved and is not done yet."""
    clerk, papers.shared = papers.clerk, shared
    words = ("--suite", "ed25519", "--folder", shared, "--trust-token", "--json")
    deadline = time.monotonic() + PATIENCE
    while not any(shown.evidence["approvals"] and shown.evidence["proof"] for shown in papers.shown):
        assert time.monotonic() < deadline, "no corrupt agent is asked"
        asked = clerk.run("request", papers.approved, "-m", "pay", *words).json
        cfo.run("approve", asked["folder"], "--yes")
        clerk.run("wait", asked["id"], "--folder", shared, "--out", clerk.home / "signature")
        (clerk.home / "signature").unlink()
    asked = clerk.run("request", papers.approved, "-m", "pay again", *words).json
    cfo.run("approve", asked["folder"], "--yes")
    papers.waiting = asked["id"]
    papers.unspent = [path.read_bytes() for path in Path(asked["folder"]).glob("*.approval")]
    assert papers.unspent and json.loads((Path(asked["folder"]) / "request.json").read_text())
    while not any(shown.evidence["grants"] for shown in papers.shown):
        assert time.monotonic() < deadline, "no corrupt agent is asked under a grant"
        # A new connection each time, so that it asks whoever comes first.
        with Client(papers.bot.home, grant=Grant.load(papers.grant), deadline=2) as client:
            try:
                client.sign_payload(Token.load(papers.granted, trust_token=True), {"amount": 101}, "ed25519")
            except EvanesceError:
                continue


def _order(papers: Papers) -> None:
    """Frozen, thawed, and frozen again; and a grant is taken back."""
    caller = papers.attack.caller
    for command in ("freeze", "thaw", "freeze"):
        caller.try_("key", command, papers.frozen)
    caller.try_("grant", "revoke", papers.revoked)
    assert len(papers.orders) == 3 * len(CORRUPT)
    assert all(len(rogue.revocations) == 1 for rogue in papers.rogues.each)
    shutil.copy(papers.frozen, caller.home / "frozen.regen")
