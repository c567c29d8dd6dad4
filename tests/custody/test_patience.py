"""How long a use waits for a key that is being made or destroyed: as docs/custody.md says, and not on an event loop."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from elements import PIN
from places import Place

from evanesce import AsyncClient, EvanesceError, UnsupportedError
from evanesce.custody import hsm
from evanesce.custody.hsm import Hsm
from evanesce.custody.reference import Reference


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[threading.Thread, float]]:
    """Who waited for how long."""
    all_of_them: list[tuple[threading.Thread, float]] = []

    def waited(seconds: float) -> None:
        all_of_them.append((threading.current_thread(), seconds))
        time.sleep(seconds)

    monkeypatch.setattr(hsm, "time", SimpleNamespace(sleep=waited, monotonic=time.monotonic, time=time.time))
    return all_of_them


def test_a_key_that_is_there_and_never_works_is_waited_for_once(
    softhsm: Place, tmp_path: Path, waits: list[tuple[threading.Thread, float]]
) -> None:
    # As one looks that is being made: there is something under the label, and no kind of key that is known.
    (tmp_path / "short").write_bytes(bytes(16))
    words = ("--aes", "--token", "prod", "--label", "short", "--id", "0123", "--pin", PIN)
    subprocess.run(["softhsm2-util", "--import", str(tmp_path / "short"), *words], check=True, capture_output=True)
    with softhsm.client() as client:
        with pytest.raises(EvanesceError) as caught:
            client.mac("hsm:prod/short", b"m", "aes-cmac")
        assert caught.value.code == "not-found"
        assert [pause for _, pause in waits] == [*hsm.PAUSES]
        waits.clear()
        # One that worked, and by now does not.
        reference = softhsm.fresh()
        client.custody.create(reference, ["aes-cmac"])
        client.mac(reference, b"m")
        label = Reference.parse(reference).label
        client.custody.hsm._token("prod").destroy(label)
        words = ("--aes", "--token", "prod", "--label", label, "--id", "0123", "--pin", PIN)
        subprocess.run(["softhsm2-util", "--import", str(tmp_path / "short"), *words], check=True, capture_output=True)
        with pytest.raises(EvanesceError):
            client.mac(reference, b"m")
        assert [pause for _, pause in waits] == [*hsm.PAUSES]
        waits.clear()
        for absent in ("hsm:prod/none", "hsm:prod/none@3", "hsm:prod/short@2"):
            with pytest.raises(EvanesceError) as caught:
                client.mac(absent, b"m", "aes-cmac")
            assert caught.value.code == "not-found"
        assert not waits


def test_what_a_token_does_not_do_with_a_key_that_is_whole_is_refused_at_once(
    softhsm: Place, waits: list[tuple[threading.Thread, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hsm, "PAUSES", (0.0, 0.0, 0.0))
    with softhsm.client() as client:
        reference = softhsm.fresh()
        client.custody.create(reference, ["rsa-oaep-sha256"], kind="rsa-2048")
        with pytest.raises(UnsupportedError) as caught:
            client.decrypt(reference, bytes(256))
        assert "CKR_" in caught.value.message
        assert not waits


def test_nothing_is_looked_for_or_waited_for_on_an_event_loop(
    softhsm: Place, waits: list[tuple[threading.Thread, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[threading.Thread] = []
    look = Hsm.look

    def seen(self: Hsm, reference: Reference) -> hsm.HsmKey:
        looked.append(threading.current_thread())
        return look(self, reference)

    monkeypatch.setattr(Hsm, "look", seen)

    async def story() -> None:
        async with AsyncClient(softhsm.home) as client:
            reference = softhsm.fresh()
            await client.custody.create(reference, ["aes-cmac"])
            await client.custody.key(reference)
            # Kept from here on, and never fresh.
            monkeypatch.setattr(hsm, "FRESH", 0.0)
            first = (await client.mac(reference, b"m")).value
            await client.custody.rotate(reference)
            assert (await client.mac(reference, b"m")).value != first
            await client.mac_many(reference, [b"m"] * 3)
            await client.custody.destroy(f"{reference}@1")
            await client.custody.destroy(f"{reference}@2")
            with pytest.raises(EvanesceError):
                await client.custody.key(reference)

    asyncio.run(story())
    assert len(looked) >= 3
    assert threading.main_thread() not in [*looked, *(thread for thread, _ in waits)]
