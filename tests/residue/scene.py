"""What a run's processes are given: tokens, keys to import, a plan; what happens to them while they work; and what is
secret about all of it."""

from __future__ import annotations

import base64
import json
import secrets
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from . import canaries, dealing, together, vault
from .canaries import MATERIAL, Canary, Deal
from .conformance import Gate
from .dealing import Holder
from .household import EPOCHS, Failed, Household, private

AGENTS = 6
"""Five, and the doomed one."""
DOOMED = "agent-6"
"""Sits only in tokens of its own, and is killed on the way."""
STOPPED = ("agent-1", "agent-2", "agent-3")
"""Agents that stand still for a while: too few others are left."""
LEAST_OPERATIONS = 200
LEAST_FAILURES = {"refused": 1, "expired": 1, "inconsistent": 2, "decryption-failed": 5, "quorum-not-met": 20}
"""Failures by code without which the workload was not what it should be."""
_FIRST = ("operate", "mint", "heal", "asynchronous", "refused", "through", "make_together", "renew_working")
"""Phases with every agent alive."""
_IMPORTS = {
    "hmac": ["hmac-sha256"],
    "hmac-long": ["hmac-sha512"],
    "aes": ["aes-256-gcm"],
    "xaes": ["xaes-256-gcm"],
    "cmac": ["aes-cmac"],
    "hkdf": ["hkdf-sha256"],
    "ed25519": ["ed25519"],
    "ecdsa": ["ecdsa-p256"],
    "rsa-sign": ["rsa-pss-sha256", "rsa-pkcs1-sha256"],
    "rsa-oaep": ["rsa-oaep-sha256"],
}
"""Name → suites, the first of which says what kind of key it is."""


class Scene:
    """Of one run, in one household."""

    def __init__(self, household: Household) -> None:
        self._household = household
        self._folder = household.folder / "import"
        self._folder.mkdir()
        self._made = household.folder / "vault" / vault.MADE
        self._messages = [secrets.token_bytes(40) for _ in range(3)]
        self._deals: list[Deal] = []
        self._together: set[str] = set()
        self.canaries = list(household.canaries())
        self.counts: Counter[str] = Counter()

    def prepare(self, nobody: bytes) -> None:
        """Tokens, keys to import, and the plan that says where they are."""
        self._deal_tokens(nobody)
        plan = {
            "messages": [message.hex() for message in self._messages],
            "tokens": str(self._household.tokens),
            "together": str(self._household.together),
            "suites": list(MATERIAL),
            "imports": [
                {"name": name, "suites": suites, "path": str(self._import(name, suites[0]))}
                for name, suites in _IMPORTS.items()
            ],
            "bad imports": list(self._bad_imports()),
            "stranger": str(self._household.stranger),
            "clerk": str(self._household.clerk),
            "working": {
                "key": f"hsm:{vault.NAME}/{vault.LABEL}",
                "root": vault.ROOT,
                "renewals": vault.RENEWALS,
                "made": str(self._made),
            },
        }
        (self._household.folder / "plan.json").write_text(json.dumps(plan))

    def work(self) -> None:
        """The phases, with what happens to agents between them. Files with keys to import are removed
        once they were imported."""
        agents = {agent.name: agent for agent in self._household.agents}
        for phase in _FIRST:
            self.phase(phase)
        # What is kept of these keys is removed in the next phase, and the secrets that it gives away with it.
        self.canaries += self.of_together()
        self.phase("turn_together")
        self.canaries += self.of_together()
        for path in self._folder.iterdir():
            path.unlink()
        for name in STOPPED:
            agents[name].send(signal.SIGSTOP)
        try:
            self.phase("hasty")
        finally:
            for name in STOPPED:
                agents[name].send(signal.SIGCONT)
        agents[DOOMED].end()
        self.phase("dead")
        self.phase("fork")

    def require_enough(self) -> None:
        """Raises `Failed` unless the workload was what it should be."""
        operations = sum(count for what, count in self.counts.items() if not what.startswith("error "))
        if operations < LEAST_OPERATIONS:
            raise Failed(f"only {operations} operations were done")
        for code, least in LEAST_FAILURES.items():
            if self.counts[f"error {code}"] < least:
                raise Failed(f"{code}: only {self.counts[f'error {code}']} failures; {dict(self.counts)}")

    def phase(self, phase: str) -> None:
        self.counts.update(self._household.caller.ask(do="work", phase=phase)["counts"])

    def of_minted(self) -> Iterator[Canary]:
        """What is secret about the tokens that the product minted, and those dealt here."""
        roots = self._household.roots()
        dealt = {deal.name for deal in self._deals} | set(self._also_dealt)
        for path in sorted(self._household.tokens.iterdir()):
            if path.stem not in dealt:
                armored = path.read_text().splitlines()
                data = base64.b64decode("".join(line for line in armored if line and "-----" not in line))
                self._deals.append(canaries.regenerated(path.stem, data, roots))
        for deal in self._deals:
            yield from canaries.of_deal(deal, roots, self._messages)
            if deal.name == vault.ROOT:
                yield from vault.of_root(deal, self._messages[0], self._made.read_bytes())

    def of_together(self) -> Iterator[Canary]:
        """What is secret about the keys that are never put together, of all tokens of them that there are so far."""
        roots = self._household.roots()
        for path in sorted(self._household.together.iterdir()):
            if path.stem not in self._together:
                self._together.add(path.stem)
                data, id_ = together.load(path)
                yield from together.of_token(path.stem, data, roots, together.kept_by(self._household.agents, id_))

    def at_rest(self) -> Iterator[Canary]:
        """What the models that keep something say that they keep."""
        _, id_ = together.load(self._household.together / "resting.regen")
        yield from together.at_rest("resting", self._household.agents, id_)
        yield from vault.at_rest(self._household.vault)

    # Tokens dealt here.

    _also_dealt = ("altered", "altered-a-little")

    def _deal_tokens(self, nobody: bytes) -> None:
        agents = self._household.agents
        old, new = ({agent.name: agent.holder(epoch) for agent in agents} for epoch in EPOCHS)
        five = [f"agent-{number}" for number in range(1, 6)]
        flat, nested = Gate(3, tuple(five)), Gate(2, (*five[:2], Gate(2, tuple(five[2:]))))
        everything = list(MATERIAL)
        few = ["ed25519", "hmac-sha256", "aes-256-gcm", "hkdf-sha256"]
        only_sign = 'permit(principal, action == Action::"sign", resource);'
        whole = self._dealt("flat", flat, old, everything)
        self._dealt("nested", nested, new, everything)
        self._dealt("guarded", flat, new, few, policy=only_sign)
        self._dealt("expired", flat, new, few, expires=int(time.time()) - 10)
        fresh, _ = dealing.deal("dishonest", flat, new, few)
        self._save(*dealing.dishonest(fresh, [new[name] for name in five]))
        self._write("altered", dealing.altered(whole, range(5)))
        self._write("altered-a-little", dealing.altered(whole, [0]))
        dead = {DOOMED: new[DOOMED], "agent-0": Holder(nobody, 1, secrets.token_bytes(32))}
        dead["stranger"] = Holder(secrets.token_bytes(32), 1, secrets.token_bytes(32))
        few = ["ed25519", "ml-kem-768"]
        self._dealt("with the dead", Gate(3, (*dead, *five[:3])), dead | new, few)
        self._dealt("of the dead", Gate(3, (*dead, "agent-1")), dead | new, few)

    def _dealt(self, name: str, gate: Gate, holders: dict[str, Holder], suites: Sequence[str], **more: Any) -> Deal:
        made, data = dealing.deal(name, gate, holders, suites, **more)
        self._save(made, data)
        return made

    def _save(self, made: Deal, data: bytes) -> None:
        self._deals.append(made)
        self._write(made.name, data)

    def _write(self, name: str, data: bytes) -> None:
        (self._household.tokens / f"{name}.regen").write_bytes(data)

    # Keys to import.

    def _import(self, name: str, suite: str) -> Path:
        """A fresh key for this suite, in a file of its own."""
        path = self._folder / name
        if suite.startswith("rsa"):
            key = rsa.generate_private_key(65537, 2048)
            numbers = key.private_numbers()
            self.canaries += canaries.of_rsa(name, numbers.d, numbers.p, numbers.q)
            private(path, _pkcs8(key, pem=suite == "rsa-oaep-sha256"))
        elif suite == "ed25519":
            seed = secrets.token_bytes(32)
            self.canaries += canaries.of_import(name, suite, seed)
            private(path, _pkcs8(ed25519.Ed25519PrivateKey.from_private_bytes(seed), pem=True))
        elif suite in canaries.ORDERS:
            scalar = 1 + secrets.randbelow(canaries.ORDERS[suite] - 1)
            self.canaries += canaries.of_import(name, suite, scalar.to_bytes(32, "big"))
            private(path, _pkcs8(ec.derive_private_key(scalar, ec.SECP256R1()), pem=False))
        else:
            secret = secrets.token_bytes(200 if suite == "hmac-sha512" else 32)
            self.canaries += canaries.of_import(name, suite, secret)
            private(path, secret)
        return path

    def _bad_imports(self) -> Iterator[dict[str, Any]]:
        """Keys that are refused, and must be forgotten all the same."""
        seed, short, others, readable = (secrets.token_bytes(length) for length in (32, 31, 32, 32))
        whole = _pkcs8(ed25519.Ed25519PrivateKey.from_private_bytes(seed), pem=False)
        armored = _pkcs8(ed25519.Ed25519PrivateKey.from_private_bytes(others), pem=True)
        for name, suite, content, secret in (
            ("cut off", "ed25519", whole[:-1], seed[:-1]),
            ("too short", "aes-256-gcm", short, short),
            ("of another algorithm", "ecdsa-p256", armored, others),
            ("readable by others", "hmac-sha256", readable, readable),
        ):
            self.canaries.append(Canary(f"refused import, {name}", secret))
            path = self._folder / f"bad, {name}"
            private(path, content)
            if name.startswith("readable"):
                path.chmod(0o644)
            yield {"suites": [suite], "path": str(path)}


def _pkcs8(key: Any, *, pem: bool) -> bytes:
    encoding = serialization.Encoding.PEM if pem else serialization.Encoding.DER
    data: bytes = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return data
