"""With two agents' identities and log keys: no receipt of an honest agent, and no way to take back what they wrote."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import cbor2
import pytest
from attacked import CORRUPT, Attack, until_well
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from independent import th
from loot import Taken
from machines import Machine

from evanesce import EvanesceError
from evanesce.results import Receipt

DASH = "\N{EM DASH}"


@dataclass(frozen=True)
class Forged:
    """A receipt in parts (docs/agent-api.md)."""

    agent: bytes
    agent_spki: bytes
    log_key: bytes
    endorsement: bytes
    entry: bytes
    index: int
    path: list[bytes]
    checkpoint: str

    @classmethod
    def of(cls, data: bytes) -> Self:
        return cls(**cbor2.loads(data))

    def encode(self) -> bytes:
        return cbor2.dumps(vars(self), canonical=True)

    def holds(self) -> bool:
        try:
            Receipt.decode(self.encode()).verify()
        except EvanesceError:
            return False
        return True

    def with_entry(self, **changes: Any) -> Forged:
        return replace(self, entry=cbor2.dumps(cbor2.loads(self.entry) | changes, canonical=True))

    def in_a_log_of(self, key: Ed25519PrivateKey, origin: bytes) -> Forged:
        """Alone in a log that this key signs under that agent's name."""
        root = hashlib.sha256(b"\0" + self.entry).digest()
        name = f"evanesce/{origin.hex()}"
        body = f"{name}\n1\n{base64.b64encode(root).decode()}\n"
        public = raw(key)
        hint = hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]
        signature = base64.b64encode(hint + key.sign(body.encode())).decode()
        return replace(self, index=0, path=[], checkpoint=f"{body}\n{DASH} {name} {signature}\n")


def raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def spki(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def by(taken: Taken, like: Forged, origin: bytes) -> Forged:
    """All that a corrupt agent can sign, as if it were this one."""
    log_key = raw(taken.log_key)
    endorsement = taken.identity.sign(th("log-key", origin, log_key))
    made = replace(like, agent_spki=spki(taken.identity), log_key=log_key, endorsement=endorsement)
    return replace(made.in_a_log_of(taken.log_key, origin), agent=origin)


@pytest.fixture(scope="module")
def seen(attack: Attack) -> dict[str, Forged]:
    """A receipt of each agent's, from its callers."""
    names = {agent.id: name for name, agent in attack.quorum.agents.items()}
    found = {}
    for path in attack.loot.receipts:
        for row in json.loads(path.read_text())["receipts"]:
            found[names[row["agent"]]] = Forged.of(base64.b64decode(row["receipt"]))
    assert set(CORRUPT) & set(found) and set(found) - set(CORRUPT), "contributed by both kinds"
    return found


@pytest.fixture
def genuine(seen: dict[str, Forged]) -> Forged:
    """An honest agent's."""
    return next(receipt for name, receipt in seen.items() if name not in CORRUPT)


def forgeries(attack: Attack, genuine: Forged) -> Iterator[tuple[str, Forged]]:
    """Everything that these keys and that receipt can be made into."""
    honest = genuine.agent
    for taken in attack.loot.taken:
        mine = by(taken, genuine, honest)
        yield "signed by another identity", mine
        yield "the honest key, another's endorsement", replace(mine, agent_spki=genuine.agent_spki)
        yield (
            "the honest endorsement, another's log",
            replace(mine, agent_spki=genuine.agent_spki, endorsement=genuine.endorsement),
        )
        theirs = replace(genuine, **{k: getattr(mine, k) for k in ("index", "path", "checkpoint")})
        yield "the honest log's key, a checkpoint of another", theirs
        own = by(taken, genuine.with_entry(agent=taken.id), taken.id)
        yield (
            "an entry in another's name in its own log",
            replace(own, entry=genuine.entry).in_a_log_of(taken.log_key, taken.id),
        )
        for name in ("agent", "agent_spki", "log_key", "endorsement", "checkpoint"):
            yield f"another's {name}", replace(genuine, **{name: getattr(own, name)})
    for changes in (
        {"caller": bytes(32)},
        {"caller_name": "cfo"},
        {"time": 1},
        {"code": "refused", "reason": "no"},
        {"token": attack.loot.tokens["other"].id},
        {"operations": []},
        {"seats": [0, 1, 2, 3, 4]},
        {"basis": {"uses": None, "grants": [bytes(32)], "approvals": [], "reconstructor": bytes(32)}},
    ):
        yield f"another {next(iter(changes))}", genuine.with_entry(**changes)
        # And the tree of the same height in which it would be.
        leaf = hashlib.sha256(b"\0" + genuine.with_entry(**changes).entry).digest()
        yield "another leaf", replace(genuine.with_entry(**changes), path=[leaf, *genuine.path[1:]])
    yield "another place", replace(genuine, index=genuine.index + 1)
    yield "no path", replace(genuine, path=[])


def test_no_receipt_of_an_honest_agent_can_be_made(attack: Attack, genuine: Forged) -> None:
    assert genuine.holds()
    tried = 0
    for what, forged in forgeries(attack, genuine):
        if forged == genuine:
            continue
        tried += 1
        assert not forged.holds(), what
    assert tried > 30


def test_every_flipped_bit_shows(genuine: Forged) -> None:
    data = genuine.encode()
    for place in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        try:
            Receipt.decode(bytes(flipped)).verify()
        except EvanesceError:
            continue
        pytest.fail(f"bit {place} of {len(data) * 8}")


def test_in_its_own_name_a_corrupt_agent_says_what_it_likes(attack: Attack, seen: dict[str, Forged]) -> None:
    """The same hands make receipts that verify, in the names of those whose keys they hold: keys are what counts."""
    for taken in attack.loot.taken:
        like = next(iter(seen.values())).with_entry(agent=taken.id, caller_name="nobody")
        assert by(taken, like, taken.id).holds()


def test_an_auditor_is_not_taken_in(attack: Attack, genuine: Forged, tmp_path: Path) -> None:
    """Nor by a quorum of receipts of which the corrupt agents' are good."""
    auditor = Machine(tmp_path / "auditor")
    attack.quorum.tell(auditor)
    taken, honest = attack.loot.taken, [bytes.fromhex(agent.id) for agent in attack.honest]
    token = attack.files["before"]
    rows = [by(one, genuine.with_entry(agent=one.id, seats=[place]), one.id) for place, one in enumerate(taken)]
    document = tmp_path / "forged.json"

    def write(receipts: list[Forged]) -> None:
        encoded = [{"receipt": base64.b64encode(each.encode()).decode()} for each in receipts]
        document.write_text(json.dumps({"receipts": encoded, "salts": []}))

    write(rows)
    (found,) = auditor.run("audit", "verify", document, "--token", token, "--json").json["receipts"]
    assert found["sufficient"] is False, "two are no quorum"
    write([*rows, by(taken[0], genuine.with_entry(agent=honest[0]), honest[0])])
    auditor.fail(2, "receipt-invalid", "audit", "verify", document, "--token", token)
    # An identity of its own making is nobody's whom the auditor knows.
    invented = Ed25519PrivateKey.generate()
    mine = th("agent", spki(invented))
    made = replace(
        genuine.with_entry(agent=mine, seats=[2]).in_a_log_of(invented, mine),
        agent=mine,
        agent_spki=spki(invented),
        log_key=raw(invented),
        endorsement=invented.sign(th("log-key", mine, raw(invented))),
    )
    assert made.holds(), "by itself"
    write([*rows, made])
    auditor.fail(2, "receipt-invalid", "audit", "verify", document, "--token", token)


def test_what_a_corrupt_agent_wrote_it_cannot_take_back(attack: Attack, tmp_path: Path) -> None:
    """Its log, rolled back and led on otherwise under its own key: receipts, exports and witnesses contradict it."""
    agent, caller = attack.quorum.agents[CORRUPT[1]], attack.caller
    auditor = Machine(tmp_path / "auditor")
    attack.quorum.tell(auditor)
    token, early, witness = tmp_path / "k.regen", tmp_path / "early.json", ("--key", tmp_path / "w.key", "--name", "w")
    # A key that is this agent's alone, so that its word is among the receipts.
    caller.run("key", "create", "k", "--suite", "ed25519", "--quorum", f"1 of ({agent.name})", "--out", token)
    agent.end()
    shutil.copytree(agent.folder / "log", tmp_path / "copy")
    agent.start()
    until_well(attack.quorum, agent.name)
    caller.run("sign", token, "-m", "what is to be hidden", "--receipts", early, "--out", tmp_path / "s1")
    agent.end()
    seen = tmp_path / "seen"
    auditor.run("agent", "log", "export", agent.folder, seen)
    auditor.run("audit", "witness", *witness, "--create-key", seen, "--log-key", seen / "vkey")
    auditor.run("audit", "verify", early, "--log", seen)

    # Hidden: the log ends before it. Its peers would notice, so it has none.
    shutil.copytree(agent.folder, tmp_path / "newest")
    (agent.folder / "peers.toml").unlink()
    shutil.rmtree(agent.folder / "log")
    shutil.copytree(tmp_path / "copy", agent.folder / "log")
    auditor.fail(2, "log-invalid", "agent", "log", "export", agent.folder, seen)
    short = tmp_path / "short"
    auditor.run("agent", "log", "export", agent.folder, short)
    auditor.fail(2, "log-invalid", "audit", "witness", *witness, short)
    beyond = auditor.try_("audit", "reconcile", short, "--seen", early, "--json").json
    assert beyond["beyond"] and not beyond["matched"]

    # Replaced by something else.
    agent.start()
    caller.run("sign", token, "-m", "something harmless", "--out", tmp_path / "s2")
    agent.end()
    other = tmp_path / "other"
    auditor.run("agent", "log", "export", agent.folder, other)
    auditor.fail(2, "log-invalid", "audit", "verify", early, "--log", other)
    auditor.fail(2, "log-invalid", "audit", "witness", *witness, other)
    missing = auditor.try_("audit", "reconcile", other, "--seen", early, "--json")
    assert missing.status == 2 and missing.json["missing"]
    shutil.rmtree(agent.folder)
    shutil.move(tmp_path / "newest", agent.folder)
    agent.start()
    until_well(attack.quorum, agent.name)
