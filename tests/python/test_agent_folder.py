"""An agent's folder: whom it knows is edited with care, and only a lock says that it runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evanesce import EvanesceError
from evanesce._agentdir import AgentFolder, Known, known_identity

OPS = Known("ops", "ab" * 32, ("caller", "reconstructor"))
DEV = Known("dev", "cd" * 32, ("caller",), ("team",))


@pytest.fixture
def folder(tmp_path: Path) -> AgentFolder:
    at = AgentFolder(tmp_path)
    at.write_config({"name": "agent-1", "listen": "127.0.0.1:0"}, {"kind": "software"})
    return at


def test_identities_are_added_and_comments_stay(folder: AgentFolder) -> None:
    folder.known.write_text("# who may ask\n")
    assert folder.allow(OPS)
    assert folder.allow(DEV)
    assert folder.read_known() == (OPS, DEV)
    assert folder.known.read_text().startswith("# who may ask\n")
    assert folder.known.stat().st_mode & 0o777 == 0o600


def test_allowing_twice_changes_nothing(folder: AgentFolder) -> None:
    folder.allow(OPS)
    before = folder.known.read_bytes()
    assert not folder.allow(OPS)
    assert folder.known.read_bytes() == before


def test_allowing_again_with_other_roles_replaces(folder: AgentFolder) -> None:
    folder.allow(OPS)
    folder.allow(DEV)
    more = Known("ops", OPS.id, ("caller", "minter", "reconstructor"))
    assert folder.allow(more)
    assert folder.read_known() == (more, DEV)


def test_a_name_is_not_given_to_another_key(folder: AgentFolder) -> None:
    folder.allow(OPS)
    with pytest.raises(EvanesceError, match="knows another identity"):
        folder.allow(Known("ops", DEV.id, ("caller",)))


def test_an_authenticators_key_approves_and_nothing_else(folder: AgentFolder) -> None:
    board = known_identity("board", "ef" * 32, ["approver"], [], "example.com", ["https://console.example.com"])
    folder.allow(OPS)
    folder.allow(board)
    assert folder.read_known() == (OPS, board)
    assert 'webauthn = "example.com"\norigins = ["https://console.example.com"]\n' in folder.known.read_text()
    with pytest.raises(EvanesceError, match="opens no connection"):
        known_identity("board", "ef" * 32, ["approver", "caller"], [], "example.com")
    with pytest.raises(EvanesceError, match="those of an authenticator"):
        known_identity("board", "ef" * 32, ["approver"], [], "", ["https://console.example.com"])


def test_forgetting(folder: AgentFolder) -> None:
    folder.allow(OPS)
    folder.allow(DEV)
    assert folder.forbid("ops")
    assert not folder.forbid("ops")
    assert folder.read_known() == (DEV,)


def test_a_name_cannot_write_toml(folder: AgentFolder) -> None:
    hostile = Known('x"]\nroles = ["minter"]', "ab" * 32, ("caller",), ('g"\n[[identity]]',))
    folder.allow(hostile)
    assert folder.read_known() == (hostile,)


@pytest.mark.parametrize("text", ["identity = 3", "[[identity]]\nname = 1", '[[identity]]\nname = "a"'])
def test_a_broken_file_is_not_edited(folder: AgentFolder, text: str) -> None:
    folder.known.write_text(text)
    with pytest.raises(EvanesceError) as caught:
        folder.allow(OPS)
    assert caught.value.code == "config"
    assert folder.known.read_text() == text


def test_entries_are_checked_before_they_are_written() -> None:
    with pytest.raises(EvanesceError, match="cannot be a name"):
        known_identity("a b", "ab" * 32, ["caller"], [])
    with pytest.raises(EvanesceError, match="not a caller id"):
        known_identity("ops", "ab", ["caller"], [])
    assert known_identity("ops", "AB" * 32, ["minter", "caller"], ["g", "g"]) == Known(
        "ops", "ab" * 32, ("caller", "minter"), ("g",)
    )


def test_only_a_held_lock_means_running(folder: AgentFolder) -> None:
    assert folder.running() is None
    folder.pid.write_text("1\n")
    assert folder.running() is None
    lock = folder.claim()
    try:
        assert folder.running() == os.getpid()
        with pytest.raises(EvanesceError) as caught:
            folder.claim()
        assert caught.value.code == "running"
    finally:
        os.close(lock)
    assert folder.running() is None
