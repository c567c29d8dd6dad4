"""Working keys: derived from a root that a quorum keeps, in every token alike, replaced without a moment of none."""

from __future__ import annotations

import hmac
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import Place, command

from evanesce import Client, EvanesceError
from evanesce.custody import hsm as hsm_model
from evanesce.custody import renew
from evanesce.custody.working import context

MESSAGE = b"transaction 4711"


@pytest.fixture
def client(softhsm: Place, regen: Place, tmp_path: Path) -> Iterator[Client]:
    """A home with both: agents and modules."""
    home = tmp_path / "home"
    shutil.copytree(regen.home, home)
    for name in ("hsm.toml", "pin"):
        shutil.copy(softhsm.home / name, home / name)
    with Client(home) as both:
        both.custody.create("regen:root", ["hkdf-sha256"])
        yield both


def test_a_working_key_is_the_roots_own_and_the_same_in_every_token(client: Client) -> None:
    keys = ["hsm:prod/same", "hsm:second/same"]
    for version in (1, 2, 3):
        renewed = renew(client, keys, "regen:root")
        assert renewed.version == version
        buffer = bytearray(32)
        with client.derive("regen:root", context("same", version, "hmac-sha256")) as secret:
            secret.into(buffer)
        expected = hmac.new(buffer, MESSAGE, "sha256").digest()
        assert [client.mac(key, MESSAGE).value for key in keys] == [expected] * 2
    assert renewed.destroyed == ("hsm:prod/same@1", "hsm:second/same@1")
    with pytest.raises(EvanesceError) as caught:
        client.mac("hsm:prod/same@1", MESSAGE)
    assert caught.value.code == "not-found"
    # The one before still verifies what was made under it.
    old = client.mac("hsm:prod/same@2", MESSAGE)
    client.verify_mac("hsm:second/same@2", MESSAGE, old)
    found = client.custody.describe("hsm:prod/same")
    assert found["versions"] == [2, 3] and found["non_extractable"] and not found["never_left"]


def test_renewals_leave_no_moment_without_a_key(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hsm_model, "FRESH", 0.05)
    renew(client, "hsm:prod/busy", "regen:root")
    made: list[int] = []
    failures: list[Exception] = []
    over = threading.Event()

    def caller() -> None:
        # A process of its own would be the same: it has its own cache.
        with Client(client.custody.hsm._home.root) as other:
            count = 0
            while not over.is_set():
                try:
                    batch = [b"%d" % number for number in range(count, count + 50)]
                    count += len(other.mac_many("hsm:prod/busy", batch))
                except Exception as e:
                    failures.append(e)
                    return
            made.append(count)

    threads = [threading.Thread(target=caller) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(6):
        renewed = renew(client, "hsm:prod/busy", "regen:root")
        over.wait(0.3)
    over.set()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert renewed.version == 7 and sum(made) > 500


def test_what_is_told_of_a_key_is_how_it_is_now_though_others_renewed_it(client: Client) -> None:
    renew(client, "hsm:prod/told", "regen:root")
    with Client(client.custody.hsm._home.root) as other:
        assert other.custody.describe("hsm:prod/told")["versions"] == [1]
        for version in (2, 3):
            renew(client, "hsm:prod/told", "regen:root")
            found = other.custody.describe("hsm:prod/told")
            assert (found["key"], found["versions"]) == (f"hsm:prod/told@{version}", [version - 1, version])
        with pytest.raises(EvanesceError) as caught:
            other.custody.describe("hsm:prod/told@1")
        assert caught.value.code == "not-found"


def test_a_token_that_was_lost_gets_the_same_key_again(client: Client) -> None:
    renew(client, "hsm:prod/lost", "regen:root")
    before = client.mac("hsm:prod/lost", MESSAGE).value
    assert client.custody.destroy("hsm:prod/lost").done
    renew(client, "hsm:prod/lost", "regen:root")
    assert client.mac("hsm:prod/lost", MESSAGE).value == before


def test_what_is_no_working_key_is_refused(client: Client) -> None:
    for keys, suite in (
        ("regen:root", "hmac-sha256"),
        ("hsm:prod", "hmac-sha256"),
        ("hsm:prod/a@2", "hmac-sha256"),
        (["hsm:prod/a", "hsm:second/b"], "hmac-sha256"),
        ("hsm:prod/a", "ed25519"),
    ):
        with pytest.raises(EvanesceError) as caught:
            renew(client, keys, "regen:root", suite)
        assert caught.value.code == "bad-input"


def test_one_command_renews_the_keys_of_a_cluster(client: Client, softhsm: Place, tmp_path: Path) -> None:
    def run(*words: str) -> dict[str, object]:
        renewing = ("key", "renew", *words, "--root", "regen:root", "--json")
        found: dict[str, object] = json.loads(command(tmp_path / "home", *renewing, **softhsm.environment).stdout)
        return found

    cluster = ("hsm:prod/line", "hsm:second/line")
    assert run(*cluster)["version"] == 1
    assert run(*cluster, "--keep", "1") == {
        "version": 2,
        "keys": [f"{key}@2" for key in cluster],
        "destroyed": [f"{key}@1" for key in cluster],
    }
    one, other = (client.mac(key, MESSAGE).value for key in cluster)
    assert one == other
