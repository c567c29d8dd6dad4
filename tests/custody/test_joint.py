"""Joint backups: every custodian hands a component over to a token, and the token alone has the key."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from places import Place, command

from evanesce import EvanesceError, UnsupportedError, verify
from evanesce.custody import joint

MESSAGE = b"pay 900 EUR to alice"
NAMES = ("alice", "bob", "carol")


def run(home: Path, *words: object, status: int = 0, **environment: str) -> dict[str, Any]:
    """What a command line says in JSON."""
    done = command(home, *words, "--json", status=status, stdin=MESSAGE, **environment)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_all_custodians_bring_a_key_into_a_module_by_ciphertext_alone(
    softhsm: Place, nss: Place, tmp_path: Path
) -> None:
    """A key of SoftHSM comes into NSS, which can put a key together; each step on a machine of its own."""
    reference, back, door = softhsm.fresh(), nss.fresh(), nss.fresh()
    backup, pem = tmp_path / "backup", tmp_path / "transport.pem"
    for name in NAMES:
        run(tmp_path, "key", "custodian", tmp_path / f"{name}.key", "--public", tmp_path / f"{name}.pem")
    run(softhsm.home, "key", "create", reference, "--suite", "ecdsa-p256", "--for-backup", **softhsm.environment)
    words = [word for name in NAMES for word in ("--custodian", f"{name}={tmp_path / name}.pem")]
    words += ["--joint", "--officer-pin", str(softhsm.home / "so-pin")]
    made = run(softhsm.home, "key", "back-up", reference, "--to", backup, *words, **softhsm.environment)
    assert made["quorum"] == "3 of (alice, bob, carol)"

    # What the module lets through besides is said before anything is handed over to it.
    door_made = run(nss.home, "key", "transport", door, "--public", pem)
    ways = door_made["weaknesses"]
    assert "unwrap: a component, readable" in ways and "wrap: CKM_RSA_PKCS_OAEP" in ways
    spki = subprocess.run(["openssl", "pkey", "-pubin", "-in", pem, "-outform", "DER"], capture_output=True, check=True)
    digest = hashlib.sha256(spki.stdout).hexdigest()
    given: list[object] = []
    for name in NAMES:
        key, part = f"{name}={tmp_path / name}.key", tmp_path / f"{name}.component"
        over = run(tmp_path, "key", "hand-over", backup, "--custodian", key, "--transport", pem, "--to", part)
        assert over["sha256"] == door_made["sha256"] == digest
        given += ["--component", part]
    restore = ("key", "restore", back, "--from", backup, "--transport", door)
    assert run(nss.home, *restore, *given[2:], status=1)["error"]["code"] == "custodians-missing"
    # What the module lets through is said before the key is there, and so where it does not get there.
    refused = command(nss.home, *restore, *given[2:], status=1).stderr.decode()
    assert 0 <= refused.find("whoever has a session there") < refused.find("evanesce: "), refused
    done = run(nss.home, *restore, *given)
    assert done["weaknesses"] == ways
    run(nss.home, "sign", back, "-", "--out", tmp_path / "signature")
    with softhsm.client() as client:
        verify(client.custody.key(reference), MESSAGE, (tmp_path / "signature").read_bytes())
        # Key files of custodians are of no use at that machine, and none is asked for.
        for terms in ({"custodians": {"alice": tmp_path / "alice.key"}}, {"transport": "hsm:second/none"}):
            with pytest.raises(EvanesceError) as caught:
                client.custody.restore(softhsm.fresh(), backup, **terms)
            assert caught.value.code == "bad-input"
    found = run(nss.home, "key", "describe", back)
    assert found["non_extractable"] is True


def test_a_joint_backup_that_is_said_to_be_of_another_kind_is_refused(
    softhsm: Place, nss: Place, tmp_path: Path
) -> None:
    """An AES key's 32 bytes would do for HMAC: what custodians have handed over is for the kind that they saw."""
    back, door, backup, pem = nss.fresh(), nss.fresh(), tmp_path / "backup", tmp_path / "transport.pem"
    public, given = {}, list[object]()
    for name in NAMES:
        public[name] = tmp_path / f"{name}.pem"
        run(tmp_path, "key", "custodian", tmp_path / f"{name}.key", "--public", public[name])
    with softhsm.client() as client:
        reference = softhsm.fresh()
        client.custody.create(reference, ["aes-cmac"], for_backup=True)
        client.custody.back_up(reference, backup, custodians=public, officer=softhsm.home / "so-pin", joint=True)
    run(nss.home, "key", "transport", door, "--public", pem)
    for name in NAMES:
        part = tmp_path / f"{name}.component"
        joint.hand_over(backup, name, tmp_path / f"{name}.key", pem.read_bytes(), part)
        given += ["--component", part]
    document = json.loads(backup.read_text())
    changed = tmp_path / "changed"
    for field, other in (("kind", "hmac-256"), ("label", "another")):
        assert document[field] != other
        changed.write_text(json.dumps({**document, field: other}))
        refused = run(nss.home, "key", "restore", back, "--from", changed, "--transport", door, *given, status=1)
        assert refused["error"]["code"] == "unsupported", refused
    run(nss.home, "key", "restore", back, "--from", backup, "--transport", door, *given)


def test_a_module_that_cannot_put_a_key_together_is_refused_by_name(softhsm: Place) -> None:
    with softhsm.client() as client:
        door = softhsm.fresh()
        with pytest.raises(UnsupportedError) as refused:
            joint.make_transport(client, door)
        assert "CKR_" in refused.value.message
        with pytest.raises(EvanesceError) as caught:
            client.custody.key(door)
        assert caught.value.code == "not-found", "no transport key is left that is good for nothing"
        with pytest.raises(EvanesceError) as caught:
            joint.make_transport(client, "regen:door")
        assert caught.value.code == "bad-input"


def test_what_is_no_joint_backup_or_no_component_is_refused(softhsm: Place, tmp_path: Path) -> None:
    public, keys = {}, {}
    for name in NAMES:
        run(tmp_path, "key", "custodian", tmp_path / f"{name}.key", "--public", tmp_path / f"{name}.pem")
        public[name], keys[name] = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
    with softhsm.client() as client:
        reference, officer = softhsm.fresh(), softhsm.home / "so-pin"
        client.custody.create(reference, ["ecdsa-p256"], for_backup=True)
        with pytest.raises(EvanesceError) as caught:
            client.custody.back_up(
                reference, tmp_path / "b", custodians=public, quorum="2 of (alice, bob, carol)", joint=True
            )
        assert caught.value.code == "bad-input"
        client.custody.back_up(reference, tmp_path / "split", custodians=public, officer=officer)
        client.custody.back_up(reference, tmp_path / "joint", custodians=public, officer=officer, joint=True)
        other = reference.replace("hsm:prod/", "hsm:second/")
        (tmp_path / "none").write_text("{}")
        refusals = (
            (tmp_path / "split", {"transport": other, "components": []}, "bad-input"),
            (tmp_path / "joint", {"transport": reference, "components": []}, "bad-input"),
            (tmp_path / "joint", {"transport": other, "components": [tmp_path / "none"]}, "backup-invalid"),
            (tmp_path / "joint", {"transport": other, "components": []}, "custodians-missing"),
        )
        for backup, terms, code in refusals:
            with pytest.raises(EvanesceError) as caught:
                client.custody.restore(f"{other}-back", backup, **terms)
            assert caught.value.code == code, caught.value
        # Said to be of the other sort, it opens for nobody.
        document = json.loads((tmp_path / "joint").read_text())
        del document["joint"]
        (tmp_path / "turned").write_text(json.dumps(document))
        with pytest.raises(EvanesceError) as caught:
            client.custody.restore(f"{other}-back", tmp_path / "turned", custodians=keys)
        assert caught.value.code == "backup-invalid"
    for backup, name, code in (("split", "alice", "bad-input"), ("joint", "bob", "backup-invalid")):
        with pytest.raises(EvanesceError) as caught:
            joint.hand_over(tmp_path / backup, name, keys["alice"], b"none", tmp_path / "part")
        assert caught.value.code == code, caught.value
    with pytest.raises(EvanesceError, match="no RSA public key"):
        joint.hand_over(tmp_path / "joint", "alice", keys["alice"], b"none", tmp_path / "part")
    assert not (tmp_path / "part").exists()
