"""A renewal of kept shares that is stopped after the new token was saved: that token is then all there may be of the
key, and whoever goes on believes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from places import Place

from evanesce import Client, EvanesceError, Request, Token, verify
from evanesce._heal import Changes
from evanesce.cli._healing import Healing
from evanesce.custody.reference import Reference
from evanesce.custody.tokens import token_path
from evanesce.errors import error
from evanesce.home import Home

MESSAGE = b"pay 900 EUR to alice"


class Stopped(BaseException):
    """As if the process had ended."""


def token_of(client: Client, reference: str) -> Token:
    found = client.custody.key(reference)
    assert isinstance(found, Token)
    return found


def renew(client: Client, old: Token, healing: Healing, stopped: bool) -> None:
    def save(new: Token) -> None:
        healing.note(new)
        if stopped:
            raise Stopped

    client._open().refresh_shares(old, save, None, Changes())


def test_a_new_token_that_was_noted_is_gone_on_with(mpc: Place, tmp_path: Path) -> None:
    with mpc.client() as client:
        client.custody.create(reference := mpc.fresh(), [mpc.suite])
        old = token_of(client, reference)
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
        old = token_of(client, reference)
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


def test_a_header_is_used_up_though_its_token_could_not_be_saved(mpc: Place) -> None:
    def save(_: Token) -> None:
        raise error("io", "the disk is full")

    with mpc.client() as client:
        client.custody.create(reference := mpc.fresh(), [mpc.suite])
        old = token_of(client, reference)
        asked = Request.to_refresh_shares(old, client.caller_id)
        for code in ("io", "spent"):
            with pytest.raises(EvanesceError) as caught:
                client.perform(asked, [], save=save)
            assert caught.value.code == code
        # No old share went before there was a new token on disk.
        verify(old, MESSAGE, client.sign(reference, MESSAGE))


def stop_beside(place: Place, client: Client, reference: str) -> tuple[Token, Path, bytes]:
    """A refresh by reference that was stopped once the old shares were gone, before its token had its place: what it
    was of, where the new token is, and that token."""
    old, path = token_of(client, reference), token_path(Home.at(place.home), Reference.parse(reference))
    client.custody.refresh(reference)
    waiting = path.with_name(f"{path.stem}@new{path.suffix}")
    path.replace(waiting)
    path.with_name(f"{path.stem}@1{path.suffix}").replace(path)
    with pytest.raises(EvanesceError):
        client.sign(reference, MESSAGE)
    return old, waiting, waiting.read_bytes()


@pytest.mark.parametrize("again", ["refresh", "refresh on other terms", "rotate"])
def test_a_refresh_by_reference_goes_on_with_the_token_that_lies_beside(mpc: Place, again: str) -> None:
    with mpc.client() as client:
        client.custody.create(reference := mpc.fresh(), [mpc.suite])
        old, waiting, left = stop_beside(mpc, client, reference)
        if again == "rotate":
            client.custody.rotate(reference)
            client.sign(reference, MESSAGE)
            reference += "@2"
        elif again == "refresh":
            client.custody.refresh(reference)
            assert token_of(client, reference).encode() == left
        else:
            client.custody.refresh(reference, expires=2**33)
            assert token_of(client, f"{reference}@2").encode() == left
            assert token_of(client, reference).expires == 2**33
        assert not waiting.exists()
        verify(old, MESSAGE, client.sign(reference, MESSAGE))


def test_a_token_of_the_key_that_nobody_vouches_for_is_not_written_over(mpc: Place) -> None:
    with mpc.client() as client:
        client.custody.create(reference := mpc.fresh(), [mpc.suite])
        _, waiting, left = stop_beside(mpc, client, reference)
        pins = mpc.home / "pins"
        before = pins.read_text()
        new = Token.decode(left).id
        pins.write_text("".join(line for line in before.splitlines(keepends=True) if not line.startswith(new)))
        for again in (client.custody.refresh, client.custody.rotate):
            with pytest.raises(EvanesceError) as caught:
                again(reference)
            assert caught.value.code == "exists" and waiting.read_bytes() == left
        pins.write_text(before)
        client.custody.refresh(reference)
        client.sign(reference, MESSAGE)
