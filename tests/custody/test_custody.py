"""One protocol, whatever keeps the key: the same tests for every model. What a model does not do it refuses by name."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from files import private
from places import Place, command
from threshold import SUITES as CURVES

from evanesce import (
    AsyncClient,
    Client,
    EvanesceError,
    Secret,
    Signature,
    Token,
    UnsupportedError,
    encrypt_to,
    verify,
)
from evanesce.custody.model import LIFECYCLE, OPERATIONS

MESSAGE = b"pay 900 EUR to alice"
SIGNING = ("ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-secp256k1", "rsa-pss-sha256", "rsa-pkcs1-sha256")
THRESHOLD = ("frost-ed25519", "frost-secp256k1-tr")
MACS = ("hmac-sha256", "hmac-sha512", "aes-cmac")


def made(place: Place, client: Client, suite: str) -> str:
    """A reference to a new key for a suite; skips what this very module refuses, seen to refuse it by name."""
    reference = place.fresh()
    if all(suite not in served for served in place.model.operations().values()):
        lacked(place, suite, lambda: client.custody.create(reference, [suite]))
    with or_refused(place, suite):
        if suite.startswith("rsa-") and place.model.name == "regen":
            # RSA is never made there: it comes by import alone.
            client.custody.import_key(reference, [suite], private_key(place, suite))
        elif suite.startswith("rsa-"):
            client.custody.create(reference, [suite], kind="rsa-2048")
        else:
            client.custody.create(reference, [suite])
    return reference


def private_key(place: Place, suite: str) -> Path:
    """A key file that an unrelated program made."""
    algorithm = {
        "ed25519": ["ED25519"],
        "ecdsa-p256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "ecdsa-p384": ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        "ecdsa-secp256k1": ["EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
    }.get(suite, ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
    made = subprocess.run(["openssl", "genpkey", "-algorithm", *algorithm], capture_output=True, check=True)
    path = place.home / f"{suite}-{os.urandom(4).hex()}.pem"
    path.touch(mode=0o600)
    path.write_bytes(made.stdout)
    return path


def refused(place: Place, suite: str, e: UnsupportedError) -> None:
    assert e.code == "unsupported"
    assert "CKR_" in e.message, e.message
    pytest.skip(f"{place.name} has no {suite}: {e.message}")


@contextlib.contextmanager
def or_refused(place: Place, suite: str) -> Iterator[None]:
    """What this very module may refuse by name."""
    try:
        yield
    except UnsupportedError as e:
        refused(place, suite, e)


def lacked(place: Place, suite: str, ask: Callable[[], object]) -> None:
    with pytest.raises(UnsupportedError) as caught:
        ask()
    assert caught.value.message == f"{place.model.name} keys have no suite {suite}"
    assert next(iter(place.model.operations()["sign"])) in caught.value.hint
    pytest.skip(caught.value.message)


def correct(public: bytes, suite: str, signature: bytes) -> None:
    """By an unrelated implementation."""
    if suite == "frost-secp256k1-tr":
        # No library has BIP-340 and SubjectPublicKeyInfo.
        assert CURVES[suite].verify(public[-32:], MESSAGE, signature)
        return
    key = load_der_public_key(public)
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, MESSAGE)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, MESSAGE, ec.ECDSA(hashes.SHA384() if "384" in suite else hashes.SHA256()))
    else:
        assert isinstance(key, rsa.RSAPublicKey)
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        key.verify(signature, MESSAGE, pss if "pss" in suite else padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("suite", (*SIGNING, *THRESHOLD))
def test_a_signature_is_right_by_others_and_here(place: Place, suite: str) -> None:
    with place.client() as client:
        reference = made(place, client, suite)
        with or_refused(place, suite):
            signature = client.sign(reference, MESSAGE, suite)
        key = client.custody.key(reference)
        verify(key, MESSAGE, signature)
        correct(client.custody.public_key(reference, suite, form="der"), suite, signature.value)
        with pytest.raises(EvanesceError) as caught:
            verify(key, b"pay 901 EUR to alice", signature)
        assert caught.value.code == "invalid-signature"
        both = client.sign_many(key, [b"one", b"two"], suite)
        verify(key, b"one", both[0])
        verify(key, b"two", both[1])


@pytest.mark.parametrize("suite", SIGNING)
def test_a_key_that_was_made_elsewhere_signs_as_it_did_there(place: Place, suite: str) -> None:
    with place.client() as client:
        reference = place.fresh()
        path = private_key(place, suite)
        if "import" not in place.model.supports:
            pytest.skip(f"{place.name} does not; tested below")
        with or_refused(place, suite):
            key = client.custody.import_key(reference, [suite], path)
        openssl = ["openssl", "pkey", "-in", str(path), "-pubout", "-outform", "DER"]
        public = subprocess.run(openssl, capture_output=True, check=True).stdout
        assert key.public_key(suite, form="der") == public
        with or_refused(place, suite):
            correct(public, suite, client.sign(reference, MESSAGE, suite).value)
        with pytest.raises(EvanesceError) as caught:
            client.custody.import_key(reference, [suite], path)
        assert caught.value.code == "exists"
        (place.home / "public").write_bytes(public)
        (place.home / "public").chmod(0o600)
        with pytest.raises(EvanesceError) as caught:
            client.custody.import_key(place.fresh(), [suite], place.home / "public")
        assert caught.value.code == "bad-input"


def test_a_mac_key_that_was_made_elsewhere_makes_the_same_macs(place: Place) -> None:
    if "import" not in place.model.supports:
        pytest.skip(f"{place.name} does not; tested below")
    secret = place.home / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(bytes(range(32)))
    with place.client() as client:
        reference = place.fresh()
        client.custody.import_key(reference, ["hmac-sha256"], secret)
        expected = hmac.new(bytes(range(32)), MESSAGE, "sha256").digest()
        assert client.mac(reference, MESSAGE).value == expected


@pytest.mark.parametrize("suite", MACS)
def test_a_mac_is_the_same_one_by_one_and_in_one_call(place: Place, suite: str) -> None:
    messages = [b"%d" % number * number for number in range(1, 60)]
    with place.client() as client:
        reference = made(place, client, suite)
        with or_refused(place, suite):
            many = client.mac_many(reference, messages, suite)
        assert len(many) == len(messages)
        assert [one.value for one in many] == many.values
        assert [client.mac(reference, message, suite).value for message in messages[:3]] == many.values[:3]
        assert len(set(many.values)) == len(messages)
        client.verify_mac(reference, messages[7], many[7])
        with pytest.raises(EvanesceError) as caught:
            client.verify_mac(reference, messages[8], many[7])
        assert caught.value.code == "invalid-signature"


def test_what_was_encrypted_is_decrypted_and_nothing_that_was_changed(place: Place) -> None:
    suite = "aes-256-gcm"
    with place.client() as client:
        reference = made(place, client, suite)
        sealed = client.encrypt(reference, b"plaintext", b"customer 12", suite)
        with client.decrypt(reference, sealed, b"customer 12") as secret:
            assert taken(secret) == b"plaintext"
        for wrong, aad in (
            (sealed.value, b"customer 13"),
            (sealed.value[:-1] + bytes([sealed.value[-1] ^ 1]), b"customer 12"),
        ):
            with pytest.raises(EvanesceError) as caught:
                client.decrypt(reference, wrong, aad, suite)
            assert caught.value.code == "decryption-failed"


def taken(secret: Secret) -> bytes:
    buffer = bytearray(len(secret))
    secret.into(buffer)
    return bytes(buffer)


def test_what_is_encrypted_to_a_public_key_is_decrypted_by_its_holder(place: Place) -> None:
    suite = "rsa-oaep-sha256"
    with place.client() as client:
        reference = made(place, client, suite)
        sealed = encrypt_to(client.custody.key(reference), b"plaintext", suite)
        with or_refused(place, suite), client.decrypt(reference, sealed, suite=suite) as secret:
            assert taken(secret) == b"plaintext"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_that_the_model_lacks_is_refused_by_name_and_with_what_there_is(
    place: Place, operation: str
) -> None:
    asks: dict[str, Callable[[Client, str], object]] = {
        "sign": lambda client, key: client.sign(key, MESSAGE),
        "sign-payload": lambda client, key: client.sign_payload(key, {"amount": 9}),
        "mac": lambda client, key: client.mac(key, MESSAGE),
        "mac-payload": lambda client, key: client.mac_payload(key, {"amount": 9}, "hmac-sha256"),
        "verify-mac": lambda client, key: client.verify_mac(key, MESSAGE, bytes(32)),
        "encrypt": lambda client, key: client.encrypt(key, MESSAGE),
        "decrypt": lambda client, key: client.decrypt(key, bytes(64)),
        "derive": lambda client, key: client.derive(key, b"context"),
        "agree": lambda client, key: client.agree(key, bytes(32)),
        "decapsulate": lambda client, key: client.decapsulate(key, bytes(1088)),
    }
    if place.model.operations().get(operation):
        pytest.skip(f"{place.name} does it; tests above")
    with place.client() as client:
        macs = operation.startswith("mac") and place.model.operations().get("mac")
        reference = made(place, client, "hmac-sha256" if macs else place.suite)
        with pytest.raises(UnsupportedError) as caught:
            asks[operation](client, reference)
    error = caught.value
    assert error.code == "unsupported"
    assert error.message.startswith(f"{place.model.name} keys do not {operation.replace('-', ' ')}: ")
    assert place.model.refuses[operation] in error.message
    assert f"{place.model.name} keys can sign, " in error.hint


def test_every_verb_is_either_had_or_refused_with_a_reason(place: Place) -> None:
    model = place.model
    for verb in (*LIFECYCLE, *OPERATIONS):
        had = verb in model.supports or bool(model.operations().get(verb))
        assert had != (verb in model.refuses), f"{model.name}: {verb}"


def test_a_verb_that_the_model_lacks_is_refused_by_name(place: Place, tmp_path: Path) -> None:
    with place.client() as client:
        asks: dict[str, Callable[[str], object]] = {
            "import": lambda key: client.custody.import_key(key, [place.suite], tmp_path / "none"),
            "refresh": lambda key: client.custody.refresh(key),
            "back-up": lambda key: client.custody.back_up(key, tmp_path / "backup"),
            "restore": lambda key: client.custody.restore(key, tmp_path / "backup"),
        }
        for verb, ask in asks.items():
            if verb in place.model.supports:
                continue
            with pytest.raises(UnsupportedError) as caught:
                ask(place.fresh())
            assert f"{place.model.name} keys do not {verb.replace('-', ' ')}" in caught.value.message


def test_a_key_lives_through_creation_rotation_and_its_end(place: Place) -> None:
    with place.client() as client:
        reference = place.fresh()
        with pytest.raises(EvanesceError) as caught:
            client.sign(reference, MESSAGE)
        assert caught.value.code == "not-found"
        first = client.custody.create(reference, [place.suite])
        with pytest.raises(EvanesceError) as caught:
            client.custody.create(reference, [place.suite])
        assert caught.value.code == "exists"
        old = client.sign(reference, MESSAGE)
        verify(first, MESSAGE, old)
        second = client.custody.rotate(reference)
        new = client.sign(reference, MESSAGE)
        verify(second, MESSAGE, new)
        with pytest.raises(EvanesceError):
            verify(second, MESSAGE, old)
        # The old one works on, by its version, for those who have not seen the new one.
        verify(first, MESSAGE, client.sign(f"{reference}@1", MESSAGE))
        assert client.custody.describe(reference)["suites"] == [place.suite]
        assert client.custody.destroy(f"{reference}@1").done
        with pytest.raises(EvanesceError):
            client.sign(f"{reference}@1", MESSAGE)
        verify(second, MESSAGE, client.sign(reference, MESSAGE))
        # Another client sees the same.
        with place.client() as other:
            verify(second, MESSAGE, other.sign(reference, MESSAGE))


def test_fresh_shares_are_of_the_same_key(place: Place) -> None:
    if "refresh" not in place.model.supports:
        pytest.skip(f"{place.name} does not; tested above")
    with place.client() as client:
        reference = place.fresh()
        first = client.custody.create(reference, [place.suite])
        with pytest.raises(EvanesceError) as caught:
            client.custody.refresh(reference, colour="red")
        assert caught.value.code == "bad-input" and "colour" in caught.value.message
        second = client.custody.refresh(reference).token
        assert client.custody.public_key(reference) == client.custody.public_key(first)
        assert isinstance(first, Token) and isinstance(second, Token) and second.id != first.id
        verify(first, MESSAGE, client.sign(reference, MESSAGE))
        if place.model.name == "mpc":
            # Its old shares are removed already.
            with pytest.raises(EvanesceError):
                client.sign(f"{reference}@1", MESSAGE)
        else:
            verify(second, MESSAGE, client.sign(f"{reference}@1", MESSAGE))
        assert client.custody.destroy(f"{reference}@1").done
        verify(first, MESSAGE, client.sign(reference, MESSAGE))
        with pytest.raises(EvanesceError) as caught:
            client.custody.refresh(f"{reference}@1")
        assert caught.value.code == "bad-input"
        # The same verb at the command line, where an option that a reference has no use for is refused by name.
        unfit = json.loads(command(place.home, "key", "refresh", reference, "--armor", "--json", status=1).stdout)
        assert unfit["error"]["code"] == "usage" and "--armor" in unfit["error"]["message"]
        third = json.loads(command(place.home, "key", "refresh", reference, "--json").stdout)
        assert client.custody.describe(reference)["token"] == third["token"] != second.id
        verify(first, MESSAGE, client.sign(reference, MESSAGE))


def test_what_is_backed_up_as_a_token_is_restored_where_nothing_is(place: Place, tmp_path: Path) -> None:
    if place.model.name == "hsm" or "back-up" not in place.model.supports:
        pytest.skip(f"{place.name} does it another way, or not; tested elsewhere")
    with place.client() as client:
        key, again = place.fresh(), place.fresh()
        made = client.custody.create(key, [place.suite])
        written = client.custody.back_up(key, tmp_path / "backup")
        assert (written["token"], written["key"]) == (getattr(made, "id", None), key)
        restored = client.custody.restore(again, tmp_path / "backup", pin=written["token"])
        verify(restored, MESSAGE, client.sign(again, MESSAGE))
        other = "regen" if place.model.name == "regen-mpc" else "regen-mpc"
        with pytest.raises(EvanesceError) as caught:
            client.custody.restore(f"{other}:elsewhere", tmp_path / "backup", pin=written["token"])
        assert caught.value.code == "bad-input" and place.model.name in caught.value.hint
        with pytest.raises(EvanesceError) as caught:
            client.sign(f"{other}:{again.partition(':')[2]}", MESSAGE)
        assert caught.value.code == "bad-input"


def test_a_payload_is_signed_where_somebody_reads_it(place: Place) -> None:
    with place.client() as client:
        reference = place.fresh()
        key = client.custody.create(reference, [place.suite])
        if not place.model.operations().get("sign-payload"):
            pytest.skip(f"{place.name} does not; tested above")
        signature = client.sign_payload(reference, {"to": "alice", "amount": 900})
        assert signature.message is not None
        verify(key, signature.message, signature)


def test_shares_that_are_kept_are_removed_at_the_keys_end(place: Place) -> None:
    if place.model.name not in ("mpc", "regen-mpc"):
        pytest.skip(f"{place.name} has none")

    def kept(client: Client) -> int:
        return sum(agent.report["shares"] for agent in client.status() if agent.report)

    with place.client() as client:
        before, reference = kept(client), place.fresh()
        client.custody.create(reference, [place.suite])
        assert kept(client) == before + (3 if place.model.name == "mpc" else 0)
        assert client.custody.destroy(reference).done
        assert kept(client) == before


def test_a_key_is_asked_for_on_an_event_loop_in_the_same_way(place: Place) -> None:
    async def ask() -> None:
        async with AsyncClient(place.home) as client:
            reference = place.fresh()
            key = await client.custody.create(reference, [place.suite])
            signatures = await asyncio.gather(*(client.sign(reference, b"%d" % number) for number in range(8)))
            for number, signature in enumerate(signatures):
                verify(key, b"%d" % number, signature)
            each = await client.sign_each([(reference, b"one"), (place.fresh(), b"two"), (key, b"three")])
            assert isinstance(each[0], Signature) and isinstance(each[2], Signature)
            verify(key, b"three", each[2])
            assert isinstance(each[1], EvanesceError) and each[1].code == "not-found"
            assert await client.custody.public_key(key) == await client.custody.public_key(reference)
            if not place.model.operations().get("mac"):
                with pytest.raises(UnsupportedError):
                    await client.mac_many(reference, [b"a", b"b"])
                return
            macs = place.fresh()
            await client.custody.create(macs, ["hmac-sha256"])
            many = await client.mac_many(macs, [b"a", b"b"])
            assert (await client.mac(macs, b"b")).value == many.values[1]
            await client.verify_mac(macs, b"a", many[0])
            with pytest.raises(EvanesceError):
                await client.verify_mac(macs, b"b", many[0])
            (wrong,) = await client.sign_each([(macs, b"two")])
            assert isinstance(wrong, EvanesceError) and wrong.code == "unfit-operation"

    asyncio.run(ask())


def test_the_command_line_takes_a_reference_where_it_takes_a_token(place: Place, tmp_path: Path) -> None:
    def run(*words: str, status: int = 0) -> bytes:
        return command(place.home, *words, status=status, stdin=MESSAGE, **place.environment).stdout

    key = place.fresh()
    run("key", "create", key, "--suite", place.suite)
    signature = tmp_path / "signature"
    run("sign", key, "-", "--out", str(signature))
    run("verify", key, "-", "--signature", str(signature))
    run("verify", key, "--message", "another", "--signature", str(signature), status=2)
    public = run("public-key", key, "--form", "der")
    correct(public, place.suite, signature.read_bytes())
    run("key", "rotate", key)
    run("verify", key, "-", "--signature", str(signature), status=2)
    run("verify", f"{key}@1", "-", "--signature", str(signature))
    assert json.loads(run("key", "describe", key, "--json"))["model"] == place.model.name
    run("key", "destroy", f"{key}@1", "--yes")
    if not place.model.operations().get("derive"):
        words = ("derive", key, "--context", "c", "--out", str(tmp_path / "x"), "--json")
        assert json.loads(run(*words, status=1))["error"]["code"] == "unsupported"
    if place.model.operations().get("mac"):
        macs = place.fresh()
        run("key", "create", macs, "--suite", "hmac-sha256")
        document = json.loads(run("mac", macs, "-", "--json"))
        (tmp_path / "mac").write_text(document["mac"])
        run("verify-mac", macs, "-", "--mac", str(tmp_path / "mac"))


def test_references_that_name_nothing_are_refused_with_what_they_should_look_like(place: Place) -> None:
    with place.client() as client:
        for wrong in ("", "payments", "kms:prod/key", "hsm:", "regen:", "hsm:prod/a/b"):
            with pytest.raises(EvanesceError) as caught:
                client.custody.key(wrong)
            assert caught.value.code == "bad-input"
            assert "hsm:MODULE/LABEL" in caught.value.hint
        with pytest.raises(EvanesceError) as caught:
            client.custody.create(place.fresh(), [place.suite], colour="red")
        assert caught.value.code == "bad-input" and "colour" in caught.value.message


def test_a_closed_client_uses_no_key(place: Place) -> None:
    client = place.client()
    key = made(place, client, place.suite)
    client.close()
    with pytest.raises(EvanesceError) as caught:
        client.sign(key, MESSAGE)
    assert caught.value.code == "closed"


def test_an_rsa_key_of_a_size_that_is_not_served_is_refused_before_it_is_in_the_token(
    softhsm: Place, tmp_path: Path
) -> None:
    words = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2056"]
    odd = tmp_path / "odd.pem"
    private(odd, subprocess.run(words, capture_output=True, check=True).stdout.decode())
    reference = softhsm.fresh()
    with softhsm.client() as client:
        with pytest.raises(EvanesceError) as caught:
            client.custody.import_key(reference, ["rsa-pss-sha256"], odd)
        assert caught.value.code == "bad-input" and "length" in caught.value.message
        client.custody.create(reference, ["ecdsa-p256"])
