"""Keys that are never put together get other holders by reference; whoever is gone is not asked, and named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from places import command

from evanesce import Client, EvanesceError, Renewal, Token, cli, verify
from evanesce._connect import Connection
from evanesce.errors import error
from evanesce.testbed import EmbeddedQuorum

SUITE = "frost-ed25519"
FOUR = "2 of (one, two, three, four)"
THREE = "2 of (one, two, three)"


@pytest.fixture(scope="module")
def quorum(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedQuorum]:
    folder = tmp_path_factory.mktemp("quorum")
    with EmbeddedQuorum(folder, ["one", "two", "three", "four", "five"]) as made:
        made.admit("caller", folder / "home")
        made.start()
        yield made


@pytest.fixture
def home(quorum: EmbeddedQuorum) -> Iterator[Path]:
    yield quorum.folders["one"].root.parent / "home"
    quorum.start()


@pytest.fixture(params=["mpc", "regen-mpc"])
def reference(request: pytest.FixtureRequest, home: Path) -> str:
    """A new key of four holders."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    with Client(home) as client:
        client.custody.create(made := f"{request.param}:{name}", [SUITE], quorum=FOUR)
    return made


def token_of(client: Client, reference: str) -> Token:
    found = client.custody.key(reference)
    assert isinstance(found, Token)
    return found


def kept(client: Client) -> int:
    return sum(int(row.report["shares"]) for row in client.status() if row.report)


def refreshed(client: Client, reference: str, **terms: Any) -> Renewal:
    done = client.custody.refresh(reference, **terms)
    assert isinstance(done, Renewal)
    return done


def test_a_holder_that_is_gone_is_left_out_and_another_one_comes(
    quorum: EmbeddedQuorum, home: Path, reference: str
) -> None:
    with Client(home) as client:
        old = token_of(client, reference)
        quorum.stop(["four"])
        done = refreshed(client, reference, quorum=THREE)
        assert [seat.name for seat in done.left_out] == ["four"]
        assert (done.faults, done.told, done.token.quorum) == ((), True, THREE)
        verify(old, b"m", client.sign(reference, b"m"))
        # The seat goes to another; nobody who has a share of the new token's is missing then.
        done = refreshed(client, reference, seats={"three": "five"}, policy="permit(principal, action, resource);")
        assert [seat.name for seat in done.left_out] == ["three"]
        quorum.stop(["three", "one"])
        verify(old, b"m", client.sign(reference, b"m"))
        quorum.start()
        assert token_of(client, f"{reference}@1").id == old.id
        assert all(client.custody.destroy(f"{reference}@{version}").done for version in (1, 2))
        verify(old, b"m", client.sign(reference, b"m"))


def test_what_is_left_out_keeps_its_share_until_the_old_token_is_destroyed(home: Path) -> None:
    with Client(home) as client:
        client.custody.create("mpc:told", [SUITE], quorum=FOUR)
        before = kept(client)
        done = refreshed(client, "mpc:told", quorum=THREE)
        assert (done.removed, kept(client)) == (3, before)
        assert client.custody.destroy("mpc:told@1").done
        assert kept(client) == before - 1


def test_those_who_are_left_out_at_once_may_need_nobody_else(home: Path, reference: str) -> None:
    with Client(home) as client:
        old = token_of(client, reference)
        done = refreshed(client, reference, quorum="2 of (one, two)")
        assert any("2 holders are left out at once" in warning for warning in done.warnings)
        # It is true, and over once they know.
        verify(old, b"m", client.sign(f"{reference}@1", b"m"))
        assert client.custody.destroy(f"{reference}@1").done
        with pytest.raises(EvanesceError) as caught:
            client.sign(f"{reference}@1", b"m")
        assert caught.value.code == "refused" and "retired" in str(caught.value.culprits), caught.value
        verify(old, b"m", client.sign(reference, b"m"))


def test_one_that_was_stopped_before_the_old_shares_went_is_gone_on_with(
    quorum: EmbeddedQuorum, home: Path, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(home) as client:
        old, before = token_of(client, reference), kept(client)
        quorum.stop(["four"])
        with monkeypatch.context() as stopping:
            stopping.setattr(Connection, "_renew", stopped_once_saved(Connection._renew))
            with pytest.raises(EvanesceError, match="stopped"):
                refreshed(client, reference, quorum=THREE)
        # By the same words; and by none, as long as the new token has not its place.
        done = refreshed(client, reference, quorum=THREE)
        assert done.token.quorum == THREE and done.token.key_id == old.key_id
        assert [seat.name for seat in done.left_out] == ["four"]
        assert any("a renewal that was stopped is finished" in warning for warning in done.warnings)
        stays = reference.startswith("mpc:")
        assert done.told != stays
        verify(old, b"m", client.sign(reference, b"m"))
        quorum.start()
        # Of four old shares none has gone, beside three new ones.
        assert kept(client) == before + (3 if stays else 0)
        assert client.custody.destroy(f"{reference}@1").done
        assert kept(client) == before - (1 if stays else 0)


def stopped_once_saved(renew: Callable[..., Renewal]) -> Callable[..., Renewal]:
    def renew_and_stop(self: Connection, token: Token, save: Callable[[Token], None], *more: Any) -> Renewal:
        def save_and_stop(new: Token) -> None:
            save(new)
            raise error("io", "stopped")

        return renew(self, token, save_and_stop, *more)

    return renew_and_stop


def test_the_command_line_says_it_by_reference_and_takes_no_option_that_goes_unheeded(
    home: Path, reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reshare = ("key", "reshare", reference, "--quorum", THREE)
    status, said, _ = run(capsys, home, *reshare, "--revoke-old", "--json")
    assert status == 1 and "--revoke-old" in said["error"]["message"]
    status, _, err = run(capsys, home, *reshare)
    assert status == 0, err
    assert "four (seat four) is left out: until it obeys a revocation" in " ".join(err.split())
    with Client(home) as client:
        assert token_of(client, reference).quorum == THREE
        client.sign(reference, b"m")


def test_a_wait_that_was_stopped_is_gone_on_with_and_still_names_who_is_left_out(
    home: Path, reference: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _, name = reference.partition(":")
    asked = run(capsys, home, "key", "reshare", name, "--quorum", THREE, "--ask", "--json")[1]
    words = ("wait", asked["id"], "--json")
    with monkeypatch.context() as stopping:
        stopping.setattr(Connection, "_renew", stopped_once_saved(Connection._renew))
        assert run(capsys, home, *words)[1]["error"]["message"] == "stopped"
    status, said, _ = run(capsys, home, *words)
    assert (status, said["resumed"]) == (1 if model == "mpc" else 0, True), said
    assert [seat["name"] for seat in said["left_out"]] == ["four"]
    with Client(home) as client:
        assert token_of(client, reference).id == said["token"]
        client.sign(reference, b"m")


def test_the_words_for_other_keys_renew_these_too(
    home: Path, reference: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    name, out = reference.partition(":")[2], tmp_path / "new.regen"
    refresh = ("key", "refresh", name, "--out", out, "--json")
    status, said, _ = run(capsys, home, *refresh, "--retire-old")
    assert status == 1 and "--retire-old" in said["error"]["message"] and "--revoke-old" in said["error"]["hint"]
    status, said, _ = run(capsys, home, *refresh, "--revoke-old")
    assert (status, said["revoked"], said["left_out"], said["quorum"]) == (0, True, [], FOUR), said
    with Client(home) as client:
        verify(token_of(client, reference), b"m", client.sign(Token.load(out, home=home), b"m"))


def run(capsys: pytest.CaptureFixture[str], home: Path, *words: object) -> tuple[int, Any, str]:
    capsys.readouterr()
    status = cli.run([*map(str, words), "--home", str(home)])
    said = capsys.readouterr()
    return status, json.loads(said.out) if "--json" in words else said.out, said.err


def test_a_key_that_is_put_together_and_named_by_reference_goes_to_another_quorum_in_a_file(
    home: Path, tmp_path: Path
) -> None:
    with Client(home) as client:
        client.custody.create("regen:filed", ["ed25519"], quorum=FOUR)
        old = token_of(client, "regen:filed")
        command(home, "key", "reshare", "regen:filed", "--quorum", THREE, "--out", tmp_path / "new.regen")
        new = Token.load(tmp_path / "new.regen", home=home)
        assert new.quorum == THREE
        verify(old, b"m", client.sign(new, b"m"))
        assert token_of(client, "regen:filed").id == old.id
