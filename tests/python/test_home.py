"""The home folder: quorum files that are wrong are told so, pins are whole, tokens are never half written."""

from __future__ import annotations

from pathlib import Path

import pytest

from evanesce import EvanesceError, _files
from evanesce.home import Agent, Home, read_agents, valid_address
from evanesce.pins import Pins, parse_id

ID = "ab" * 32


def quorum(folder: Path, text: str) -> Path:
    path = folder / "quorum.toml"
    path.write_text(text)
    return path


def test_a_quorum_file_names_agents(tmp_path: Path) -> None:
    one = Agent("agent-1", ID, "127.0.0.1:7401", "site", 'vendor "x"')
    two = Agent("agent-2", "cd" * 32, "[::1]:7402")
    three = Agent("agent-3", "ef" * 32, "[::1]:7403", administrator="ops, the night shift")
    assert read_agents(quorum(tmp_path, "\n".join(each.stanza() for each in (one, two, three)))) == (one, two, three)
    assert "administrator" not in two.stanza(), "readers that do not know the field can still read it"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no agent"),
        ("agent = 3", "names no agent"),
        ("[[agent]", "not valid TOML"),
        ("surprise = 1", "unknown entry 'surprise'"),
        (f'[[agent]]\nname = "a"\nid = "{ID}"\naddress = "h:1"\nadress = "h:1"', "unknown field 'adress'"),
        ('[[agent]]\nname = "a"\naddress = "h:1"', "id is missing"),
        ('[[agent]]\nname = "a"\nid = "abc"\naddress = "h:1"', "64 hex digits"),
        (f'[[agent]]\nname = "a b"\nid = "{ID}"\naddress = "h:1"', "a name is"),
        (f'[[agent]]\nname = "a"\nid = "{ID}"\naddress = "h"', "host:port"),
        ('[[agent]]\nname = "a"\nid = 7\naddress = "h:1"', "id must be text"),
        (f'[[agent]]\nname = "a"\nid = "{ID}"\naddress = "h:1"\n' * 2, "twice"),
    ],
)
def test_a_wrong_quorum_file_is_told_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(EvanesceError, match=said) as caught:
        read_agents(quorum(tmp_path, text))
    assert caught.value.code == "config"
    assert str(tmp_path) in caught.value.message


def test_a_missing_quorum_file_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(EvanesceError) as caught:
        read_agents(tmp_path / "quorum.toml")
    assert caught.value.code == "not-found"
    assert "agent init" in caught.value.hint


@pytest.mark.parametrize(
    ("address", "valid"),
    [
        ("h:1", True),
        ("[::1]:443", True),
        ("::1:443", False),
        ("h:", False),
        (":1", False),
        ("h:99999", False),
        ("h:²", False),
    ],
)
def test_addresses(address: str, valid: bool) -> None:
    assert valid_address(address) is valid


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\0b", "x" * 201])
def test_token_names_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(EvanesceError, match="cannot be the name"):
        Home.at(tmp_path).token(name)


def test_the_home_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EVANESCE_HOME", str(tmp_path))
    assert Home.at().root == tmp_path
    monkeypatch.delenv("EVANESCE_HOME")
    assert Home.at().root == Path.home() / ".config/evanesce"


def test_pins_are_kept_once(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "home" / "pins")
    assert not pins.contains(ID)
    pins.add(ID, "pay\nments\x1b")
    pins.add(ID, "again")
    assert pins.all() == {ID: "pay\\x0aments\\x1b"}
    assert pins.path.stat().st_mode & 0o777 == 0o600


def test_a_pin_cut_short_does_not_swallow_the_next(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "pins")
    pins.path.write_text("cd" * 32)
    pins.path.chmod(0o600)
    pins.add(ID, "x")
    assert set(pins.all()) == {"cd" * 32, ID}


def test_pins_that_others_may_write_prove_nothing(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "pins")
    pins.add(ID, "x")
    pins.path.chmod(0o622)
    with pytest.raises(EvanesceError, match="written by others"):
        pins.contains(ID)


def test_a_line_that_is_no_pin_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pins"
    path.write_text(f"# trusted\n\n{ID} 1 x\nabcd 1 y\n")
    path.chmod(0o600)
    with pytest.raises(EvanesceError, match="line 4"):
        Pins(path).all()


@pytest.mark.parametrize("text", ["", ID[:16], ID[:-1], ID + "a", "g" * 64, "\uff11" * 64])
def test_only_a_whole_id_is_a_pin(text: str) -> None:
    with pytest.raises(EvanesceError, match="64 hex digits"):
        parse_id(text)


def test_an_id_may_be_grouped_and_in_capitals() -> None:
    assert parse_id(" ".join([ID[:32].upper(), ID[32:]])) == ID


def test_files_are_not_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.regen"
    _files.write(path, b"one")
    with pytest.raises(EvanesceError) as caught:
        _files.write(path, b"two")
    assert caught.value.code == "exists"
    _files.write(path, b"two", overwrite=True)
    assert path.read_bytes() == b"two"
    assert [found.name for found in tmp_path.iterdir()] == ["a.regen"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(EvanesceError) as caught:
        _files.write(tmp_path / "missing" / "a", b"x")
    assert caught.value.code == "not-found"
    assert not list(tmp_path.iterdir())


def test_a_finished_file_never_replaces_another_that_came_meanwhile(tmp_path: Path) -> None:
    finished, target = tmp_path / "temporary", tmp_path / "target"
    finished.write_bytes(b"mine")
    target.write_bytes(b"theirs")
    with pytest.raises(EvanesceError) as caught:
        _files.move_to_new(finished, target)
    assert caught.value.code == "exists"
    assert target.read_bytes() == b"theirs"
