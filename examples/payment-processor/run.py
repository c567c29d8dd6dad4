"""A payment processor: an HSM cluster that MACs transactions at line rate under short-lived working keys, whose root is
in no HSM and on no disk. See README.md.

    .venv/bin/python examples/payment-processor/run.py
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from deployment import PIN, Deployment, Machine, deployment, require, show, step
from flow import AuthorisationHost, Terminal, Transaction

from evanesce import Client, EvanesceError, Key, Signature, Token, verify
from evanesce.custody.working import context
from evanesce.home import Agent

CLUSTER = ("a", "b")
TOKENS = (*CLUSTER, "terminal")
WORKING = "t4711"
"""The label of the working key that terminal 4711 and the cluster share."""
BATCH = 20_000


def main() -> None:
    began = time.monotonic()
    with deployment() as world:
        step("1. Three sites with a recovery agent each, and a switch with two HSMs; the terminal has its own module.")
        sites = {name: world.machine(name) for name in ("north", "south", "east")}
        agents = [sites[name].agent(site=name, administrator=f"{name} team") for name in sites]
        switch = world.machine("switch")
        officer = people(switch, agents, list(sites.values()))

        step("2. The root of working keys, minted by the quorum: it is in none of the HSMs.")
        for name in ("mac-root.cedar", "settlement.cedar"):
            shutil.copy(HERE / name, switch.disk)
        terms = ("--policy", "mac-root.cedar", "--quorum", "2 of (north, south, east)")
        root = switch.run("operations", "key", "create", "mac-root", "--suite", "hkdf-sha256", *terms)["token"]
        source = ("--from", "operations/tokens/mac-root.regen", "--pin", root)
        switch.run("officer", "key", "restore", "regen:mac-root", *source)
        terms = ("--policy", "settlement.cedar", "--quorum", "2 of (north, south, east)")
        settlement = switch.run("operations", "key", "create", "settlement", "--suite", "ecdsa-p256", *terms)["token"]

        step("3. The first working key, in every token of the cluster and in the terminal.")
        first = renew(switch)
        found = switch.run("officer", "key", "describe", f"hsm:a/{WORKING}")
        require(found["non_extractable"] and found["can_be_backed_up"] == "never", f"a key that leaves: {found}")
        show(f"version {first}; hsm:a says of it: sensitive, non-extractable")

        # This process plays the terminal and the authorisation host, each with a client of its own.
        os.environ |= switch.environment
        with Client(switch.disk / "terminal") as at_terminal, Client(switch.disk / "host") as at_host:
            host = AuthorisationHost(at_host, [f"hsm:{name}/{WORKING}" for name in CLUSTER])
            terminal = Terminal(at_terminal, f"hsm:terminal/{WORKING}")

            step("4. One transaction: MACed in the terminal, verified in the cluster, the answer verified.")
            transaction = terminal.pay(4_200)
            answer = host.authorise(transaction)
            terminal.accept(transaction, answer)
            show(f"{transaction.text.decode()} under version {transaction.version}: {answer.text.decode()}")
            try:
                host.authorise(
                    Transaction(transaction.text.replace(b"4200", b"4100"), transaction.version, transaction.mac)
                )
                raise SystemExit("This should not be: a transaction that was changed is authorised")
            except EvanesceError as e:
                require(e.code == "invalid-signature", str(e))
                show("with another amount: invalid-signature")

            step(f"5. Line rate: {BATCH} MACs, both HSMs at work, no quorum asked.")
            show(f"{line_rate(at_host):,.0f} MACs a second on this machine (SoftHSM)")

            step("6. A renewal while terminals pay: the old key and the new one are good at once.")
            during = traffic(switch, host, terminal)
            require(set(during) == {first, first + 1}, f"{during}")
            show(f"{sum(during.values())} payments, none refused; by version: {dict(during)}")

            step("7. The next renewal ends the first key. Who still has it signs on again.")
            renew(switch)
            try:
                host.authorise(transaction)
                raise SystemExit("This should not be: a version that is over verifies")
            except EvanesceError as e:
                # As the token was asked before for this version, or not.
                require(e.code in ("element", "not-found"), str(e))
            terminal.sign_on()
            late = terminal.pay(900)
            terminal.accept(late, host.authorise(late))
            require(late.version == first + 2, f"version {late.version}")
            show(f"version {first} is gone from all tokens; the terminal pays under version {late.version}")

            step("8. Settlement: the file's digest and what it comes to are shown to every agent, and signed.")
            signed = settle(switch, host, settlement)
            show(f"{(signed.message or b'').decode()}: signed, {len(signed.receipts)} receipts")

            step("9. What is at rest.")
            require(at_rest(world, officer, first + 2) == 0, "a working key is on a disk in the clear")
            show("no working key is in a file of any machine in the clear; HSMs have theirs, the root is nowhere")
    print(f"\nDone in {time.monotonic() - began:.1f} s.")


def people(switch: Machine, agents: list[Agent], asked: list[Machine]) -> Path:
    """Sets up the switch: its HSM tokens, and a home folder for each who works with keys there; the officer's."""
    module = switch.hsm(*TOKENS)
    for home, tokens in (("officer", TOKENS), ("host", CLUSTER), ("terminal", ("terminal",))):
        entries = [
            f'[[hsm]]\nname = "{name}"\nmodule = "{module}"\ntoken = "{name}"\npin = {{ file = "../pin" }}\n'
            for name in tokens
        ]
        switch.write(f"{home}/hsm.toml", "\n".join(entries))
    operations, officer, clearing = (switch.identity(home) for home in ("operations", "officer", "clearing"))
    crucible, stanza = switch.reconstructor(agents, {"clearing": clearing})
    quorum = "\n".join(agent.stanza() for agent in agents)
    switch.write("operations/quorum.toml", quorum)
    switch.write("officer/quorum.toml", quorum)
    switch.write("clearing/quorum.toml", f"{quorum}\n{stanza}")
    for machine in asked:
        machine.allow("operations", operations, "caller minter reconstructor")
        machine.allow("key-officer", officer, "caller reconstructor")
        machine.allow("clearing", clearing, "caller")
        machine.allow("crucible", crucible, "reconstructor")
    return switch.disk / "officer"


def renew(switch: Machine) -> int:
    """The one command of the recipe, from cron in earnest; the version that is the newest now."""
    keys = [f"hsm:{name}/{WORKING}" for name in TOKENS]
    return int(switch.run("officer", "key", "renew", *keys, "--root", "mac-root")["version"])


def line_rate(client: Client) -> float:
    """MACs a second, by all tokens of the cluster at once."""
    messages = [b"%012d;terminal 4711" % number for number in range(BATCH // len(CLUSTER))]
    keys = [client.custody.key(f"hsm:{name}/{WORKING}") for name in CLUSTER]
    for key in keys:
        client.mac_many(key, messages[:10])

    def work(key: Key | Token) -> list[bytes]:
        return client.mac_many(key, messages).values

    with ThreadPoolExecutor(len(keys)) as pool:
        begin = time.perf_counter()
        found = list(pool.map(work, keys))
        took = time.perf_counter() - begin
    require(found[0] == found[1] and len(set(found[0])) == len(messages), "HSMs of one cluster that differ")
    return BATCH / took


def traffic(switch: Machine, host: AuthorisationHost, terminal: Terminal) -> Counter[int]:
    """Payments without a pause while the working key is renewed, by a terminal that signed on before and by one that
    signs on afterwards: how many were made under each version. The first that fails ends the run."""
    over = threading.Event()
    versions: Counter[int] = Counter()

    def pay(payer: Terminal) -> None:
        transaction = payer.pay(100)
        answer = host.authorise(transaction)
        payer.accept(transaction, answer)
        require(not answer.refused, f"{transaction} is refused")
        versions[transaction.version] += 1

    def pay_on() -> None:
        while not over.is_set():
            pay(terminal)

    with ThreadPoolExecutor(1) as pool:
        paying = pool.submit(pay_on)
        try:
            renew(switch)
            with Client(switch.disk / "terminal") as another:
                newer = Terminal(another, terminal.key)
                for _ in range(50):
                    pay(newer)
        finally:
            over.set()
        paying.result()
    return versions


def settle(switch: Machine, host: AuthorisationHost, pin: str) -> Signature:
    """The day's file, signed by what it comes to. Raises what the agents refuse."""
    lines = [transaction.decode() for transaction in host.book]
    file = switch.write("settlement.txt", "\n".join(lines) + "\n")
    total = sum(json.loads(line)["amount"] for line in lines)
    payload = {
        "type": "settlement",
        "day": time.strftime("%Y-%m-%d", time.gmtime()),
        "count": len(lines),
        "total": total,
        "currency": "EUR",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    token = Token.load(switch.disk / "operations/tokens/settlement.regen", pin=pin)
    with Client(switch.disk / "clearing", deadline=10.0) as client:
        signed = client.sign_payload(token, payload)
        verify(token, signed.message or b"", signed)
        try:
            client.sign_payload(token, payload | {"total": 500_000_001})
            raise SystemExit("This should not be: more than a day's worth is signed")
        except EvanesceError as e:
            require(e.code == "refused", str(e))
            show("more than a day's worth: refused, by every agent")
    return signed


def at_rest(world: Deployment, officer: Path, version: int) -> int:
    """In how many files a working key is; it is derived once more for that, by the officer."""
    require(len(world.holding(PIN.encode())) == len(world.machines), "a scan that misses the PIN files")
    key = bytearray(32)
    with Client(officer, deadline=10.0) as client:
        root = client.custody.key("regen:mac-root")
        with client.derive(root, context(WORKING, version, "hmac-sha256")) as secret:
            secret.into(key)
        mac = client.mac(f"hsm:a/{WORKING}", b"the same key").value
        require(hmac.compare_digest(hmac.new(key, b"the same key", "sha256").digest(), mac), "not the HSMs' key")
    found = len(world.holding(key))
    key[:] = bytes(len(key))
    return found


if __name__ == "__main__":
    os.umask(0o077)
    main()
