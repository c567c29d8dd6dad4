"""What the caller does before it is searched: every kind of operation, and every way in which one can fail.

It works like a program of a user's: one blocking client used by threads, one on an event loop, results taken out of
their handles, exceptions caught, logged with their tracebacks and kept. Each phase answers with counts, by which
the harness sees that what should happen did. An outcome that was not expected ends the phase with an exception.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal

from evanesce import AsyncClient, Client, EvanesceError, Token, encapsulate, encrypt_to, verify
from evanesce.custody import renew

THREADS = 4
PATIENT = 20.0
"""Seconds for an operation that is to succeed: a busy machine is not an unreachable agent."""
HASTY = 0.15
"""Seconds for one that is not."""
ALL_OF_THEM = "5 of (agent-1, agent-2, agent-3, agent-4, agent-5)"
THREE_OF_FIVE = "3 of (agent-1, agent-2, agent-3, agent-4, agent-5)"
MODELS: tuple[Literal["regen-mpc", "mpc"], ...] = ("regen-mpc", "mpc")
NESTED = "2 of (agent-1, agent-2, 2 of (agent-3, agent-4, agent-5))"

log = logging.getLogger("workload")


class Workload:
    """The phases, by name."""

    def __init__(self, plan: Path) -> None:
        """`plan`: JSON; see `scene`."""
        logging.basicConfig(level=logging.DEBUG)
        self._plan: dict[str, Any] = json.loads(plan.read_text())
        self._messages = [bytes.fromhex(message) for message in self._plan["messages"]]
        self._client = Client(deadline=PATIENT)
        self._minted: dict[str, Token] = {}
        self._counts: Counter[str] = Counter()
        self._kept: list[object] = []
        self._held = -1

    def perform(self, phase: str) -> dict[str, Any]:
        """Counts: what succeeded by verb, what failed by code (`error …`)."""
        self._counts.clear()
        getattr(self, f"_{phase}")()
        return {"counts": dict(self._counts)}

    # Phases.

    def _operate(self) -> None:
        """Everything every suite can do, from several threads."""
        jobs: list[Callable[[], None]] = []
        for name in ("flat", "nested"):
            token = self._token(name)
            jobs += [self._using(token, suite) for suite in token.suites]
            jobs += [self._together(token), self._checks(token)]
        # Of these holders one is going to die; now its connection is up.
        jobs += [self._using(self._token("with the dead"), "ed25519")] * 3
        self._side_by_side(jobs)

    def _mint(self) -> None:
        """Keys minted and imported, used, and one retired."""
        suites = self._plan["suites"]
        for name, quorum in (("minted", THREE_OF_FIVE), ("minted-nested", NESTED)):
            self._minted[name] = self._client.create(name, suites, quorum=quorum)
            self._did("create")
        self._minted["short-lived"] = self._client.create("short-lived", ["ed25519", "hkdf-sha256"], quorum=ALL_OF_THEM)
        for imported in self._plan["imports"]:
            name = imported["name"]
            self._minted[name] = self._client.import_key(
                name, imported["suites"], imported["path"], quorum=THREE_OF_FIVE
            )
            self._did("import")
        for name, token in self._minted.items():
            token.save(Path(self._plan["tokens"]) / f"{name}.regen", armored=True)
        self._side_by_side(self._using(token, suite) for token in self._minted.values() for suite in token.suites)

    def _heal(self) -> None:
        """Keys minted anew, derived and imported, and seats given to other holders. What comes of it is saved, so that
        its seeds and shares are searched for."""
        client = self._client
        for name in ("flat", "nested"):
            old = self._token(name)
            refreshed = client.refresh(old, trust_token=True).token
            repaired = client.repair(refreshed, refreshed.seats[-1].name, "agent-1", even_if_it_sits=True).token
            self._healed(f"{name}-healed", repaired)
        for name, quorum in (("minted", NESTED), ("rsa-sign", THREE_OF_FIVE), ("hmac", NESTED)):
            self._healed(f"{name}-reshared", client.reshare(self._minted[name], quorum=quorum).token)

    def _healed(self, name: str, token: Token) -> None:
        token.save(Path(self._plan["tokens"]) / f"{name}.regen", armored=True)
        self._did("heal")
        for suite in token.suites:
            self._using(token, suite)()

    def _asynchronous(self) -> None:
        """Many operations at once on an event loop, some cancelled, some failing."""
        asyncio.run(self._at_once())

    async def _at_once(self) -> None:
        tokens = [self._token("flat"), self._token("nested"), self._minted["minted"]]
        async with AsyncClient(deadline=PATIENT) as client:
            for round_ in range(3):
                pending: list[Any] = []
                for token in tokens:
                    pending += [client.sign(token, self._some_message(), "ed25519") for _ in range(8)]
                    pending += [client.mac(token, secrets.token_bytes(100), "hmac-sha256") for _ in range(4)]
                    pending += [client.sign_hybrid(token, self._some_message(), ["ecdsa-p256", "ml-dsa-65"])]
                    pending += [client.derive(token, b"context", 64, "hkdf-sha256", trust_token=True)]
                    pending += [client.sign_many(token, self._messages, "ecdsa-p384")]
                pending.append(client.decrypt(tokens[0], secrets.token_bytes(60), suite="xaes-256-gcm"))
                dropped = [client.sign(tokens[0], b"nobody waits for this", "ed25519") for _ in range(4)]
                if round_:
                    await asyncio.sleep(0)
                for future in dropped:
                    future.cancel()
                for result in await asyncio.gather(*pending, return_exceptions=True):
                    if isinstance(result, EvanesceError):
                        self._failed(result)
                    elif isinstance(result, BaseException):
                        raise result
                    else:
                        self._did("async")
                        self._kept.append(result)
            # Left while something is under way: the client's end is not the operation's.
            abandoned = [client.sign(tokens[0], b"never mind", "ml-dsa-87") for _ in range(4)]
            await asyncio.sleep(0)
        for result in await asyncio.gather(*abandoned, return_exceptions=True):
            if isinstance(result, EvanesceError):
                self._failed(result)

    def _refused(self) -> None:
        """What policy, agents, tokens and arguments forbid."""
        client, flat = self._client, self._token("flat")
        guarded = self._token("guarded")
        self._using(guarded, "ed25519")()
        for suite in ("hmac-sha256", "aes-256-gcm", "hkdf-sha256"):
            self._must_fail({"refused", "quorum-not-met"}, self._using(guarded, suite))
        self._must_fail({"inconsistent"}, self._using(self._token("dishonest"), "ed25519"))
        self._must_fail({"inconsistent"}, lambda: client.check(self._token("dishonest"), open=True))
        self._must_fail({"expired"}, self._using(self._token("expired"), "ed25519"))
        self._must_fail({"token-altered", "quorum-not-met"}, self._using(self._token("altered"), "ed25519"))
        self._using(self._token("altered-a-little"), "ed25519")()
        self._must_fail({"suite-not-in-token"}, lambda: client.sign(guarded, b"x", "ecdsa-p384"))
        self._must_fail({"malformed"}, lambda: Token.decode(flat.encode()[:-1]))
        self._must_fail({"malformed"}, lambda: Token.decode(bytes(1000)))

        def trusting(verb: Callable[..., Any], *arguments: object) -> Callable[[], Any]:
            return lambda: verb(flat, *arguments, trust_token=True)

        for suite in ("hmac-sha256", "hmac-sha512", "aes-cmac"):
            self._must_fail({"invalid-signature"}, trusting(client.verify_mac, b"message", bytes(32), suite))
        for suite in ("aes-256-gcm", "xaes-256-gcm"):
            good = client.encrypt(flat, b"plaintext", b"aad", suite, trust_token=True).value
            bad = good[:-1] + bytes([good[-1] ^ 1])
            for codes, sealed, aad in (
                ({"decryption-failed"}, good, b"other"),
                ({"decryption-failed"}, bad, b"aad"),
                ({"bad-input", "decryption-failed"}, b"short", b"aad"),
            ):
                self._must_fail(codes, partial(client.decrypt, flat, sealed, aad, suite))
        for peer in (bytes(32), b"short", secrets.token_bytes(44)):
            self._must_fail({"bad-input"}, trusting(client.agree, peer, "x25519"))
        for suite, size in (("ml-kem-768", 1088), ("ml-kem-1024", 1568)):
            self._must_fail({"bad-input"}, partial(client.decapsulate, flat, bytes(100), suite))
            # A foreign ciphertext of the right size is no error (FIPS 203).
            with client.decapsulate(flat, secrets.token_bytes(size), suite) as secret:
                self._take(secret)
        signature = client.sign(flat, b"one", "ed25519")
        self._must_fail({"invalid-signature"}, lambda: verify(flat, b"other", signature, trust_token=True))
        rsa = self._minted["rsa-oaep"]
        for sealed in (secrets.token_bytes(256), bytes(10)):
            self._must_fail({"decryption-failed", "bad-input"}, partial(client.decrypt, rsa, sealed))
        for wrong in self._plan["bad imports"]:
            importing = partial(client.import_key, "bad", wrong["suites"], wrong["path"], quorum=THREE_OF_FIVE)
            self._must_fail(None, importing)
        nonsense = partial(client.create, "bad", ["ed25519"], quorum=NESTED, policy="permit(nonsense);")
        self._must_fail({"policy"}, nonsense)
        with Client(identity=self._plan["stranger"], deadline=PATIENT) as stranger:
            self._must_fail(None, lambda: stranger.sign(flat, b"message", "ed25519"))
            self._must_fail(None, lambda: stranger.create("no minter", ["ed25519"], quorum=THREE_OF_FIVE))
        retired = client.retire(self._minted["short-lived"])
        if not retired.dead:
            raise AssertionError(f"not retired: {retired.missing}")
        self._did("retire")
        self._must_fail(None, lambda: client.sign(self._minted["short-lived"], b"message"))

    def _through(self) -> None:
        """All of that as a caller that is only a caller: done in the process of a reconstructor that works for others,
        and what is secret of it comes back sealed."""
        self._patiently_settled()
        with self._as_clerk():
            for token in (self._token("flat"), self._token("nested"), self._minted["rsa-oaep"], self._minted["hmac"]):
                self._side_by_side(self._using(token, suite) for suite in token.suites)
            flat, guarded = self._token("flat"), self._token("guarded")
            self._together(flat)()
            self._using(guarded, "ed25519")()
            for suite in ("hmac-sha256", "aes-256-gcm", "hkdf-sha256"):
                self._must_fail({"refused", "quorum-not-met"}, self._using(guarded, suite))
            self._must_fail({"inconsistent"}, self._using(self._token("dishonest"), "ed25519"))
            self._must_fail({"expired"}, self._using(self._token("expired"), "ed25519"))
            self._must_fail({"token-altered", "quorum-not-met"}, self._using(self._token("altered"), "ed25519"))
            wrong = partial(self._client.verify_mac, flat, b"message", bytes(32), "hmac-sha256", trust_token=True)
            self._must_fail({"invalid-signature"}, wrong)
            self._must_fail({"decryption-failed"}, partial(self._client.decrypt, flat, bytes(60), suite="aes-256-gcm"))
            # Nobody waits for what comes of these.
            for suite in ("ed25519", "ml-dsa-65"):
                with contextlib.suppress(EvanesceError):
                    self._client.sign(flat, b"message", suite, deadline=0.005)

    @contextlib.contextmanager
    def _as_clerk(self) -> Iterator[None]:
        own = self._client
        with Client(self._plan["clerk"], deadline=PATIENT) as client:
            self._client = client
            try:
                yield
            finally:
                self._client = own

    def _patiently_settled(self) -> None:
        """Until the reconstructor has a session with each agent that is left."""
        deadline = time.monotonic() + PATIENT
        with Client(self._plan["clerk"], deadline=PATIENT) as client:
            while client.reconstructor_status()["agents"] < 5 and time.monotonic() < deadline:
                time.sleep(0.05)

    def _make_together(self) -> None:
        """Keys that agents make among themselves, of every suite and model, and signatures with them."""
        for model in MODELS:
            for suite in ("frost-ed25519", "frost-secp256k1-tr"):
                name = f"{model}-{suite}"
                made = self._client.create_threshold(name, suite, model, quorum=THREE_OF_FIVE)
                made.save(Path(self._plan["together"]) / f"{name}.regen")
                self._did("create together")
                self._signing(made)
        # Of this one the shares stay where they are kept.
        made = self._client.create_threshold("resting", "frost-ed25519", "mpc", quorum=THREE_OF_FIVE)
        made.save(Path(self._plan["together"]) / "resting.regen")
        self._signing(made)

    def _renew_working(self) -> None:
        """A working key derived from a root and renewed, in a module in this process; what is too old is destroyed."""
        name, working = self._plan["working"]["root"], self._plan["working"]["key"]
        root = self._minted[name] = self._client.create(name, ["hkdf-sha256"], quorum=THREE_OF_FIVE)
        root.save(Path(self._plan["tokens"]) / f"{name}.regen", armored=True)
        for _ in range(self._plan["working"]["renewals"]):
            renew(self._client, working, root)
            self._did("renew working")
            self._side_by_side([self._working] * THREADS)
        Path(self._plan["working"]["made"]).write_bytes(self._client.mac(working, self._messages[0]).value)
        self._must_fail({"not-found"}, partial(self._client.mac, f"{working}@1", b"message"))

    def _working(self) -> None:
        working = self._plan["working"]["key"]
        message = self._some_message()
        self._client.verify_mac(working, message, self._client.mac(working, message))
        self._did(*["working mac"] * len(self._client.mac_many(working, [message] * 20)))

    def _turn_together(self) -> None:
        """Their shares renewed, from shares that are kept to shares that are regenerated; a seat given to another
        agent; and what is refused."""
        folder = Path(self._plan["together"])
        for path in sorted(folder.glob("*mpc-*")):
            old = Token.load(path, trust_token=True)
            new = self._client.refresh_shares(old, folder / f"new-{path.name}", "regen-mpc").token
            self._did("renew")
            self._signing(new)
            repaired = self._client.repair(new, new.seats[1].name, "agent-6").token
            repaired.save(folder / f"repaired-{path.name}")
            self._did("repair together")
            self._signing(repaired)
            self._must_fail({"bad-input"}, partial(self._client.repair, new, new.seats[0].name, "agent-2"))
            if old.model == "mpc":
                self._must_fail(None, partial(self._client.sign, old, b"with shares that are gone"))
            self._client.revoke(old)
            self._must_fail(None, partial(self._client.sign, old, b"with a token that was revoked"))

    def _signing(self, token: Token) -> None:
        def sign() -> None:
            message = self._some_message()
            verify(token, message, self._client.sign(token, message), trust_token=True)
            self._did("sign together")

        self._side_by_side([sign] * 6)

    def _hasty(self) -> None:
        """While three agents are stopped: nothing comes of anything, in time or later."""
        flat = self._token("flat")
        self._must_fail(None, lambda: self._client.sign(flat, b"warm", "ed25519", deadline=HASTY))

        def hurry(verb: str, *arguments: object) -> Callable[[], None]:
            # Even an answer that never comes costs no more than the deadline, so that this can be waited for.
            return lambda: self._must_fail(None, lambda: getattr(self._client, verb)(flat, *arguments, deadline=HASTY))

        jobs = [hurry("sign", b"message", suite) for suite in ("ed25519", "ecdsa-p256", "ml-dsa-44")]
        jobs += [hurry("mac", b"message", "hmac-sha512"), hurry("decrypt", bytes(60), b"", "aes-256-gcm")]
        self._side_by_side(jobs * 2)
        asyncio.run(self._hasty_loop(flat))
        with Client(deadline=0.5) as impatient:
            self._must_fail(None, lambda: impatient.create("never", ["ed25519"], quorum=ALL_OF_THEM))
            impatient.check(flat)
            impatient.status()

    async def _hasty_loop(self, token: Token) -> None:
        async with AsyncClient(deadline=HASTY) as client:
            pending = [client.sign(token, b"message", "ed25519") for _ in range(16)]
            for result in await asyncio.gather(*pending, return_exceptions=True):
                if not isinstance(result, EvanesceError):
                    raise AssertionError(f"not slow: {result!r}")
                self._failed(result)

    def _dead(self) -> None:
        """With one holder killed, one where nobody listens and one that the caller does not know."""
        token = self._token("with the dead")
        for _ in range(5):
            self._using(token, "ed25519")()
            self._using(token, "ml-kem-768")()
        self._must_fail({"quorum-not-met"}, self._using(self._token("of the dead"), "ed25519"))
        self._client.check(token)
        self._did("check")

    def _fork(self) -> None:
        """A forked child works, too, and then stays to be searched. It ends when this process does."""
        token = self._token("flat")
        done, tell = os.pipe()
        wait, self._held = os.pipe()
        if os.fork() == 0:
            try:
                os.close(self._held)
                for suite in ("ed25519", "aes-256-gcm", "ecdsa-p256", "ml-kem-768"):
                    self._using(token, suite)()
                os.write(tell, b"done")
                os.close(tell)
                os.read(wait, 1)
            finally:
                os._exit(0)
        os.close(tell)
        os.close(wait)
        if os.read(done, 4) != b"done":
            raise AssertionError("the forked child could not do its work")
        os.close(done)
        self._did(*["in a forked child"] * 4)
        self._again()

    def _again(self) -> None:
        """Ordinary work after all that."""
        for token in (self._token("flat"), self._minted["minted-nested"]):
            self._side_by_side(self._using(token, suite) for suite in token.suites)
        folder = Path(self._plan["together"])
        for path in [*sorted(folder.glob("repaired-*")), folder / "resting.regen"]:
            self._signing(Token.load(path, trust_token=True))
        self._side_by_side([self._working] * THREADS)
        with self._as_clerk():
            token = self._token("nested")
            self._side_by_side(self._using(token, suite) for suite in token.suites)

    # Their parts.

    def _token(self, name: str) -> Token:
        return Token.load(Path(self._plan["tokens"]) / f"{name}.regen", trust_token=True)

    def _using(self, token: Token, suite: str) -> Callable[[], None]:
        """All that a suite can do, each once."""

        def use() -> None:
            client = self._client
            match suite.split("-"):
                case ["ed25519"] | ["ecdsa", _] | ["ml", "dsa", _] | ["rsa", "pss" | "pkcs1", _]:
                    message = self._some_message()
                    verify(token, message, client.sign(token, message, suite), trust_token=True)
                    self._did("sign")
                case ["hmac", _] | ["aes", "cmac"]:
                    message = secrets.token_bytes(50)
                    mac = client.mac(token, message, suite)
                    client.verify_mac(token, message, mac, trust_token=True)
                    self._did("mac", "verify-mac")
                case ["aes" | "xaes", "256", "gcm"]:
                    plaintext = secrets.token_bytes(500)
                    sealed = client.encrypt(token, plaintext, b"aad", suite, trust_token=True)
                    with client.decrypt(token, sealed, b"aad") as secret:
                        if self._take(secret) != plaintext:
                            raise AssertionError("decrypted something else")
                    self._did("encrypt", "decrypt")
                case ["hkdf", _]:
                    with client.derive(token, secrets.token_bytes(10), 100, suite, trust_token=True) as secret:
                        self._take(secret)
                    self._did("derive")
                case ["x25519"]:
                    with client.agree(token, secrets.token_bytes(31) + b"\x20", suite, trust_token=True) as secret:
                        self._take(secret)
                    self._did("agree")
                case ["ml", "kem", _]:
                    sent = encapsulate(token, suite, trust_token=True)
                    with client.decapsulate(token, sent.ciphertext, suite) as secret:
                        if self._take(secret) != self._take(sent.secret):
                            raise AssertionError("decapsulated something else")
                    self._did("decapsulate")
                case ["rsa", "oaep", _]:
                    with client.decrypt(token, encrypt_to(token, b"plaintext", suite, trust_token=True)) as secret:
                        self._take(secret)
                    self._did("decrypt")
                case _:
                    raise AssertionError(suite)

        return use

    def _together(self, token: Token) -> Callable[[], None]:
        """Batches and hybrid signatures: several jobs under one opening."""

        def use() -> None:
            for suite in ("ed25519", "ecdsa-secp256k1", "ml-dsa-44"):
                signatures = self._client.sign_many(token, [*self._messages, secrets.token_bytes(2000)], suite)
                self._did(*["batch"] * len(signatures))
            self._client.sign_hybrid(token, self._some_message(), ["ed25519", "ml-dsa-87"])
            self._did("hybrid")

        return use

    def _checks(self, token: Token) -> Callable[[], None]:
        def use() -> None:
            for opening in (False, True):
                if not self._client.check(token, open=opening).ok:
                    raise AssertionError("a seat is not well")
            self._did("check", "check --open")
            self._client.status()
            self._did("status")

        return use

    def _some_message(self) -> bytes:
        return secrets.choice(self._messages)

    def _take(self, secret: Any) -> bytes:
        """A result, taken out as a caller would who does not care."""
        buffer = bytearray(len(secret))
        secret.into(buffer)
        self._kept.append(buffer)
        return bytes(buffer)

    def _side_by_side(self, jobs: Iterable[Callable[[], None]]) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            for done in [pool.submit(job) for job in jobs]:
                done.result()

    def _must_fail(self, codes: set[str] | None, call: Callable[[], object]) -> None:
        """`codes`: those that will do; None for any."""
        try:
            call()
        except EvanesceError as e:
            if codes is not None and e.code not in codes:
                raise
            self._failed(e)
        else:
            raise AssertionError(f"nothing failed; {codes or 'something'} was to")

    def _failed(self, e: EvanesceError) -> None:
        log.info("as expected: %s", e.code, exc_info=e)
        self._counts[f"error {e.code}"] += 1
        self._kept.append(e)

    def _did(self, *verbs: str) -> None:
        self._counts.update(verbs)
