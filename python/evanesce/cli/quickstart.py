"""`evanesce quickstart`: the whole idea, once through, on this machine, measured.

Five agents on loopback mint a key that is stored nowhere. It signs; it signs with two agents dead; with
three dead it is refused and they are named; and it signs on a "new machine", a new process with a new
identity and nothing but the public token. What is shown is done by the same calls that anyone's program
makes; each claim is checked as it is made, and the first that does not hold ends it as an error.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from evanesce import Client, EvanesceError, Secret, Token, _files, verify
from evanesce._text import printable
from evanesce.cli._app import App, Stopwatch, verb
from evanesce.cli._finish import contributors
from evanesce.errors import error
from evanesce.home import Home
from evanesce.testbed import EmbeddedQuorum

NAMES = tuple(f"agent-{number}" for number in range(1, 6))
SUITES = ("ed25519", "ml-dsa-65", "xaes-256-gcm")
MESSAGE = b"pay 100 to alice"
ROUNDS = 100
"""Signatures timed one after another."""


def register(root: click.Group) -> None:
    """Adds this verb."""
    verb(root)(quickstart)


@click.option("--keep", metavar="DIR", help="Leave everything there, to look at. [default: a temporary folder]")
def quickstart(app: App, keep: str | None) -> None:
    """See the whole idea once through, on this machine.

    A quorum mints a key that is stored nowhere, uses it, loses agents, refuses, and recovers. Everything
    happens on this machine, in one folder; nothing else is touched.
    """
    with _folder(keep) as folder:
        story = Story(app, folder)
        story.tell()
        if keep:
            story.line(f"Everything is left in {folder}.")
        app.emit({"ok": True, "steps": story.steps})


@contextlib.contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="evanesce-quickstart-") as name:
            yield Path(name)
        return
    path = Path(keep).absolute()
    if path.exists() and any(path.iterdir()):
        raise error("exists", f"{path} is not empty", "Name a new folder.")
    yield _files.folder(path)


class Story:
    """The steps, in order; what each found is kept in `steps`."""

    def __init__(self, app: App, folder: Path) -> None:
        self.app = app
        self.folder = folder
        self.steps: list[dict[str, Any]] = []
        self.old = Home(folder / "old-machine")
        self.new = Home(folder / "new-machine")

    def tell(self) -> None:
        with self.step("agents", "Five recovery agents start") as facts:
            quorum = self.set_up(facts)
        with quorum:
            with Client(self.old.root) as client:
                with self.step("mint", "They mint a key that is stored nowhere") as facts:
                    token = self.mint(client, quorum, facts)
                with self.step("sign", "It signs") as facts:
                    self.sign(client, token, facts)
                with self.step("hybrid", "One opening, two algorithms; and it encrypts") as facts:
                    self.more(client, token, facts)
                with self.step("two-dead", "Two agents die: it goes on") as facts:
                    quorum.stop(NAMES[:2])
                    self.line(f"stopped {', '.join(NAMES[:2])}")
                    self.sign_once(client, token, facts)
                with self.step("three-dead", "Three agents dead: it is refused, and they are named") as facts:
                    quorum.stop(NAMES[2:3])
                    self.line(f"stopped {NAMES[2]} too")
                    self.refused(client, token, facts)
            with self.step("new-machine", "The agents are back; the old machine is gone for good") as facts:
                quorum.start()
                self.recover(quorum, token, facts)
            with self.step("check", "Every seat is asked whether it can still do its part") as facts:
                self.check(token, facts)
        with self.step("at-rest", "What is at rest now") as facts:
            self.at_rest(token, facts)
        self.honest_end()

    # The steps.

    def set_up(self, facts: dict[str, Any]) -> EmbeddedQuorum:
        quorum = EmbeddedQuorum(self.folder / "agents", NAMES)
        for home in (self.old, self.new):
            quorum.admit(home.root.name, home.root)
        quorum.start()
        facts["agents"] = [{"name": agent.name, "id": agent.id, "address": agent.address} for agent in quorum.agents]
        for agent in quorum.agents:
            self.line(f"{agent.name}  {agent.address}  id {agent.id[:16]}…  software (development element)")
        self.line("Each has one root, in an element that only answers HMAC-SHA-256. They know two callers by key.")
        return quorum

    def mint(self, client: Client, quorum: EmbeddedQuorum, facts: dict[str, Any]) -> Token:
        before = self.held(quorum)
        watch = Stopwatch()
        token = client.create("payments", SUITES, quorum=f"3 of ({', '.join(NAMES)})")
        took = watch.milliseconds
        self.old.tokens.mkdir()
        token.save(self.old.token("payments"))
        self.must(self.held(quorum) == before, "an agent keeps something of the key")
        size = len(token.encode())
        facts |= {"token": token.id, "quorum": token.quorum, "suites": list(token.suites), "bytes": size}
        facts["milliseconds"] = round(took, 2)
        self.line(f"payments: {token.quorum}, as {', '.join(token.suites)}")
        self.line(f"{took:.1f} ms; the token is {size} bytes, all public. Its id: {token.id}")
        self.line("The agents' folders hold what they held before (their logs aside): nothing is kept per key.")
        return token

    def sign(self, client: Client, token: Token, facts: dict[str, Any]) -> None:
        self.sign_once(client, token, facts)
        times = []
        for _ in range(ROUNDS):
            watch = Stopwatch()
            client.sign(token, MESSAGE, "ed25519")
            times.append(watch.milliseconds)
        facts["median_milliseconds"] = round(statistics.median(times), 3)
        self.line(f"{ROUNDS} more, one after another: median {facts['median_milliseconds']:.2f} ms each")
        facts["openssl"] = self.ask_openssl(token, client.sign(token, MESSAGE, "ed25519").value)

    def sign_once(self, client: Client, token: Token, facts: dict[str, Any]) -> None:
        watch = Stopwatch()
        signature = client.sign(token, MESSAGE, "ed25519")
        took = watch.milliseconds
        verify(token, MESSAGE, signature)
        for receipt in signature.receipts:
            receipt.verify()
        known = {agent.id: agent.name for agent in client.agents}
        names = sorted(known.get(agent, agent) for agent in contributors(signature))
        facts |= {"milliseconds": round(took, 2), "signature": signature.value.hex(), "contributed": names}
        facts["faults"] = [str(fault) for fault in signature.faults]
        self.line(f"“{MESSAGE.decode()}” signed in {took:.2f} ms and verified; {', '.join(names)} contributed,")
        self.line("each with a receipt that verifies: log entry, Merkle path, signed checkpoint.")
        for fault in signature.faults:
            self.line(f"went on without {fault}", "yellow")

    def more(self, client: Client, token: Token, facts: dict[str, Any]) -> None:
        watch = Stopwatch()
        pair = client.sign_hybrid(token, MESSAGE)
        took = watch.milliseconds
        for signature in pair:
            verify(token, MESSAGE, signature)
        self.line(
            f"{' + '.join(s.suite for s in pair)} in {took:.2f} ms: {' + '.join(str(len(s.value)) for s in pair)} bytes"
        )
        watch = Stopwatch()
        ciphertext = client.encrypt(token, b"attack at dawn")
        with client.decrypt(token, ciphertext) as plaintext:
            self.must(self.equals(plaintext, b"attack at dawn"), "decryption brings something else")
        facts |= {"hybrid_milliseconds": round(took, 2), "encrypt_decrypt_milliseconds": round(watch.milliseconds, 2)}
        self.line(f"xaes-256-gcm: encrypted and decrypted in {watch}; the plaintext came as a handle on locked memory")
        self.line("Same seed, no further ceremony: the algorithm is a run-time choice.")

    def refused(self, client: Client, token: Token, facts: dict[str, Any]) -> None:
        watch = Stopwatch()
        try:
            client.sign(token, MESSAGE, "ed25519")
        except EvanesceError as e:
            took = watch.milliseconds
            named = sorted({culprit.holder for culprit in e.culprits})
            self.must(e.code == "quorum-not-met", f"the refusal is {e.code}")
            self.must(set(named) >= set(NAMES[:3]), f"the refusal names only {', '.join(named)}")
            facts |= {"milliseconds": round(took, 2), "error": e.as_dict()}
            for line in str(e).splitlines():
                self.line(line, "yellow")
            self.line(f"after {took:.1f} ms. Nothing was signed.")
            return
        self.must(False, "it signs with three of five agents dead")

    def recover(self, quorum: EmbeddedQuorum, token: Token, facts: dict[str, Any]) -> None:
        shutil.copyfile(self.old.token("payments"), self.new.root / "payments.regen")
        shutil.rmtree(self.old.root)
        self.line(f"running again: {', '.join(quorum.running)}; old machine deleted")
        there = sorted(path.name for path in self.new.root.iterdir())
        self.line(f"new machine, a new process: {', '.join(there)}. The identity is its own.")
        watch = Stopwatch()
        answer = self.elsewhere("sign", "payments.regen", "--suite", "ed25519", "-m", MESSAGE.decode())
        took = watch.milliseconds
        signature = base64.b64decode(answer["signature"])
        verify(token, MESSAGE, signature, "ed25519")
        facts |= {"files": there, "process_milliseconds": round(took, 1), "signature": signature.hex()}
        self.line(f"signed and verified: {took:.0f} ms from starting the process. That signature was the recovery.")

    def check(self, token: Token, facts: dict[str, Any]) -> None:
        answer = self.elsewhere("check", "payments.regen", "--open")
        facts |= {"ok": answer["ok"], "seats": answer["seats"]}
        if not self.app.json:
            table = Table("seat", "holder", "answer", "ms")
            for seat in answer["seats"]:
                took = "" if seat["milliseconds"] is None else f"{seat['milliseconds']:.1f}"
                table.add_row(*map(printable, (seat["seat"], seat["holder"], seat["verdict"], took)))
            self.app.out.print(table)
        self.must(bool(answer["ok"]), "a seat cannot do its part")
        self.line(f"{token.quorum}: all seats well; opened once, and the anchor is right")

    def at_rest(self, token: Token, facts: dict[str, Any]) -> None:
        files = {path.name: path.stat().st_size for path in sorted(self.new.root.iterdir()) if path.is_file()}
        facts |= {"new_machine": files, "token_bytes": len(token.encode())}
        for name, size in files.items():
            what = {
                "identity.key": "who may ask (private; no key depends on it)",
                "quorum.toml": "which agents to ask (public)",
                "payments.regen": "the regen token (public)",
                "pins": "which tokens to believe (public)",
            }.get(name, "")
            self.line(f"{name:<16}{size:>7} bytes  {what}")
        self.line("Each agent: one root, whatever the number of keys. Of the key itself: nothing, anywhere.")

    def honest_end(self) -> None:
        self.line("")
        self.line(
            "What this was: a demonstration arrangement. Software elements are development elements, whose roots", "dim"
        )
        self.line(
            "are files; and here one process held five agents, so whoever had it had a quorum. In earnest each", "dim"
        )
        self.line(
            "agent runs on a machine of its own, run by someone of their own, with an HSM: `evanesce agent init`.",
            "dim",
        )

    # Helpers.

    def elsewhere(self, *arguments: str) -> dict[str, Any]:
        """The command line in a new process on the new machine."""
        environment = os.environ | {"EVANESCE_HOME": str(self.new.root)}
        command = [sys.executable, "-m", "evanesce", *arguments, "--json"]
        done = subprocess.run(command, cwd=self.new.root, env=environment, capture_output=True, check=False)
        try:
            document: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise error("internal", "the new machine's process said nothing", "Run it with --keep and look.") from None
        if "error" in document:
            failure = document["error"]
            raise error(failure["code"], f"on the new machine: {failure['message']}", failure["hint"])
        return document

    def ask_openssl(self, token: Token, signature: bytes) -> bool | None:
        """Whether OpenSSL finds the signature right; None where there is no OpenSSL that could say."""
        openssl = shutil.which("openssl")
        if openssl is None:
            return None
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            at = Path(name)
            (at / "key").write_bytes(token.public_key("ed25519"))
            (at / "message").write_bytes(MESSAGE)
            (at / "signature").write_bytes(signature)
            command = [openssl, "pkeyutl", "-verify", "-pubin", "-inkey", "key", "-rawin", "-in", "message"]
            done = subprocess.run([*command, "-sigfile", "signature"], cwd=at, capture_output=True, check=False)
        if b"Verified Successfully" not in done.stdout + done.stderr:
            self.must(b"Verification Failure" not in done.stdout + done.stderr, "OpenSSL finds the signature wrong")
            return None
        self.line("OpenSSL finds the signature right, with the public key in the token.")
        return True

    def held(self, quorum: EmbeddedQuorum) -> dict[str, str]:
        """Digests of all that the agents hold, their logs aside."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for at in quorum.folders.values()
            for path in sorted(at.root.rglob("*"))
            if path.is_file() and "log" not in path.relative_to(at.root).parts
        }

    def equals(self, secret: Secret, expected: bytes) -> bool:
        buffer = bytearray(len(secret))
        secret.into(buffer)
        return buffer == expected

    def must(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise error("internal", f"the demonstration failed: {otherwise}", "Please report this.")

    @contextlib.contextmanager
    def step(self, name: str, title: str) -> Iterator[dict[str, Any]]:
        """One step: a headline, its facts, and a sign of life meanwhile."""
        if not self.app.json:
            self.app.out.print(Rule(Text(f"{len(self.steps) + 1}. {title}", style="bold"), align="left"))
        facts: dict[str, Any] = {"step": name}
        with self.busy(title):
            yield facts
        self.steps.append(facts)

    @contextlib.contextmanager
    def busy(self, title: str) -> Iterator[None]:
        # On the console that the lines go to, so that they appear above it.
        if self.app.json or not self.app.out.is_terminal:
            yield
            return
        with self.app.out.status(Text(title)):
            yield

    def line(self, text: str, style: str = "") -> None:
        if not self.app.json:
            self.app.out.print(Text(f"   {printable(text, limit=None)}", style=style), soft_wrap=True)
