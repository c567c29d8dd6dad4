"""The backup ceremony: a key leaves its token under a KEK split among custodians, and comes into a second one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from places import Place, command

from evanesce import EvanesceError, UnsupportedError, _core, verify

MESSAGE = b"pay 900 EUR to alice"
QUORUM = "2 of (alice, bob, carol)"
NAMES = ("alice", "bob", "carol")


@pytest.fixture(scope="module")
def custodians(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], dict[str, Path]]:
    """Key files and public keys."""
    folder = tmp_path_factory.mktemp("custodians")
    keys, public = {}, {}
    for name in NAMES:
        keys[name], public[name] = folder / f"{name}.key", folder / f"{name}.der"
        public[name].write_bytes(_core.create_custodian(str(keys[name])))
        assert keys[name].stat().st_mode & 0o777 == 0o600
    return keys, public


Custodians = tuple[dict[str, Path], dict[str, Path]]


def backed_up(place: Place, custodians: Custodians, suite: str, file: Path) -> str:
    """A reference to a new key whose backup is in the file."""
    reference = place.fresh()
    with place.client() as client:
        client.custody.create(reference, [suite], for_backup=True)
        terms = {"custodians": custodians[1], "quorum": QUORUM, "officer": place.home / "so-pin"}
        client.custody.back_up(reference, file, **terms)
    return reference


@pytest.mark.parametrize("target", ["softhsm", "nss"])
@pytest.mark.parametrize("suite", ["ecdsa-p256", "hmac-sha256", "aes-256-gcm"])
def test_two_of_three_custodians_bring_a_key_into_a_second_module(
    request: pytest.FixtureRequest,
    softhsm: Place,
    custodians: Custodians,
    tmp_path: Path,
    target: str,
    suite: str,
) -> None:
    reference = backed_up(softhsm, custodians, suite, tmp_path / "backup")
    second: Place = request.getfixturevalue(target)
    back = second.fresh() if target == "nss" else second.fresh().replace("hsm:prod/", "hsm:second/")
    some = {name: custodians[0][name] for name in ("alice", "carol")}
    with softhsm.client() as client, second.client() as other:
        other.custody.restore(back, tmp_path / "backup", custodians=some)
        match suite:
            case "ecdsa-p256":
                verify(client.custody.key(reference), MESSAGE, other.sign(back, MESSAGE))
            case "hmac-sha256":
                assert other.mac(back, MESSAGE).value == client.mac(reference, MESSAGE).value
            case _:
                sealed = client.encrypt(reference, MESSAGE, suite=suite)
                with other.decrypt(back, sealed) as secret:
                    buffer = bytearray(len(secret))
                    secret.into(buffer)
                assert buffer == MESSAGE
        found = other.custody.describe(back)
        assert found["non_extractable"] and found["can_be_backed_up"] == "never"
        with pytest.raises(EvanesceError) as caught:
            other.custody.restore(back, tmp_path / "backup", custodians=some)
        assert caught.value.code == "exists"


def test_fewer_or_other_custodians_bring_nothing(softhsm: Place, custodians: Custodians, tmp_path: Path) -> None:
    backed_up(softhsm, custodians, "ecdsa-p256", tmp_path / "backup")
    keys, _ = custodians
    back = softhsm.fresh().replace("hsm:prod/", "hsm:second/")
    _core.create_custodian(str(tmp_path / "stranger"))
    with softhsm.client() as client:
        for here, code in (
            ({}, "custodians-missing"),
            ({"bob": keys["bob"]}, "custodians-missing"),
            ({"bob": keys["bob"], "alice": keys["bob"]}, "backup-invalid"),
            ({"bob": keys["bob"], "alice": tmp_path / "stranger"}, "backup-invalid"),
            ({"bob": keys["bob"], "dave": keys["alice"]}, "bad-input"),
        ):
            with pytest.raises(EvanesceError) as caught:
                client.custody.restore(back, tmp_path / "backup", custodians=here)
            assert caught.value.code == code, caught.value
        with pytest.raises(EvanesceError) as caught:
            client.sign(back, MESSAGE)
        assert caught.value.code == "not-found"


def test_a_backup_that_was_changed_is_not_restored(softhsm: Place, custodians: Custodians, tmp_path: Path) -> None:
    first = backed_up(softhsm, custodians, "ecdsa-p256", tmp_path / "backup")
    backed_up(softhsm, custodians, "ecdsa-p256", tmp_path / "other")
    good, other = (json.loads((tmp_path / name).read_text()) for name in ("backup", "other"))
    changes: list[dict[str, object]] = [
        {"public": other["public"]},
        {"label": "another"},
        {"kind": "p384"},
        {"wrapped": other["wrapped"]},
        {"components": other["components"], "check": other["check"]},
        {"check": "000000"},
        {"quorum": "2 of (alice, carol, bob)"},
        {"format": "something else"},
        {"wrapped": "***"},
        {"components": []},
    ]
    back = softhsm.fresh().replace("hsm:prod/", "hsm:second/")
    with softhsm.client() as client:
        for change in changes:
            (tmp_path / "changed").write_text(json.dumps(good | change))
            with pytest.raises(EvanesceError) as caught:
                client.custody.restore(back, tmp_path / "changed", custodians=custodians[0])
            assert caught.value.code in ("backup-invalid", "unsupported"), (change, caught.value)
        # As it was, it is.
        client.custody.restore(back, tmp_path / "backup", custodians=custodians[0])
        verify(client.custody.key(first), MESSAGE, client.sign(back, MESSAGE))


def test_a_key_is_backed_up_only_if_it_was_made_for_that_and_by_two_hands(
    softhsm: Place, nss: Place, custodians: Custodians, tmp_path: Path
) -> None:
    _, public = custodians
    with softhsm.client() as client:
        forever, leaves = softhsm.fresh(), softhsm.fresh()
        client.custody.create(forever, ["ecdsa-p256"])
        client.custody.create(leaves, ["ecdsa-p256"], for_backup=True)
        officer = softhsm.home / "so-pin"
        with pytest.raises(UnsupportedError) as refused:
            client.custody.back_up(forever, tmp_path / "b", custodians=public, officer=officer)
        assert "non-extractable" in refused.value.message
        assert client.custody.describe(forever)["can_be_backed_up"] == "never"
        assert client.custody.describe(leaves)["can_be_backed_up"] == "under a trusted key"
        with pytest.raises(EvanesceError) as caught:
            client.custody.back_up(leaves, tmp_path / "b", custodians=public)
        assert "security officer" in caught.value.message
        for quorum in ("1 of (alice, bob, carol)", "2 of (alice, bob)", "2 of (alice, dave)"):
            with pytest.raises(EvanesceError) as caught:
                client.custody.back_up(leaves, tmp_path / "b", custodians=public, quorum=quorum, officer=officer)
            assert caught.value.code == "bad-input"
        assert not (tmp_path / "b").exists()
    # NSS wraps under any key what it says only a trusted one may: that is found by trying, and said.
    with nss.client() as client:
        reference = nss.fresh()
        client.custody.create(reference, ["ecdsa-p256"], for_backup=True)
        assert client.custody.describe(reference)["can_be_backed_up"] == "under any key"


def test_a_rotated_key_can_be_backed_up_as_its_forerunner_could(softhsm: Place) -> None:
    with softhsm.client() as client:
        for may, word in ((True, "under a trusted key"), (False, "never")):
            reference = softhsm.fresh()
            client.custody.create(reference, ["ecdsa-p256"], for_backup=may)
            client.custody.rotate(reference)
            assert client.custody.describe(f"{reference}@2")["can_be_backed_up"] == word


def test_the_whole_ceremony_at_the_command_line(softhsm: Place, tmp_path: Path) -> None:
    def run(*words: object, status: int = 0) -> bytes:
        return command(softhsm.home, *words, status=status, stdin=MESSAGE, **softhsm.environment).stdout

    reference = softhsm.fresh()
    back = reference.replace("hsm:prod/", "hsm:second/")
    for name in NAMES:
        run("key", "custodian", tmp_path / f"{name}.key", "--public", tmp_path / f"{name}.pem")
    run("key", "create", reference, "--suite", "ecdsa-p256", "--for-backup")
    public = [word for name in NAMES for word in ("--custodian", f"{name}={tmp_path / name}.pem")]
    officer = ("--officer-pin", softhsm.home / "so-pin")
    run("key", "back-up", reference, "--to", tmp_path / "backup", "--quorum", QUORUM, *public, *officer)
    bob = ("--custodian", f"bob={tmp_path / 'bob.key'}")
    run("key", "restore", back, "--from", tmp_path / "backup", *bob, status=1)
    carol = ("--custodian", f"carol={tmp_path / 'carol.key'}")
    run("key", "restore", back, "--from", tmp_path / "backup", *bob, *carol)
    run("sign", back, "-", "--out", tmp_path / "signature")
    run("verify", reference, "-", "--signature", tmp_path / "signature")
