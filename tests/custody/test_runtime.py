"""Regenerated keys that work in a PKCS#11 token: each comes as a session object for one operation, and is gone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import Place
from test_custody import MESSAGE, correct, private_key, taken

from evanesce import Client, EvanesceError, UnsupportedError, verify


@pytest.fixture(params=["softhsm", "nss"])
def both(request: pytest.FixtureRequest, regen: Place, tmp_path: Path) -> Iterator[tuple[Client, Client, str]]:
    """The same home, its keys working in a module and in the crucible."""
    place: Place = request.getfixturevalue(request.param)
    module = place.prefix.removeprefix("hsm:").removesuffix("/")
    homes = []
    for name in ("there", "here"):
        home = tmp_path / name
        shutil.copytree(regen.home, home)
        homes.append(home)
    shutil.copy(place.home / "hsm.toml", homes[0] / "hsm.toml")
    if (place.home / "pin").exists():
        shutil.copy(place.home / "pin", homes[0] / "pin")
    quorum = homes[0] / "quorum.toml"
    quorum.write_text(f'runtime = "pkcs11:{module}"\n' + quorum.read_text())
    with Client(homes[0]) as there, Client(homes[1]) as here:
        yield there, here, module


@pytest.mark.parametrize("suite", ["ecdsa-p256", "ecdsa-p384", "rsa-pss-sha256"])
def test_a_signature_that_was_made_there_is_the_keys(
    both: tuple[Client, Client, str], regen: Place, suite: str
) -> None:
    there, _, module = both
    reference = f"regen:{suite}"
    if suite.startswith("rsa-"):
        token = there.custody.import_key(reference, [suite], private_key(regen, suite))
    else:
        token = there.custody.create(reference, [suite])
    keys = there.custody.hsm._token(module).keys
    before = keys()
    signature = there.sign(reference, MESSAGE, suite)
    # The token has no object more: `keys` tells of token objects alone. That no session has one is shown of SoftHSM, in
    # rust/element/tests/once.rs.
    assert keys() == before
    verify(token, MESSAGE, signature)
    correct(token.public_key(suite, form="der"), suite, signature.value)
    assert signature.receipts


def test_macs_and_ciphertexts_are_the_same_there_and_here(both: tuple[Client, Client, str]) -> None:
    there, here, _ = both
    suites = ["hmac-sha256", "hmac-sha512", "aes-cmac", "aes-256-gcm"]
    token = there.custody.create("regen:both", suites)
    for suite in suites[:3]:
        mac = there.mac(token, MESSAGE, suite)
        assert mac.value == here.mac(token, MESSAGE, suite).value
        there.verify_mac(token, MESSAGE, mac)
        with pytest.raises(EvanesceError) as caught:
            there.verify_mac(token, b"another", mac)
        assert caught.value.code == "invalid-signature"
    sealed = there.encrypt(token, MESSAGE, b"aad")
    for client in (there, here):
        with client.decrypt(token, sealed, b"aad") as secret:
            assert taken(secret) == MESSAGE
    with pytest.raises(EvanesceError) as caught:
        there.decrypt(token, sealed, b"other")
    assert caught.value.code == "decryption-failed"


def test_what_the_module_does_not_do_is_refused_and_not_done_here_instead(both: tuple[Client, Client, str]) -> None:
    there, here, _ = both
    token = there.custody.create("regen:lacks", ["ml-dsa-65", "hkdf-sha256", "ed25519"])
    with pytest.raises(UnsupportedError) as refused:
        there.sign(token, MESSAGE, "ed25519")
    assert "CKR_" in refused.value.message
    for ask in (lambda: there.sign(token, MESSAGE, "ml-dsa-65"), lambda: there.derive(token, b"context")):
        with pytest.raises(EvanesceError) as caught:
            ask()
        assert caught.value.code in ("unsupported", "unfit-operation")
    verify(token, MESSAGE, here.sign(token, MESSAGE, "ml-dsa-65"))


def test_a_runtime_that_cannot_be_is_refused_where_it_is_named(regen: Place, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(regen.home, home)
    text = (home / "quorum.toml").read_text()
    for runtime, code in (("prod", "config"), ("pkcs11:", "config"), ("pkcs11:nowhere", "not-found")):
        (home / "quorum.toml").write_text(f'runtime = "{runtime}"\n' + text)
        with pytest.raises(EvanesceError) as caught:
            Client(home)
        assert caught.value.code == code
