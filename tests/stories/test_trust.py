"""Tokens that are not to be trusted: unpinned, swapped, tampered with, expired, of another make."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from machines import Machine, Quorum

from evanesce import Client, EvanesceError, Token, TrustError, encapsulate, verify


@pytest.fixture(scope="module")
def stranger(quorum: Quorum) -> Machine:
    """A machine that the agents know and that has pinned nothing."""
    machine = quorum.newcomer("stranger")
    quorum.admit("stranger", machine)
    return machine


def test_what_relies_on_a_token_wants_it_pinned(
    caller: Machine, stranger: Machine, payments: Path, tmp_path: Path
) -> None:
    signature = tmp_path / "signature"
    stranger.run("sign", payments, "-m", "x", "--suite", "ed25519", "--out", signature)
    check = ("verify", payments, "-m", "x", "--suite", "ed25519", "--signature", signature)
    refused = stranger.fail(2, "unpinned", *check)
    assert "--pin" in refused.error["hint"]
    assert "--trust-token" in refused.error["hint"]
    identifier = caller.run("inspect", payments, "--json").json["token"]
    stranger.run(*check, "--pin", identifier)
    stranger.run(*check, "--trust-token")
    stranger.fail(2, "pin-mismatch", *check, "--pin", "ab" * 32)
    stranger.fail(1, "bad-input", *check, "--pin", identifier[:16])
    # Using it does not make it trusted.
    stranger.fail(2, "unpinned", *check)


@pytest.mark.parametrize(
    "verb",
    [
        ("public-key", "--suite", "ed25519"),
        ("derive", "--context", "c"),
        ("encrypt", "/dev/null"),
        ("verify-mac", "-m", "x", "--mac", "/dev/null"),
        ("encapsulate", "--ciphertext", "c", "--out", "s"),
    ],
)
def test_each_of_them(stranger: Machine, payments: Path, verb: tuple[str, ...]) -> None:
    out = ("--out", stranger.home / "out") if verb[0] == "derive" else ()
    stranger.fail(2, "unpinned", verb[0], payments, *verb[1:], *out)
    assert not (stranger.home / "out").exists()


def test_what_others_rely_on_goes_ahead(stranger: Machine, payments: Path) -> None:
    stranger.run("mac", payments, "-m", "x")
    stranger.run("check", payments, "--open")


def test_a_token_of_the_same_name_is_another_token(caller: Machine, payments: Path, tmp_path: Path) -> None:
    forged = tmp_path / "payments.regen"
    caller.run("key", "create", "payments", "--suite", "ed25519", "--out", forged)
    genuine = Token.load(payments, home=caller.home)
    with pytest.raises(TrustError) as caught:
        Token.load(forged, pin=genuine.id)
    assert caught.value.code == "pin-mismatch"


def test_one_changed_bit_anywhere_is_refused_or_harmless(caller: Machine, payments: Path) -> None:
    genuine = Token.load(payments, home=caller.home)
    data = genuine.encode()
    seen = set()
    with Client(caller.home) as client:
        for place in range(0, len(data), len(data) // 100):
            changed = bytearray(data)
            changed[place] ^= 1
            try:
                token = Token.decode(bytes(changed), trust_token=True)
                verify(genuine, b"x", client.sign(token, b"x", "ed25519"))
            except EvanesceError as e:
                seen.add(e.code)
                continue
            # Only rows are outside the token id; a bad one costs that seat at most.
            assert token.id == genuine.id
    assert seen <= {"malformed", "token-altered", "quorum-not-met", "refused", "expired", "inconsistent"}
    assert {"malformed", "token-altered"} <= seen


def test_a_tampered_policy_names_every_holder_that_cannot_regenerate(caller: Machine, tmp_path: Path) -> None:
    policy = tmp_path / "policy.cedar"
    policy.write_text('permit (principal == Caller::"nobody", action, resource);')
    caller.run("key", "create", "guarded", "--suite", "ed25519", "--policy", policy)
    path = caller.home / "tokens/guarded.regen"
    refused = caller.fail(2, "refused", "sign", path, "-m", "x")
    assert {culprit["kind"] for culprit in refused.error["culprits"]} == {"refused"}
    opened = tmp_path / "opened.regen"
    opened.write_bytes(path.read_bytes().replace(b'"nobody"', b'"caller"'))
    altered = caller.fail(2, "token-altered", "sign", opened, "-m", "x")
    assert {culprit["kind"] for culprit in altered.error["culprits"]} <= {"cannot-regenerate", "row-altered"}


def test_truncated_and_foreign_files(caller: Machine, payments: Path, tmp_path: Path) -> None:
    data = payments.read_bytes()
    armour = b"-----BEGIN EVANESCE REGEN TOKEN-----\nAAAA\n-----END EVANESCE REGEN TOKEN-----\n"
    for name, content, status, code in (
        ("empty", b"", 2, "malformed"),
        ("cut", data[:-1], 2, "malformed"),
        ("longer", data + b"\0", 2, "malformed"),
        ("text", b"hello", 2, "malformed"),
        ("armour", armour, 2, "malformed"),
        # Not read far enough to be refused as a token.
        ("big", bytes(2 << 20), 1, "bad-input"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        done = caller.fail(status, code, "sign", path, "-m", "x")
        assert str(path) in done.error["message"], name


def test_an_expired_token_opens_nothing_more(caller: Machine, tmp_path: Path) -> None:
    created = caller.run(
        "key", "create", "brief", "--suite", "ed25519", "--suite", "ml-kem-768", "--expires", "3s", "--json"
    ).json
    signature = tmp_path / "signature"
    caller.run("sign", "brief", "-m", "x", "--out", signature)
    expires = caller.run("inspect", "brief", "--json").json["expires"]
    time.sleep(max(0.0, expires - time.time()) + 0.1)
    caller.fail(2, "expired", "sign", "brief", "-m", "x")
    caller.fail(2, "expired", "encapsulate", "brief", "--ciphertext", tmp_path / "c", "--out", tmp_path / "s")
    # What was signed before stays signed.
    caller.run("verify", "brief", "-m", "x", "--signature", signature)
    assert caller.run("inspect", "brief", "--json").json["expired"] is True
    assert created["token"]


def test_the_sdk_says_why_it_believes_a_token(caller: Machine, payments: Path) -> None:
    assert Token.load(payments, home=caller.home).pinned == "kept"
    unknown = Token.load(payments, home=caller.home / "nowhere")
    assert unknown.pinned is None
    for use in (
        lambda: verify(unknown, b"", b""),
        lambda: encapsulate(unknown),
        lambda: unknown.public_key("ed25519"),
    ):
        with pytest.raises(EvanesceError) as caught:
            use()
        assert caught.value.code == "unpinned"
    assert Token.load(payments, trust_token=True, home=caller.home / "nowhere").pinned == "trusted"
    assert Token.load(payments, pin=unknown.id.upper()).pinned == "given"
