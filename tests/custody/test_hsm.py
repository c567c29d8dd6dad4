"""What is the `hsm` model's own: what tokens say of keys, PINs, modules, many messages at once."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import pytest
from files import private
from places import Place, command

from evanesce import Client, EvanesceError, UnsupportedError, verify
from evanesce.custody import Reference


def test_a_key_is_made_in_the_token_and_stays_there_by_its_own_word(softhsm: Place, nss: Place) -> None:
    for place in (softhsm, nss):
        with place.client() as client:
            reference = place.fresh()
            client.custody.create(reference, ["ecdsa-p256"])
            found = client.custody.describe(reference)
            assert found["kind"] == "p256"
            assert found["non_extractable"] is True
            # NSS keeps no CKA_ALWAYS_SENSITIVE for keys of its database: it says no more than it can.
            assert found["never_left"] is (place is softhsm)


def test_a_module_is_described_by_what_it_was_found_to_do(softhsm: Place) -> None:
    with softhsm.client() as client:
        found = client.custody.describe("hsm:prod")
    works = {(row["kind"], row["suite"]): row["works"] for row in found["suites"]}
    assert works["ed25519", "ed25519"] and works["aes-256", "aes-cmac"]
    # SoftHSM 2.6 knows OAEP with SHA-1 alone, and says so.
    assert not works["rsa-2048", "rsa-oaep-sha256"]
    assert "SoftHSM" in found["token"]


def test_a_kind_serves_all_of_its_suites_and_is_chosen_by_them(softhsm: Place) -> None:
    with softhsm.client() as client:
        reference = softhsm.fresh()
        key = client.custody.create(reference, ["aes-256-gcm", "aes-cmac"])
        assert set(key.suites) == {"aes-256-gcm", "aes-cmac"}
        with pytest.raises(UnsupportedError) as caught:
            client.custody.create(softhsm.fresh(), ["aes-256-gcm", "ed25519"])
        assert "no one kind" in caught.value.message
        with pytest.raises(UnsupportedError):
            client.custody.create(softhsm.fresh(), ["ml-dsa-65"])


def test_labels_may_be_any_text(softhsm: Place) -> None:
    label = "Zahlungen / Köln 100% @ home"
    reference = str(Reference("hsm", "prod", label))
    assert Reference.parse(reference).label == label
    with softhsm.client() as client:
        key = client.custody.create(reference, ["ecdsa-p256"])
        verify(key, b"m", client.sign(reference, b"m"))


def test_a_home_with_modules_alone_needs_no_identity_and_says_so_where_one_is_needed(softhsm: Place) -> None:
    with softhsm.client() as client, pytest.raises(EvanesceError) as caught:
        client.create("payments", ["ed25519"])
    assert caught.value.code == "identity"


def test_a_pin_is_named_and_never_part_of_a_reference_or_an_error(softhsm: Place, tmp_path: Path) -> None:
    (tmp_path / "hsm.toml").write_text((softhsm.home / "hsm.toml").read_text().split("\n\n")[0])
    pin = "9999-not-the-pin"
    private(tmp_path / "pin", f"{pin}\n")

    def refused() -> str:
        # In a process of its own: in this one the token is logged in to, and reads no PIN any more.
        words = ("mac", "hsm:prod/key", "-m", "m", "--json")
        done = command(tmp_path, *words, status=1, **softhsm.environment)
        found = json.loads(done.stdout)["error"]
        assert found["code"] in ("element", "config"), found
        assert pin not in (done.stdout + done.stderr).decode()
        return str(found["message"])

    assert "PIN" in refused()
    (tmp_path / "pin").chmod(0o644)
    assert str(tmp_path / "pin") in refused()
    with Client(tmp_path) as client, pytest.raises(EvanesceError) as caught:
        client.custody.key("hsm:elsewhere/key")
    assert caught.value.code == "not-found" and "prod" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[[hsm]]\nname = "a"\n', "module is missing"),
        ('[[hsm]]\nname = "a"\nmodule = "m"\npin = "1234"\n', "pin is { file"),
        ('[[hsm]]\nname = "a"\nmodule = "m"\nslot = "3"\n', "slot must be a number"),
        ('[[hsm]]\nname = "a"\nmodule = "m"\ncolour = 1\n', "unknown field 'colour'"),
        ('[[hsm]]\nname = "a"\nmodule = "m"\n[[hsm]]\nname = "a"\nmodule = "m"\n', "twice"),
        ("[other]\n", "[[hsm]] entries alone"),
    ],
)
def test_a_file_of_modules_that_is_wrong_is_refused_saying_where(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "hsm.toml").write_text(text)
    with Client(tmp_path) as client, pytest.raises(EvanesceError) as caught:
        client.custody.key("hsm:a/key")
    assert caught.value.code == "config" and why in caught.value.message
    assert "1234" not in str(caught.value)


def test_ten_thousand_macs_are_one_call_and_threads_have_sessions_of_their_own(softhsm: Place) -> None:
    messages = [b"transaction %d" % number for number in range(10_000)]
    results: list[bytes] = []
    with softhsm.client() as client:
        key = client.custody.create(softhsm.fresh(), ["hmac-sha256"])

        def work() -> None:
            digest = hashlib.sha256(b"".join(client.mac_many(key, messages).values)).digest()
            results.append(digest)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 3 and len(set(results)) == 1
