"""A holder that fails between its signature and the removal keeps its old share: every verb that renews says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evanesce import Client, EvanesceError, Renewal, Token, cli
from evanesce._connect import Connection
from evanesce.errors import error
from evanesce.testbed import EmbeddedQuorum

SUITE = "frost-ed25519"


@pytest.fixture(scope="module")
def quorum(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedQuorum]:
    folder = tmp_path_factory.mktemp("quorum")
    with EmbeddedQuorum(folder, ["one", "two", "three"]) as made:
        made.admit("caller", folder / "home")
        made.start()
        yield made


@pytest.fixture
def caller(quorum: EmbeddedQuorum) -> Path:
    return quorum.folders["one"].root.parent / "home"


@pytest.fixture
def home(quorum: EmbeddedQuorum, caller: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of a caller to whom one agent is lost whenever a new token has been saved."""
    renew = Connection._renew

    def losing_one(self: Connection, token: Token, save: Any, *more: Any) -> Renewal:
        def save_and_lose(new: Token) -> None:
            save(new)
            quorum.stop(["three"])

        return renew(self, token, save_and_lose, *more)

    monkeypatch.setattr(Connection, "_renew", losing_one)
    yield caller
    quorum.start()


def run(capsys: pytest.CaptureFixture[str], home: Path, *words: object) -> tuple[int, Any, str]:
    capsys.readouterr()
    status = cli.run([*map(str, words), "--home", str(home)])
    said = capsys.readouterr()
    return status, json.loads(said.out) if "--json" in words else said.out, said.err


def names(faults: Any) -> list[str]:
    return [fault["holder"] for fault in faults]


@pytest.mark.parametrize("verb", ["refresh", "refresh-shares", "wait"])
def test_an_old_share_that_stays_is_named_and_the_command_does_not_succeed(
    home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: str
) -> None:
    name = f"stays-{verb}"
    with Client(home) as client:
        old = client.custody.create(f"mpc:{name}", [SUITE])
    assert isinstance(old, Token)
    if verb == "refresh":
        words: tuple[object, ...] = ("key", "refresh", f"mpc:{name}")
    elif verb == "refresh-shares":
        words = ("key", "refresh-shares", name, "--out", tmp_path / "new.regen")
    else:
        asked = run(capsys, home, "key", "refresh-shares", name, "--ask", "--json")[1]
        words = ("wait", asked["id"])
    status, said, _ = run(capsys, home, *words, "--json")
    assert (status, names(said["culprits" if verb == "refresh-shares" else "faults"])) == (1, ["three"]), said
    assert said["receipts"] and len(said["salt"]) == 64 and said["token"] != old.id


def test_people_are_told_who_keeps_an_old_share(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Client(home) as client:
        client.custody.create("mpc:people", [SUITE])
    status, _, err = run(capsys, home, "key", "refresh", "mpc:people")
    assert status == 1 and "warning: old shares may still be there: three" in " ".join(err.split()), err


def test_python_has_the_holders_too_and_a_later_destruction_removes_what_stayed(
    home: Path, quorum: EmbeddedQuorum
) -> None:
    with Client(home) as client:
        client.custody.create("mpc:told", [SUITE])
        done = client.custody.refresh("mpc:told")
        assert isinstance(done, Renewal) and [fault.holder for fault in done.faults] == ["three"]
        quorum.start()
        before = kept(client)
        assert client.custody.destroy("mpc:told@1").done
        assert kept(client) == before - 1
        client.sign("mpc:told", b"m")


@pytest.mark.parametrize("model", ["mpc", "regen-mpc"])
@pytest.mark.parametrize("verb", ["refresh", "wait"])
def test_one_that_was_stopped_before_anybody_was_told_is_finished_and_does_not_succeed_where_shares_are_kept(
    caller: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str, model: str
) -> None:
    name = f"stopped-{verb}-{model}"
    with Client(caller) as client:
        client.custody.create(f"{model}:{name}", [SUITE])
        before = kept(client)
    words = ("key", "refresh", f"{model}:{name}")
    if verb == "wait":
        words = ("wait", run(capsys, caller, "key", "refresh-shares", name, "--ask", "--json")[1]["id"])
    with monkeypatch.context() as stopping:
        stopping.setattr(Connection, "_renew", stopped_once_saved(Connection._renew))
        assert run(capsys, caller, *words, "--json")[1]["error"]["message"] == "stopped"
    status, said, _ = run(capsys, caller, *words, "--json")
    stays = model == "mpc"
    assert status == (1 if stays else 0), said
    (warning,) = said["warnings"]
    assert ("old shares may still be at their holders" in warning) == stays
    assert (said["faults"], said["receipts"], said["salt"]) == ([], [], None)
    if verb == "wait":
        assert said["resumed"] is True
    with Client(caller) as client:
        # It is true: the old token's are there beside the new one's.
        assert kept(client) == before + (3 if stays else 0)
        client.sign(f"{model}:{name}", b"m")


def test_nor_is_one_forgotten_that_was_stopped_before_another_on_other_terms(
    caller: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(caller) as client:
        client.custody.create("mpc:terms", [SUITE])
        with monkeypatch.context() as stopping:
            stopping.setattr(Connection, "_renew", stopped_once_saved(Connection._renew))
            with pytest.raises(EvanesceError, match="stopped"):
                client.custody.refresh("mpc:terms")
        done = client.custody.refresh("mpc:terms", expires=2**33)
        assert isinstance(done, Renewal) and done.removed == 3
        assert not done.told and any("old shares may still be" in warning for warning in done.warnings)
        done = client.custody.refresh("mpc:terms")
        assert isinstance(done, Renewal) and done.told and not done.faults


def stopped_once_saved(renew: Any) -> Any:
    def renew_and_stop(self: Connection, token: Token, save: Any, *more: Any) -> Renewal:
        def save_and_stop(new: Token) -> None:
            save(new)
            raise error("io", "stopped")

        done: Renewal = renew(self, token, save_and_stop, *more)
        return done

    return renew_and_stop


def kept(client: Client) -> int:
    return sum(int(row.report["shares"]) for row in client.status() if row.report)
