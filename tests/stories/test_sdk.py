"""The SDK as programs use it: batches, hybrids, imports, forks, hundreds in flight; secrets that stay
handles."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from machines import Machine, Quorum

from evanesce import AsyncClient, Client, EvanesceError, Mac, Signature, Token, encapsulate, encrypt_to, verify


@pytest.fixture(scope="module")
def token(caller: Machine, payments: Path) -> Token:
    return Token.load(payments, home=caller.home)


def test_a_batch_is_one_opening(caller: Machine, token: Token) -> None:
    messages = [b"message %d" % number for number in range(50)]
    with Client(caller.home) as client:
        signatures = client.sign_many(token, messages, "ed25519")
    for message, signature in zip(messages, signatures, strict=True):
        verify(token, message, signature)
    first = {receipt.agent: receipt.index for receipt in signatures[0].receipts}
    last = {receipt.agent: receipt.index for receipt in signatures[-1].receipts}
    assert first == last
    entry = signatures[0].receipts[0].verify()
    assert len(entry["operations"]) == 50


def test_a_hybrid_is_two_signatures_from_one_opening(caller: Machine, token: Token) -> None:
    with Client(caller.home) as client:
        one, two = client.sign_hybrid(token, b"both", ("ed25519", "ml-dsa-65"))
        assert (one.suite, two.suite) == ("ed25519", "ml-dsa-65")
        verify(token, b"both", one)
        verify(token, b"both", two)
        assert [r.index for r in one.receipts] == [r.index for r in two.receipts]
        with pytest.raises(EvanesceError) as caught:
            client.sign_hybrid(token, b"both")
        assert caught.value.code == "bad-input"


def test_many_tokens_in_one_call(caller: Machine, token: Token) -> None:
    def judge(results: list[Signature | EvanesceError]) -> None:
        assert len(results) == len(pairs)
        for (asked, message), result in zip(pairs, results, strict=True):
            if asked in (unfit, dead):
                assert isinstance(result, EvanesceError)
                assert result.code == ("refused" if asked is dead else unfit_code)
            else:
                assert isinstance(result, Signature)
                verify(asked, message, result)

    async def ask() -> list[Signature | EvanesceError]:
        async with AsyncClient(caller.home) as other:
            assert await other.sign_each([]) == []
            macs = await other.mac_each([(token, b"a"), (unfit, b"b")])
            assert [mac.value for mac in macs if isinstance(mac, Mac)] == [
                client.mac(token, b"a").value,
                client.mac(unfit, b"b").value,
            ]
            return await other.sign_each(pairs)

    with Client(caller.home) as client:
        tokens = [client.create(f"each-{n}", [suite]) for n, suite in enumerate(("ed25519", "ecdsa-p256", "ml-dsa-44"))]
        unfit, dead = client.create("each-mac", ["hmac-sha256"]), client.create("each-dead", ["ed25519"])
        assert client.retire(dead).dead
        pairs = [(t, b"message %d" % n) for n in range(10) for t in (*tokens, unfit, dead)]
        with pytest.raises(EvanesceError) as caught:
            client.sign(unfit, b"m")
        unfit_code = caught.value.code
        judge(client.sign_each(pairs))
        assert client.sign_each([]) == []
        judge(asyncio.run(ask()))
        # A suite that some of them lack is those tokens' error.
        results = client.sign_each(pairs[:4], "ed25519")
        assert [getattr(result, "code", "signed") for result in results] == ["signed"] + ["suite-not-in-token"] * 3
        wrong: Any = "text"
        with pytest.raises(TypeError):
            client.sign_each([(tokens[0], b"good"), (tokens[1], wrong)])


def test_every_kind_of_operation(caller: Machine, token: Token) -> None:
    with Client(caller.home) as client:
        mac = client.mac(token, b"m")
        client.verify_mac(token, b"m", mac)
        with pytest.raises(EvanesceError) as caught:
            client.verify_mac(token, b"n", mac)
        assert caught.value.code == "invalid-signature"
        sealed = client.encrypt(token, b"plain", b"aad")
        buffer = bytearray(5)
        with client.decrypt(token, sealed, b"aad") as secret:
            assert secret.into(buffer) == 5
        assert buffer == b"plain"
        made = encapsulate(token)
        with made.secret as one, client.decapsulate(token, made.ciphertext) as two:
            buffers = bytearray(32), bytearray(32)
            one.into(buffers[0])
            two.into(buffers[1])
        assert buffers[0] == buffers[1] != bytes(32)


def test_a_secret_stays_a_handle(caller: Machine, token: Token, tmp_path: Path) -> None:
    with Client(caller.home) as client:
        secret = client.derive(token, b"context", 32)
    assert repr(secret) == "<Secret of 32 bytes>"
    for leak in (bytes, list, pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(secret)
    with pytest.raises(EvanesceError):
        secret.into(bytearray(31))
    secret.save(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(EvanesceError) as caught:
        secret.save(tmp_path / "key")
    assert caught.value.code == "exists"
    secret.save(tmp_path / "key", force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    read, write = os.pipe()
    secret.to_descriptor(write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == (tmp_path / "key").read_bytes()
    secret.wipe()
    assert repr(secret) == "<Secret, wiped>"
    with pytest.raises(EvanesceError):
        secret.into(bytearray(32))


def test_an_imported_rsa_key_signs_decrypts_and_retires(caller: Machine, quorum: Quorum, tmp_path: Path) -> None:
    key = tmp_path / "rsa.pem"
    key.touch(mode=0o600)
    made = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], capture_output=True, check=True
    )
    key.write_bytes(made.stdout)
    with Client(caller.home) as client:
        token = client.import_key("legacy", ["rsa-pss-sha256"], key)
        assert token.imported
        signature = client.sign(token, b"m")
        assert len(signature.value) == 256
        verify(token, b"m", signature)
        boxed = client.import_key("box", ["rsa-oaep-sha256"], os.open(key, os.O_RDONLY))
        with client.decrypt(boxed, encrypt_to(boxed, b"plain")) as secret:
            taken = bytearray(5)
            secret.into(taken)
        assert taken == b"plain"

        quorum.end("agent-3", "agent-4")
        try:
            partly = client.retire(token)
            assert {seat.seat for seat in partly.missing} == {"agent-3", "agent-4"}
            assert partly.dead, "three of five in a 3-of-5 block"
        finally:
            quorum.start("agent-3", "agent-4")
        with pytest.raises(EvanesceError) as caught:
            client.sign(token, b"m")
        assert caught.value.code in ("refused", "quorum-not-met")
        again = client.retire(token)
        assert again.dead
        assert not again.missing
        with pytest.raises(EvanesceError) as caught:
            client.sign(token, b"m")
        assert caught.value.code == "refused"
        client.sign(client.create("other", ["ed25519"]), b"others live on")


def test_retiring_on_the_command_line_says_what_it_achieved(caller: Machine, quorum: Quorum) -> None:
    caller.run("key", "create", "old", "--suite", "ed25519")
    quorum.end("agent-1", "agent-2", "agent-3")
    try:
        partly = caller.try_("key", "retire", "old", "--yes", "--json")
        assert partly.status == 1
        assert partly.json["dead"] is False
        verdicts = {seat["seat"]: seat["verdict"] for seat in partly.json["seats"]}
        assert verdicts == dict.fromkeys(("agent-1", "agent-2", "agent-3"), "unreachable") | dict.fromkeys(
            ("agent-4", "agent-5"), "retired"
        )
    finally:
        quorum.start("agent-1", "agent-2", "agent-3")
    done = caller.run("key", "retire", "old", "--yes", "--json").json
    assert done["dead"] is True
    caller.fail(2, "refused", "sign", "old", "-m", "x")


def test_hundreds_in_flight(caller: Machine, token: Token) -> None:
    async def story() -> list[Signature]:
        async with AsyncClient(caller.home) as client:
            warm = await client.sign(token, b"warm", "ed25519")
            verify(token, b"warm", warm)
            many = await asyncio.gather(*(client.sign(token, b"%d" % n, "ed25519") for n in range(300)))
            with pytest.raises(EvanesceError) as caught:
                await client.decrypt(token, bytes(60))
            assert caught.value.code == "decryption-failed"
            assert (await client.check(token)).ok
            assert len(await client.status()) == 5
        return many

    for number, signature in enumerate(asyncio.run(story())):
        verify(token, b"%d" % number, signature)


def test_one_callers_wrong_argument_fails_no_other_operation(caller: Machine, token: Token) -> None:
    wrong: Any = "text"
    no_suite: Any = 5

    async def story() -> Signature:
        async with AsyncClient(caller.home) as client:
            good = client.sign(token, b"good", "ed25519")
            for call in (
                lambda: client.sign(token, wrong, "ed25519"),
                lambda: client.sign(token, memoryview(bytearray(4)).cast("I"), "ed25519"),
                lambda: client.sign_many(token, [b"good", wrong], "ed25519"),
                lambda: client.sign_many(token, [b"good", b"good"], no_suite),
                lambda: client.derive(token, wrong),
            ):
                with pytest.raises((TypeError, BufferError)):
                    call()
            with pytest.raises(AttributeError):
                client.sign(no_suite, b"good", "ed25519")
            with pytest.raises(EvanesceError):
                client.sign("no reference to a key", b"good", "ed25519")
            return await good

    verify(token, b"good", asyncio.run(story()))


def test_a_buffer_may_change_as_soon_as_the_call_returns(caller: Machine, token: Token) -> None:
    async def story() -> list[Signature]:
        async with AsyncClient(caller.home) as client:
            buffer = bytearray(b"before")
            signed = client.sign_many(token, [b"first", buffer], "ed25519")
            buffer[:] = b"after!"
            return await signed

    verify(token, b"before", asyncio.run(story())[1])


def test_threads_share_a_client(caller: Machine, token: Token) -> None:
    signatures: list[Signature] = []
    with Client(caller.home) as client:

        def work() -> None:
            signatures.extend(client.sign(token, b"m", "ed25519") for _ in range(20))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(signatures) == 160
    assert len({signature.value for signature in signatures}) == 1


FORKS = """
import asyncio, os, sys
from evanesce import AsyncClient, Client, Token, verify
home, path = sys.argv[1:]
token = Token.load(path, home=home)
client, other = Client(home), AsyncClient(home)
async def ask():
    return await asyncio.gather(*(other.sign(token, b"%d" % n, "ed25519") for n in range(20)))
def work():
    verify(token, b"m", client.sign(token, b"m", "ed25519"))
    for n, signature in enumerate(asyncio.run(ask())):
        verify(token, b"%d" % n, signature)
work()
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            work()
            status = 0
        finally:
            os._exit(status)
    children.append(child)
work()
for child in children:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
work()
print("parent and children signed")
"""


def test_forked_children_reconnect(caller: Machine, payments: Path) -> None:
    words = [sys.executable, "-c", FORKS, str(caller.home), str(payments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "parent and children signed\n"


def test_importing_hardens_unless_told_otherwise() -> None:
    script = (
        "import evanesce, resource, ctypes\n"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))"
    )

    def dumpable(**environment: str) -> str:
        words = [sys.executable, "-c", script]
        return subprocess.run(words, capture_output=True, text=True, env=os.environ | environment, check=True).stdout

    assert dumpable() == "0 (0, 0)\n"
    assert dumpable(EVANESCE_NO_HARDEN="1").startswith("1 ")


def test_a_closed_client_says_so(caller: Machine, token: Token) -> None:
    client = Client(caller.home)
    client.close()
    with pytest.raises(EvanesceError) as caught:
        client.sign(token, b"m", "ed25519")
    assert caught.value.code == "closed"


def test_tokens_travel_as_bytes_text_and_files(caller: Machine, token: Token, tmp_path: Path) -> None:
    token.save(tmp_path / "binary")
    token.save(tmp_path / "text", armored=True)
    for same in (
        Token.load(tmp_path / "binary", home=caller.home),
        Token.load(tmp_path / "text", home=caller.home),
        Token.decode(token.encode(), home=caller.home),
        Token.decode("From: alice\r\n\r\n" + token.armor().replace("\n", "\r\n") + "\r\nBye", home=caller.home),
    ):
        assert same == token
        assert same.id == token.id
        assert same.pinned == "kept"
    with pytest.raises(TypeError):
        pickle.dumps(token)
