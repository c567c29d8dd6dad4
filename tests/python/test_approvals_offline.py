"""Requests come from whoever asks: what is no request is said to be none, and what is altered is another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evanesce import EvanesceError, Request, Token, _core
from evanesce._requests import Requests, asked_here

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "tokens.json"
CALLER = "cd" * 32


@pytest.fixture(scope="module")
def token() -> Token:
    cases = json.loads(VECTORS.read_text())["cases"]
    tokens = (Token.decode(bytes.fromhex(case["token"])) for case in cases if "error" not in case)
    return next(token for token in tokens if "ed25519" in token.suites)


@pytest.fixture(scope="module")
def request_(token: Token) -> Request:
    return Request.to_sign(token, CALLER, payload={"amount": 5}, suite="ed25519")


def test_a_request_is_the_same_after_its_journey(token: Token, request_: Request, tmp_path: Path) -> None:
    assert Request.decode(request_.encode()) == request_
    kept = Requests(tmp_path).keep(request_, tmp_path)
    assert Requests(tmp_path).find(request_.id[:8], tmp_path).request == request_
    assert (kept.folder / "request.json").stat().st_mode & 0o777 == 0o600
    assert Request.to_sign(token, CALLER, payload={"amount": 5}, suite="ed25519").id != request_.id, "a salt of its own"


@pytest.mark.parametrize(
    "change",
    [
        {"evanesce": "token"},
        {"version": 2},
        {"payload": '{"amount": 5}'},
        {"payload": 5},
        {"payload": "[]"},
        {"payload": "\ud800"},
        {"payload": None, "content": None},
        {"payload": None, "content": "*"},
        {"salt": "00"},
        {"caller": CALLER[1:]},
        {"action": "encrypt"},
        {"action": "decrypt"},
        {"word": 5},
        {"length": True},
        {"made": -1},
        {"made": 10**30},
        {"token": "none"},
    ],
    ids=str,
)
def test_what_is_no_request_is_said_to_be_none(request_: Request, change: dict[str, Any]) -> None:
    document = json.loads(request_.encode()) | change
    with pytest.raises(EvanesceError) as caught:
        Request.decode(json.dumps(document).encode())
    assert caught.value.code in {"bad-input", "malformed", "payload", "suite-not-in-token"}


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000], ids=lambda data: repr(data[:4]))
def test_what_is_not_even_json_is_no_request(data: bytes) -> None:
    with pytest.raises(EvanesceError) as caught:
        Request.decode(data)
    assert caught.value.code == "bad-input"


def test_an_approval_is_of_what_was_read_and_of_nothing_else(token: Token, request_: Request, tmp_path: Path) -> None:
    key = tmp_path / "cfo.key"
    _core.create_identity(str(key))
    approval = request_.approve(key)
    approval.verify()
    assert approval.text == request_.text
    assert (approval.token, approval.caller, approval.input) == (token.id, CALLER, request_.input.hex())
    assert request_.judge(approval) == ""
    document = json.loads(request_.encode())
    for change in ({"payload": '{"amount":6}'}, {"salt": "11" * 32}, {"caller": "ee" * 32}):
        assert Request.decode(json.dumps(document | change).encode()).judge(approval) != ""
    own = Request.to_sign(token, approval.approver, payload={"amount": 5}, suite="ed25519")
    assert "whoever asks" in own.judge(own.approve(key))
    kept = Requests(tmp_path).keep(request_, tmp_path)
    kept.add(approval)
    kept.add(request_.approve(key, 60))
    assert [one.approval.id for one in kept.counting()] == [approval.id], "of each approver the one that lasts longest"
    (kept.folder / "x.approval").write_bytes(approval.data[:-1])
    assert len(kept.given()) == 2


def test_what_lies_in_a_requests_folder_is_that_request_or_it_is_not_found(
    token: Token, request_: Request, tmp_path: Path
) -> None:
    home, requests = tmp_path / "home", Requests(tmp_path / "shared")
    kept = requests.keep(request_, home)
    assert asked_here(request_.id, requests.find(request_.id, home).request, home)
    assert not asked_here("request.json", Request.to_sign(token, CALLER, b"x", suite="ed25519"), home)

    def refused(reference: str) -> str:
        with pytest.raises(EvanesceError) as caught:
            asked_here(reference, requests.find(reference, home).request, home)
        assert caught.value.code == "bad-input"
        return caught.value.message

    other = Request.to_sign(token, CALLER, payload={"amount": 6}, suite="ed25519")
    other.save(kept.folder / "request.json", force=True)
    for reference in (request_.id, request_.id[:4], str(kept.folder), str(kept.folder / "request.json")):
        assert other.id in refused(reference)
    # Moved to a folder whose name begins likewise, or of its own, as whoever can write there may.
    kept.folder.rename(kept.folder.with_name(request_.id[:8] + "-"))
    assert other.id in refused(request_.id[:8])
    kept.folder.with_name(request_.id[:8] + "-").rename(kept.folder)
    kept.folder.joinpath("request.json").unlink()
    kept.folder.rmdir()
    # One found at length whose id begins like the one that was asked for.
    wanted = request_.id[:4]
    numbers = range(1 << 24)
    salts = (number.to_bytes(32, "big") for number in numbers)
    alike = next(one for salt in salts if (one := replace(other, salt=salt)).id.startswith(wanted))
    requests.keep(alike, tmp_path / "elsewhere")
    assert request_.id in refused(wanted)


def test_a_request_about_another_token_is_another_though_its_id_is_the_same(request_: Request, tmp_path: Path) -> None:
    cases = json.loads(VECTORS.read_text())["cases"]
    tokens = (Token.decode(bytes.fromhex(case["token"])) for case in cases if "error" not in case)
    other = next(one for one in tokens if "ed25519" in one.suites and one.id != request_.token.id)
    swapped = replace(request_, token=other)
    assert swapped.id == request_.id
    requests = Requests(tmp_path / "shared")
    kept = requests.keep(request_, tmp_path)
    swapped.save(kept.folder / "request.json", force=True)
    with pytest.raises(EvanesceError) as caught:
        asked_here(request_.id, requests.find(request_.id, tmp_path).request, tmp_path)
    assert "something else" in caught.value.message


def test_that_a_new_holder_may_sit_there_already_is_of_a_repair_alone_and_as_it_was_asked_for(
    token: Token, tmp_path: Path
) -> None:
    asked = Request.to_repair(token, CALLER, token.seats[0].name, "ab" * 32)
    kept = Requests(tmp_path / "shared").keep(asked, tmp_path)
    assert asked_here(asked.id, Requests(tmp_path / "shared").find(asked.id, tmp_path).request, tmp_path)
    # Whoever can write to the folder could say so; no digest covers it.
    replace(asked, crowded=True).save(kept.folder / "request.json", force=True)
    with pytest.raises(EvanesceError) as caught:
        asked_here(asked.id, Requests(tmp_path / "shared").find(asked.id, tmp_path).request, tmp_path)
    assert "something else" in caught.value.message
    opening = json.loads(Request.to_open(token, CALLER).encode()) | {"crowded": True}
    with pytest.raises(EvanesceError) as caught:
        Request.decode(json.dumps(opening).encode())
    assert caught.value.code == "bad-input" and "second time" in caught.value.message


@pytest.mark.parametrize("holder", ["agent-6", "", "AB" * 32, "ab " * 32, "ab" * 31, "ab" * 32 + "\n"], ids=repr)
def test_a_holder_that_is_no_id_is_refused_in_words(token: Token, holder: str) -> None:
    with pytest.raises(EvanesceError) as refused:
        Request.to_repair(token, CALLER, token.seats[0].name, holder)
    assert refused.value.code == "bad-input"
    assert "64 hex digits" in refused.value.message


def test_people_are_not_asked_about_a_whole_key_that_is_never_put_together() -> None:
    case = json.loads(VECTORS.with_name("threshold.json").read_text())["cases"][0]
    token = Token.decode(bytes.fromhex(case["token"]))
    for asking in (Request.to_retire, Request.to_open):
        with pytest.raises(EvanesceError) as refused:
            asking(token, CALLER)
        assert refused.value.code == "unsupported"
        assert "key revoke" in refused.value.hint
    assert Request.to_sign(token, CALLER, b"m").suite == token.suites[0]
