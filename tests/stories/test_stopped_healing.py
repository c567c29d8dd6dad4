"""Approved healings that are stopped, meet each other or find another token in the file: nothing is lost, and nothing
counts that was not opened."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from machines import EVANESCE, PATIENCE, Done, Machine, Quorum

from evanesce import Token

POLICY = """@approvers("cfo = {cfo}")
permit(principal, action in [Action::"open", Action::"reshare", Action::"repair"], resource)
when {{ context.approvals.count >= 1 }};
permit(principal, action in [Action::"sign", Action::"retire"], resource);
"""
FOUR = "3 of (agent-1, agent-2, agent-3, agent-4)"


@pytest.fixture(scope="module")
def cfo(quorum: Quorum) -> Machine:
    made = Machine(quorum.folder / "cfo")
    made.run("identity", "init")
    return made


@pytest.fixture(scope="module")
def policy(caller: Machine, cfo: Machine) -> Path:
    path = caller.home / "asking.cedar"
    path.write_text(POLICY.format(cfo=cfo.caller_id))
    return path


@pytest.fixture(scope="module")
def free(caller: Machine) -> Path:
    """Under which a new token is opened at once."""
    path = caller.home / "free.cedar"
    path.write_text('permit(principal, action in [Action::"open", Action::"sign"], resource);')
    return path


def mint(caller: Machine, policy: Path, name: str) -> Path:
    words = ("--suite", "ed25519", "--quorum", FOUR, "--policy", policy, "--json")
    return Path(caller.run("key", "create", name, *words).json["file"])


def ask(caller: Machine, cfo: Machine | None, *words: str | Path) -> str:
    """The id of a request, which the CFO has approved."""
    made = caller.run(*words, "--ask", "--json").json
    (made,) = made.get("requests", [made])
    if cfo is not None:
        cfo.run("approve", made["folder"], "--yes")
    request: str = made["id"]
    return request


def to_repair(path: Path) -> tuple[str | Path, ...]:
    return ("key", "repair", path, "--lost", "agent-4", "--to", "agent-5")


def holders(caller: Machine, path: Path) -> list[str]:
    return [seat.holder_id for seat in Token.load(path, home=caller.home).seats]


def wait(caller: Machine, request: str, *words: str | Path) -> Any:
    return caller.run("wait", request, "--timeout", "20", *words, "--json").json


def state(path: Path) -> Path:
    return path.with_name(f"{path.name}.healing")


def opening_of(caller: Machine, key: str) -> dict[str, Any]:
    """The one request for a new token's first opening."""
    rows = caller.run("requests", "--json").json["requests"]
    (row,) = [row for row in rows if row["action"] == "open" and row["key"] == key]
    found: dict[str, Any] = row
    return found


def test_a_repair_does_not_write_over_the_token_that_replaced_its_own(
    quorum: Quorum, caller: Machine, cfo: Machine, policy: Path, free: Path
) -> None:
    path = mint(caller, policy, "healed-first")
    old = Token.load(path, home=caller.home)
    repair = ask(caller, cfo, *to_repair(path))
    reshare = ask(caller, cfo, "key", "reshare", path, "--policy", free)
    new = wait(caller, reshare)["token"]
    assert "performed before" in caller.fail(2, "spent", "wait", reshare, "--timeout", "0").error["message"]
    refused = caller.fail(1, "exists", "wait", repair, "--timeout", "0", "--force")
    assert "--out FILE" in refused.error["hint"]
    assert Token.load(path, home=caller.home).id == new
    elsewhere = path.with_name("healed-first-old.regen")
    assert wait(caller, repair, "--out", elsewhere)["token"] == old.id
    assert holders(caller, elsewhere)[3] == quorum.agents["agent-5"].id
    assert Token.load(path, home=caller.home).id == new


def test_a_reshare_after_a_repair_takes_the_repaired_tokens_place_and_keeps_it(
    caller: Machine, cfo: Machine, policy: Path, free: Path
) -> None:
    path = mint(caller, policy, "repaired-first")
    old = Token.load(path, home=caller.home)
    repair = ask(caller, cfo, *to_repair(path))
    reshare = ask(caller, cfo, "key", "reshare", path, "--policy", free)
    wait(caller, repair)
    repaired = Token.load(path, home=caller.home)
    new = wait(caller, reshare)["token"]
    assert Token.load(path, home=caller.home).id == new
    assert Token.load(path.with_name(f"{path.name}.{old.id[:16]}.old"), home=caller.home) == repaired


def test_a_reshare_writes_over_no_other_token_nor_over_what_cannot_be_read(
    caller: Machine, cfo: Machine, policy: Path, free: Path
) -> None:
    path, other = mint(caller, policy, "overtaken"), mint(caller, policy, "other")
    reshare = ask(caller, cfo, "key", "reshare", path, "--policy", free)
    mine = path.read_bytes()
    shutil.copy(other, path)
    caller.fail(1, "exists", "wait", reshare, "--timeout", "0")
    assert path.read_bytes() == other.read_bytes()
    path.write_bytes(b"no token")
    unread = caller.fail(2, "malformed", "wait", reshare, "--timeout", "0")
    assert "--out FILE" in unread.error["hint"]
    path.unlink()
    caller.fail(1, "not-found", "wait", reshare, "--timeout", "0")
    # No approval was spent by that.
    path.write_bytes(mine)
    assert Token.load(path, home=caller.home).id != wait(caller, reshare)["token"]


def test_a_file_that_changes_while_people_are_waited_for_is_seen(
    caller: Machine, cfo: Machine, policy: Path, free: Path
) -> None:
    path, other = mint(caller, policy, "changed"), mint(caller, policy, "changing")
    reshare = ask(caller, None, "key", "reshare", path, "--policy", free)
    folder = caller.home / "requests" / reshare
    with ThreadPoolExecutor() as pool:
        waiting: Future[Done] = pool.submit(caller.try_, "wait", reshare, "--timeout", "30", "--json")
        time.sleep(2)
        mine = path.read_bytes()
        shutil.copy(other, path)
        cfo.run("approve", folder, "--yes")
        assert waiting.result(PATIENCE).error["code"] == "exists"
    assert path.read_bytes() == other.read_bytes()
    path.write_bytes(mine)
    wait(caller, reshare)


def test_a_new_token_that_was_to_go_into_a_file_that_changed_can_go_elsewhere(
    caller: Machine, cfo: Machine, policy: Path
) -> None:
    path, other = mint(caller, policy, "displaced"), mint(caller, policy, "displacing")
    reshare = ask(caller, cfo, "key", "refresh", path)
    caller.fail(1, "not-approved", "wait", reshare, "--timeout", "0")
    opening = opening_of(caller, "displaced")
    cfo.run("approve", opening["folder"], "--yes")
    shutil.copy(other, path)
    caller.fail(1, "exists", "wait", reshare, "--timeout", "0")
    elsewhere = path.with_name("displaced-new.regen")
    assert wait(caller, reshare, "--out", elsewhere)["token"] == opening["token"]
    assert Token.load(elsewhere, home=caller.home).id == opening["token"]
    assert path.read_bytes() == other.read_bytes()
    assert not state(path).exists()


def test_receipts_that_cannot_be_kept_cost_neither_approvals_nor_the_token(
    quorum: Quorum, caller: Machine, cfo: Machine, policy: Path, free: Path
) -> None:
    for name in ("minted", "seated"):
        path = mint(caller, policy, name)
        old = Token.load(path, home=caller.home)
        asking = ("key", "reshare", path, "--policy", free) if name == "minted" else to_repair(path)
        request = ask(caller, None, *asking)
        missing = caller.home / f"receipts of {name}"
        kept = missing / "kept.json"
        caller.fail(1, "not-found", "wait", request, "--timeout", "0", "--receipts", kept)
        missing.mkdir()
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(caller.try_, "wait", request, "--timeout", "30", "--receipts", kept, "--json")
            time.sleep(2)
            # By then it was looked at, and nobody has approved.
            missing.rmdir()
            cfo.run("approve", caller.home / "requests" / request, "--yes")
            assert waiting.result(PATIENCE).error["code"] == "not-found"
        if name == "minted":
            assert wait(caller, request)["resumed"] is True
            assert Token.load(path, home=caller.home).replaces == old.id
        else:
            assert holders(caller, path)[3] == quorum.agents["agent-5"].id


def test_a_new_token_counts_once_it_was_opened_and_people_are_asked_once(
    caller: Machine, cfo: Machine, policy: Path
) -> None:
    path, other = mint(caller, policy, "opened-once"), mint(caller, policy, "of-another")
    reshare = ask(caller, cfo, "key", "refresh", path)
    caller.fail(1, "not-approved", "wait", reshare, "--timeout", "0")
    opening = opening_of(caller, "opened-once")
    cfo.run("approve", opening["folder"], "--yes")
    noted = json.loads(state(path).read_text())
    assert noted["opened"] is False
    # Requests of the caller's own, approved: of another action, of another token; and none, and no request.
    repair, foreign = ask(caller, cfo, *to_repair(path)), ask(caller, cfo, "check", other, "--open")
    texts = [(caller.home / "requests" / id / "request.json").read_text() for id in (repair, foreign)]
    before = holders(caller, path)
    for text in (*texts, None):
        state(path).write_text(json.dumps(noted | {"opening": text}))
        caller.fail(1, "not-approved", "wait", reshare, "--timeout", "0")
        assert holders(caller, path) == before
    state(path).write_text(json.dumps({key: noted[key] for key in ("old", "asked", "new")}))
    caller.fail(1, "not-approved", "wait", reshare, "--timeout", "0")
    rows = caller.run("requests", "--json").json["requests"]
    assert {repair, foreign} <= {row["id"] for row in rows}, "neither was performed"
    # The right one; the new token cannot be put into its place, as after a crash in between.
    state(path).write_text(json.dumps(noted))
    kept = path.with_name(f"{path.name}.{Token.load(path).id[:16]}.old")
    kept.symlink_to(path.parent / "nowhere" / "at-all")
    caller.fail(1, "exists", "wait", reshare, "--timeout", "20")
    assert json.loads(state(path).read_text())["opened"] is True
    kept.unlink()
    assert wait(caller, reshare)["token"] == opening["token"]
    assert Token.load(path, home=caller.home).id == opening["token"]


def test_what_would_go_unheeded_is_refused(caller: Machine, policy: Path) -> None:
    path = mint(caller, policy, "unheeded")
    opening, reshare = ask(caller, None, "check", path, "--open"), ask(caller, None, "key", "refresh", path)
    before = path.read_bytes()
    for words in (
        ("wait", opening, "--out", path),
        ("wait", opening, "--format", "hex"),
        ("wait", opening, "--show"),
        ("wait", reshare, "--format", "hex"),
        ("quorum", "drill", path, "--open", "--ask", "--approved"),
        ("quorum", "drill", path, "--word", "daily"),
        ("quorum", "drill", path, "--open", "--folder", caller.home),
        ("check", path, "--word", "why"),
        ("key", "refresh", path, "--word", "why"),
        ("key", "reshare", path, "--expires", "90d", "--folder", caller.home),
        (*to_repair(path), "--word", "why"),
        ("key", "retire", path, "--yes", "--word", "why"),
    ):
        assert caller.fail(1, "usage", *words).error["hint"]
    receipts, deadline, out = ("--receipts", caller.home / "r"), ("--deadline", "500"), ("--out", caller.home / "o")
    for verb, *options in (
        (("check", path, "--open"), deadline),
        (("quorum", "drill", path, "--open"), deadline),
        (("key", "refresh", path), ("--armor",), ("--force",), ("--retire-old",), out, receipts, deadline),
        (("key", "reshare", path, "--expires", "90d"), ("--armor",), ("--retire-old",), out, receipts, deadline),
        (to_repair(path), receipts, deadline),
        (("key", "retire", path), ("--yes",), ("--force",), receipts, deadline),
    ):
        for option in options:
            refused = caller.fail(1, "usage", *verb, "--ask", *option).error
            assert str(option[0]) in refused["message"], verb
    assert path.read_bytes() == before


def test_a_drill_asks_under_the_grant_that_it_is_given(quorum: Quorum, caller: Machine, tmp_path: Path) -> None:
    cedar = tmp_path / "lent.cedar"
    cedar.write_text('@delegable("1") permit(principal == Caller::"caller", action == Action::"open", resource);')
    path = mint(caller, cedar, "lent")
    clerk, grant = quorum.newcomer("clerk"), tmp_path / "clerk.grant"
    quorum.admit("clerk", clerk, "caller", "reconstructor")
    given = ("--to", clerk.caller_id, "--action", "open", "--expires", "1h", "--out", grant)
    caller.run("grant", "create", path, *given)
    drill = ("quorum", "drill", path, "--trust-token", "--open", "--ask", "--grant", grant, "--json")
    (asked,) = clerk.run(*drill).json["requests"]
    time.sleep(0.3)
    assert wait(clerk, asked["id"])["opened"] is True


def test_of_two_repairs_at_once_neither_is_lost(quorum: Quorum, caller: Machine, cfo: Machine, policy: Path) -> None:
    path = mint(caller, policy, "both")
    new = quorum.agents["agent-5"].id
    requests = [
        ask(caller, cfo, "key", "repair", path, "--lost", name, "--to", "agent-5", "--even-if-it-sits")
        for name in ("agent-3", "agent-4")
    ]
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda id: caller.try_("wait", id, "--timeout", "20", "--json"), requests))
    # One after the other, or the second beside the file.
    beside = [holders(caller, found) for found in path.parent.glob(f"{path.name}.*.repaired")]
    assert [one.error["code"] for one in done if one.status] == ["exists"] * len(beside)
    for seat in (2, 3):
        assert any(rows[seat] == new for rows in (holders(caller, path), *beside))


@pytest.mark.parametrize("verb", ["reshare", "repair"])
def test_an_approved_healing_killed_at_any_moment_leaves_a_key_that_signs_and_can_be_had(
    quorum: Quorum, caller: Machine, cfo: Machine, policy: Path, free: Path, verb: str
) -> None:
    path = mint(caller, policy, f"killed-{verb}")
    first = Token.load(path, home=caller.home)
    words = ("key", "reshare", path, "--policy", free) if verb == "reshare" else to_repair(path)
    request = ask(caller, cfo, *words)
    pause, killed = 0.25, 0
    while True:
        process = subprocess.Popen(
            [*EVANESCE, "wait", request, "--timeout", "0", "--json"],
            env=os.environ | {"EVANESCE_HOME": str(caller.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=caller.home,
        )
        try:
            out, _ = process.communicate(timeout=pause)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
            caller.run("sign", path, "-m", "still there")
            pause *= 1.15
            assert pause < 60
            continue
        if process.returncode == 0:
            break
        # What was done and not written yet is lost with its approvals; what was written is never asked for again.
        assert json.loads(out)["error"]["code"] in ("spent", "not-approved")
        assert not state(path).exists()
        if Token.load(path, home=caller.home).id != first.id:
            assert "performed before" in json.loads(out)["error"]["message"]
            break
        request = ask(caller, cfo, *words)
    assert killed > 1
    caller.run("sign", path, "-m", "healed")
    new = Token.load(path, home=caller.home)
    assert new.public_key() == first.public_key()
    if verb == "reshare":
        assert new.replaces == first.id
        assert not state(path).exists()
    else:
        assert holders(caller, path)[3] == quorum.agents["agent-5"].id
