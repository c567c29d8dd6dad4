"""A fintech without legacy: three recovery agents from day one, payments that the agents read, customers' data under
data keys that are stored nowhere, and the loss of a whole site. See README.md.

    .venv/bin/python examples/fintech/run.py
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from customers import Customers
from deployment import PIN, Deployment, Machine, deployment, refusal, require, show, step

from evanesce import Client, Signature, Token, verify
from evanesce.home import Agent

CREDITOR = {"name": "Alice", "account": "DE89370400440532013000"}
PEOPLE = {f"customer-{number:02}": f"IBAN DE02 1203 0000 0000 20{number:02} 51".encode() for number in range(20)}
KEYS = ("payments", "customers")


def main() -> None:
    began = time.monotonic()
    with deployment() as world:
        bucket = world.folder / "bucket"
        bucket.mkdir()

        step("1. Day one: three sites, each with an agent whose root is in an HSM of its own.")
        sites = {name: world.machine(name) for name in ("north", "south", "east")}
        agents = [sites[name].agent(site=name, administrator=f"{name} team") for name in sites]
        south = sites["south"]
        furnish(south, agents, list(sites.values()))

        step("2. Two keys. What their policies say is tried first, then minted into their tokens for good.")
        handbook = mint(south)
        for name in KEYS:
            shutil.copy(south.disk / f"operations/tokens/{name}.regen", bucket)
        show(
            f"backup: {', '.join(sorted(path.name for path in bucket.iterdir()))}: public, and all there is of the keys"
        )

        step("3. Payments: every agent reads what is signed.")
        first = pay(south, handbook)

        step("4. Customers' data: a data key for each, there while it is used.")
        with application(south, handbook) as (client, tokens), customers(client, tokens, south.disk) as table:
            for customer, iban in PEOPLE.items():
                table.put(customer, "iban", iban)
            gone = table.get("customer-19", "iban")
            table.forget("customer-19")
            require(gone == PEOPLE["customer-19"], "a row that does not decrypt")
            try:
                table.get("customer-19", "iban")
                raise SystemExit("This should not be: a customer who was forgotten can be read")
            except KeyError:
                show(f"{len(PEOPLE)} customers written; one forgotten: the salt is gone, and with it the data key")
            # What a backup job does; no key is in it.
            shutil.copy(south.disk / "customers.db", bucket)
            require(at_rest(world, table) == 0, "a data key is on a disk")
            show(f"no data key of {len(PEOPLE) - 1} is on any disk of {len(world.machines)} machines")

        step("5. The site south burns down: agent, HSM, reconstructor, application, everybody's identities there.")
        south.lose()
        show("left: north, east, the bucket, and the token ids in the handbook")

        step("6. A bare machine in the west becomes the new site.")
        lost = time.monotonic()
        west = world.machine("west")
        agents.append(west.agent(site="west", administrator="west team"))
        for name in ("north", "east"):
            for caller in ("operations", "app", "crucible"):
                sites[name].forget(caller)
        furnish(west, agents, [sites["north"], sites["east"], west])
        for name in KEYS:
            source = ("--from", f"../bucket/{name}.regen", "--pin", handbook[name])
            west.run("operations", "key", "restore", f"regen:{name}", *source)
        west.run("operations", "key", "repair", "operations/tokens", "--lost", "south", "--to", "west")
        drilled = west.run("operations", "quorum", "drill", "operations/tokens", "--open")
        require(drilled["verdict"] == "ok" and drilled["opened"] and len(drilled["tokens"]) == len(KEYS), f"{drilled}")
        shutil.copy(bucket / "customers.db", west.disk)
        took = time.monotonic() - lost
        show(f"repaired and drilled in {took:.1f} s: every seat answers, one more site may be lost")

        step("7. North goes, too: the new agent is one of the two that are left.")
        sites["north"].stop()
        with application(west, handbook) as (client, tokens), customers(client, tokens, west.disk) as table:
            kept = {customer: iban for customer, iban in PEOPLE.items() if customer != "customer-19"}
            require(all(table.get(customer, "iban") == iban for customer, iban in kept.items()), "data that is lost")
            show(f"all data of {len(kept)} customers decrypts")
            payment = {"type": "payment", "amount": 4_200, "currency": "EUR", "creditor": CREDITOR}
            again = client.sign_payload(tokens["payments"], payment)
            public = Token.load(bucket / "payments.regen", pin=handbook["payments"])
            verify(public, first.message or b"", first)
            verify(public, again.message or b"", again)
            show("payments of before and after verify under one public key")

        step("8. East too: one agent, one HSM. That is what a thief of one site has.")
        sites["east"].stop()
        with application(west, handbook) as (client, tokens):
            code = refusal(lambda: client.derive(tokens["customers"], b"customer-01", deadline=1.0))
            require(code == "quorum-not-met", f"one agent is enough: {code}")
            show("nothing opens: quorum-not-met")
    print(f"\nDone in {time.monotonic() - began:.1f} s.")


def furnish(site: Machine, agents: list[Agent], asked: list[Machine]) -> None:
    """Makes a site that works with keys of a machine: operations, who make and heal keys; the application, which is
    only a caller; and the reconstructor that works for it. The operators of the agents asked let them be known."""
    operations, app = site.identity("operations"), site.identity("app")
    crucible, stanza = site.reconstructor(agents, {"app": app})
    quorum = "\n".join(agent.stanza() for agent in agents)
    site.write("operations/quorum.toml", quorum)
    site.write("app/quorum.toml", f"{quorum}\n{stanza}")
    for machine in asked:
        machine.allow("operations", operations, "caller minter reconstructor", group="operations")
        machine.allow("app", app, "caller", group="app")
        machine.allow("crucible", crucible, "reconstructor")


def mint(site: Machine) -> dict[str, str]:
    """Both keys, by operations; the token ids, as they are written down."""
    for name in (*(f"{key}.cedar" for key in KEYS), "payments.cases.toml"):
        shutil.copy(HERE / name, site.disk)
    site.run("operations", "policy", "test", "payments.cedar", "payments.cases.toml")
    handbook = {}
    for name, suite in zip(KEYS, ("ed25519", "hkdf-sha256"), strict=True):
        terms = ("--suite", suite, "--policy", f"{name}.cedar", "--quorum", "2 of (north, south, east)")
        handbook[name] = str(site.run("operations", "key", "create", name, *terms)["token"])
    return handbook


def pay(site: Machine, handbook: dict[str, str]) -> Signature:
    """A payment within the policy, and what is refused."""
    payment = {"type": "payment", "amount": 12_500, "currency": "EUR", "creditor": CREDITOR}
    with application(site, handbook) as (client, tokens):
        key = tokens["payments"]
        signed = client.sign_payload(key, payment)
        verify(key, signed.message or b"", signed)
        show(f"125.00 EUR signed; {len(signed.receipts)} agents wrote it down, and signed that they did")
        for what, ask in (
            ("100,000.00 EUR", lambda: client.sign_payload(key, payment | {"amount": 10_000_000})),
            ("a digest that could be of anything", lambda: client.sign(key, b"pay what I say")),
        ):
            code = refusal(ask)
            require(code == "refused", f"{what}: {code}")
            show(f"{what}: refused, by every agent")
    code = site.refused("operations", "sign", "payments", "--message", "pay me")
    require(code == "refused", f"operations can sign: {code}")
    return signed


@contextmanager
def application(site: Machine, handbook: dict[str, str]) -> Iterator[tuple[Client, dict[str, Token]]]:
    """The application of a site, which this process plays: its client, and the tokens as their ids prove them."""
    folder = site.disk / "operations/tokens"
    with Client(site.disk / "app", deadline=10.0) as client:
        yield client, {name: Token.load(folder / f"{name}.regen", pin=handbook[name]) for name in KEYS}


@contextmanager
def customers(client: Client, tokens: dict[str, Token], disk: Path) -> Iterator[Customers]:
    """Its table."""
    with closing(Customers(disk / "customers.db", client, tokens["customers"])) as table:
        yield table


def at_rest(world: Deployment, table: Customers) -> int:
    """How many customers' data keys are in a file anywhere."""
    require(len(world.holding(PIN.encode())) == len(world.machines), "a scan that misses the PIN files")
    found = 0
    for customer in table.known():
        with table.data_key(customer) as key:
            found += bool(world.holding(key))
    return found


if __name__ == "__main__":
    os.umask(0o077)
    main()
