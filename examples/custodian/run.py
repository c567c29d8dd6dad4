"""A custodian of digital assets: an MPC cluster whose share store is removed in place. The Taproot address stays, and
so do its signatures; above a limit the CFO and compliance approve. See README.md.

    .venv/bin/python examples/custodian/run.py
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import taproot
from deployment import Deployment, Machine, deployment, refusal, require, show, step

from evanesce import Client, Token
from evanesce.home import Agent

OPERATORS = ("custodian", "trustee", "bank")
QUORUM = "2 of (custodian, trustee, bank)"
PAYEE = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"
"""The first receiving address of BIP-86, of this output key:"""
PAYEE_KEY = "a60869f0dbcf1dc659c9cecbaf8050135ea9e8cdc487053f1dc6880949dc684c"


def main() -> None:
    began = time.monotonic()
    with deployment() as world:
        step("1. What there is: an MPC cluster of three operators, each with an HSM and a share of the treasury's key.")
        operators = {name: world.machine(name) for name in OPERATORS}
        agents = [machine.agent(site=name, administrator=name) for name, machine in operators.items()]
        office = world.machine("office")
        furnish(office, agents, list(operators.values()))
        terms = ("--policy", "custody.cedar", "--quorum", QUORUM)
        model = ("--model", "mpc", "--suite", "frost-secp256k1-tr")
        old = office.run("operations", "key", "create", "treasury", *model, *terms)["token"]
        key, address = keys(office, "treasury.regen", old)
        require(taproot.address(bytes.fromhex(PAYEE_KEY)) == PAYEE, "another address than BIP-86 has")
        show(f"its address: {address}")
        store = shares(world)
        require(len(store) == len(OPERATORS), f"a share store of {store}")
        show(f"its share store: {', '.join(store)}")

        step("2. It signs a withdrawal.")
        before = withdraw(office, "treasury.regen", old, 25_000_000)
        require(taproot.verify(key, *before), "a signature that no wallet accepts")
        require(not taproot.verify(key, before[0] + b" ", before[1]), "a verifier that accepts anything")
        show("0.25 BTC signed by the desk alone; a BIP-340 verifier accepts it")

        step("3. The share store is removed: new shares, which nobody stores, of the same key.")
        to = ("--model", "regen-mpc", "--out", "operations/tokens/regenerated.regen", "--revoke-old")
        done = office.run("operations", "key", "refresh-shares", "operations/tokens/treasury.regen", *to)
        require(done["removed"] == len(OPERATORS) and done["revoked"], f"{done}")
        require(shares(world) == [], f"shares that are left: {shares(world)}")
        new = done["token"]
        show(
            f"{done['removed']} shares removed, once all had signed that they regenerate theirs; the old token is dead"
        )
        require(keys(office, "regenerated.regen", new) == (key, address), "another key")
        show(f"the address is what it was: {address}")
        after = withdraw(office, "regenerated.regen", new, 25_000_000)
        require(taproot.verify(key, *after), "a signature that no wallet accepts")
        require(after[0] == before[0], "another message")
        show("the same withdrawal, signed again: under the same key the same verifier accepts it")
        code = refusal(lambda: withdraw(office, "treasury.regen", old, 25_000_000))
        require(code == "refused", f"the old token signs: {code}")
        show("under the old token: refused")

        step("4. Above the limit: the CFO and compliance look at this very withdrawal.")
        code = refusal(lambda: withdraw(office, "regenerated.regen", new, 250_000_000))
        require(code == "refused", f"no approval is needed: {code}")
        show("2.5 BTC by the desk alone: refused, by every operator")
        signed = approved(office, new)
        require(taproot.verify(key, *signed), "a signature that no wallet accepts")
        show("with both: signed")

        step("5. An operator is down, and then another one.")
        operators["bank"].stop()
        later = withdraw(office, "regenerated.regen", new, 1_000)
        require(taproot.verify(key, *later), "a signature that no wallet accepts")
        show("two of three sign")
        operators["trustee"].stop()
        code = refusal(lambda: withdraw(office, "regenerated.regen", new, 1_000))
        require(code == "quorum-not-met", f"one operator is enough: {code}")
        show("one alone: quorum-not-met")
    print(f"\nDone in {time.monotonic() - began:.1f} s.")


def furnish(office: Machine, agents: list[Agent], operators: list[Machine]) -> None:
    """People of the custodian, each with an identity of their own, whom the operators let be known; the policy."""
    ids = {name: office.identity(name) for name in ("operations", "desk", "cfo", "compliance")}
    quorum = "\n".join(agent.stanza() for agent in agents)
    for home in ids:
        office.write(f"{home}/quorum.toml", quorum)
    for operator in operators:
        operator.allow("operations", ids["operations"], "caller minter")
        operator.allow("desk", ids["desk"], "caller")
    policy = (HERE / "custody.cedar").read_text()
    for name in ("cfo", "compliance"):
        policy = policy.replace(f"= {name.upper()}", f"= {ids[name]}")
    office.write("custody.cedar", policy)
    office.write("large.json", json.dumps(withdrawal(250_000_000)))


def withdrawal(amount: int) -> dict[str, str | int]:
    """What the operators read."""
    return {"type": "withdrawal", "amount": amount, "to": PAYEE, "client": "client-17"}


def keys(office: Machine, file: str, pin: str) -> tuple[bytes, str]:
    """A token's Taproot output key, and its address."""
    key = Token.load(office.disk / "operations/tokens" / file, pin=pin).public_key(form="der")[-32:]
    return key, taproot.address(key)


def shares(world: Deployment) -> list[str]:
    """The share files of all operators."""
    found = (path for name in OPERATORS for path in world.machines[name].disk.glob("agent/shares/*"))
    return sorted(f"{path.relative_to(world.folder).parts[0]}/shares/{path.name[:8]}…" for path in found)


def withdraw(office: Machine, file: str, pin: str, amount: int) -> tuple[bytes, bytes]:
    """The desk has a withdrawal signed: what was signed, and the signature."""
    token = Token.load(office.disk / "operations/tokens" / file, pin=pin)
    with Client(office.disk / "desk", deadline=10.0) as client:
        signed = client.sign_payload(token, withdrawal(amount))
    return signed.message or b"", signed.value


def approved(office: Machine, pin: str) -> tuple[bytes, bytes]:
    """A large withdrawal, by the desk and those who have to approve it; with one of them it is not signed."""
    where = ("--folder", "requests")
    asked = ("operations/tokens/regenerated.regen", "--pin", pin, "--payload", "large.json", *where)
    request = office.run("desk", "request", *asked)["id"]
    office.run("cfo", "approve", request, "--yes", *where)
    code = office.refused("desk", "wait", request, "--timeout", "1", *where)
    require(code in ("not-approved", "refused"), f"the CFO alone: {code}")
    office.run("compliance", "approve", request, "--yes", *where)
    office.run("desk", "wait", request, "--out", "large.sig", *where)
    message = json.dumps(withdrawal(250_000_000), sort_keys=True, separators=(",", ":")).encode()
    return message, (office.disk / "large.sig").read_bytes()


if __name__ == "__main__":
    os.umask(0o077)
    main()
