"""A renewal of kept shares that is stopped after the new token was saved: that token is then all there may be of the
key, and whoever goes on believes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from places import Place

from evanesce import Client, EvanesceError, Token, verify
from evanesce._heal import Changes
from evanesce.cli._healing import Healing

MESSAGE = b"pay 900 EUR to alice"


class Stopped(BaseException):
    """As if the process had ended."""


def renew(client: Client, old: Token, healing: Healing, stopped: bool) -> None:
    def save(new: Token) -> None:
        healing.note(new)
        if stopped:
            raise Stopped

    client._open().refresh_shares(old, save, None, Changes())


def test_a_new_token_that_was_noted_is_gone_on_with(mpc: Place, tmp_path: Path) -> None:
    with mpc.client() as client:
        client.custody.create(reference := mpc.fresh(), [mpc.suite])
        old = client.custody.key(reference)
        assert isinstance(old, Token)
        healing = Healing.of(tmp_path / "new.regen", old, "request", {})
        with pytest.raises(Stopped):
            renew(client, old, healing, stopped=True)
        new = healing.resume(mpc.home)
        assert new is not None and new.pinned == "kept"
        verify(old, MESSAGE, client.sign(new, MESSAGE))


def test_a_token_that_nothing_here_vouches_for_is_not_believed_and_not_thrown_away_either(
    mpc: Place, tmp_path: Path
) -> None:
    with mpc.client() as client:
        client.custody.create(reference := mpc.fresh(), [mpc.suite])
        old = client.custody.key(reference)
        assert isinstance(old, Token)
        healing = Healing.of(tmp_path / "new.regen", old, "request", {})
        renew(client, old, healing, stopped=False)
        pins = mpc.home / "pins"
        before = pins.read_text()
        (*kept, _) = before.splitlines(keepends=True)
        pins.write_text("".join(kept))
        with pytest.raises(EvanesceError) as caught:
            healing.resume(mpc.home)
        assert caught.value.code == "unpinned" and "Keep that file" in caught.value.hint
        pins.write_text(before)
        assert healing.resume(mpc.home) is not None
