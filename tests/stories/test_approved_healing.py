"""Keys under a policy that wants two people for all but signing: opened, minted anew, repaired, retired."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from machines import Machine, Quorum
from outside import accepts

from evanesce import Approval, AsyncClient, Check, Client, EvanesceError, Request, Token

POLICY = """@approvers("cfo = {cfo}, ceo = {ceo}")
permit(principal, action in [Action::"open", Action::"reshare", Action::"repair", Action::"retire"], resource)
when {{ context.approvals.count >= 2 }};
permit(principal, action == Action::"sign", resource);
"""
FOUR = "3 of (agent-1, agent-2, agent-3, agent-4)"


@dataclass(frozen=True)
class People:
    """Two who approve, on machines of their own; the agents know them by the policy alone."""

    cfo: Machine
    ceo: Machine
    policy: Path

    def approve(self, folder: Path) -> list[str]:
        """Both do; what each was shown."""
        return [one.run("approve", folder, "--yes").err for one in (self.cfo, self.ceo)]


@pytest.fixture(scope="module")
def people(quorum: Quorum, caller: Machine) -> People:
    cfo, ceo = (Machine(quorum.folder / name) for name in ("cfo", "ceo"))
    for one in (cfo, ceo):
        one.run("identity", "init")
    policy = caller.home / "two.cedar"
    policy.write_text(POLICY.format(cfo=cfo.caller_id, ceo=ceo.caller_id))
    return People(cfo, ceo, policy)


def mint(caller: Machine, people: People, name: str) -> Path:
    words = ("--suite", "ed25519", "--quorum", FOUR, "--policy", people.policy, "--json")
    return Path(caller.run("key", "create", name, *words).json["file"])


def ask(caller: Machine, *words: str | Path) -> tuple[str, Path]:
    made = caller.run(*words, "--ask", "--json").json
    return made["id"], Path(made["folder"])


def kept(folder: Path) -> list[Approval]:
    return [Approval.decode(path.read_bytes()) for path in folder.glob("*.approval")]


def openings(caller: Machine, besides: Iterable[str]) -> list[dict[str, Any]]:
    rows = caller.run("requests", "--json").json["requests"]
    return [row for row in rows if row["action"] == "open" and row["id"] not in set(besides)]


def test_a_reshare_that_two_must_approve_is_done_once_both_have_and_not_twice(caller: Machine, people: People) -> None:
    path = mint(caller, people, "reshared")
    old = Token.load(path, home=caller.home)
    quorum = "3 of (agent-1, agent-2, agent-3, chair)"
    words = ("key", "reshare", path, "--quorum", quorum, "--seat", "chair=agent-5")
    refused = caller.try_(*words)
    assert refused.status == 2
    assert "--ask" in refused.err
    request, folder = ask(caller, *words, "--word", "agent-4 goes to the museum")
    shown = people.cfo.run("approve", folder, "--yes", "--json").json["text"]
    assert shown.startswith(f'reshare with the key "reshared"\ntoken {old.id}\nasked for by {caller.caller_id}\n')
    plan = shown.splitlines()[-1]
    assert f"quorum {quorum} (another); policy SHA-256 " in plan
    assert "(as it is); never expires (as it is); held by agent-1 " in plan
    assert plan.endswith("agent-4 goes to the museum")
    late = caller.fail(1, "not-approved", "wait", request, "--timeout", "0")
    assert "does not permit" in late.error["message"]
    said = people.ceo.run("approve", folder, "--yes").err
    assert f"instead of {FOUR}" in said
    assert '| permit(principal, action in [Action::"open"' in said
    # Minted; but the new token's policy wants two people for its first opening as well.
    receipts = caller.home / "reshared.receipts"
    late = caller.fail(1, "not-approved", "wait", request, "--timeout", "0", "--receipts", receipts)
    assert Token.load(path, home=caller.home) == old, "nothing takes the old token's place before it was opened"
    assert path.with_name(f"{path.name}.healing").exists()
    (opening,) = openings(caller, [])
    assert opening["key"] == "reshared"
    assert opening["token"] != old.id
    people.approve(Path(opening["folder"]))
    done = caller.run("wait", request, "--timeout", "20", "--receipts", receipts, "--json").json
    new = Token.load(path, home=caller.home)
    assert done["token"] == new.id == opening["token"]
    assert done["resumed"] is True
    assert new.quorum == quorum
    assert new.replaces == old.id
    assert new.pinned == "kept"
    assert new.public_key() == old.public_key()
    assert not path.with_name(f"{path.name}.healing").exists()
    caller.run("sign", path, "-m", "hello", "--out", caller.home / "hello.sig")
    kept_receipts = json.loads(receipts.read_text())["openings"]
    # Of the old token's opening, of the seatings, and of the new token's opening; each of two that people had approved.
    assert sum(len(opening["salts"]) for opening in kept_receipts) == 2
    # Not twice: this home knows that it was begun, and the agents that the approvals are spent.
    asked = Request.load(folder / "request.json", home=caller.home)
    with Client(caller.home, deadline=5) as client:
        with pytest.raises(EvanesceError) as again:
            client.perform(asked, kept(folder))
        assert again.value.code == "spent"
        shutil.rmtree(caller.home / "asked" / "begun")
        with pytest.raises(EvanesceError) as again:
            client.perform(asked, kept(folder))
        assert "spent before" in str(again.value)


def test_a_holder_of_a_key_that_is_never_put_together_is_removed_once_two_have_approved(
    quorum: Quorum, caller: Machine, people: People
) -> None:
    words: tuple[str | Path, ...] = ("--model", "mpc", "--suite", "frost-ed25519", "--quorum", FOUR)
    made = caller.run("key", "create", "removed", *words, "--policy", people.policy, "--json").json
    path, wanted = Path(made["file"]), "2 of (agent-1, agent-2, chair)"
    old = Token.load(path, home=caller.home)
    too_few = ("key", "reshare", path, "--quorum", wanted, "--seat", "chair=agent-5", "--ask")
    assert "must sit in the new quorum" in caller.fail(1, "bad-input", *too_few).error["message"]
    words = ("key", "reshare", path, "--quorum", wanted, "--seat", "chair=agent-3")
    with quorum.without("agent-4"):
        request, folder = ask(caller, *words, "--word", "agent-4 goes to the museum")
        for said in people.approve(folder):
            assert f"instead of {FOUR}" in said and f"chair: {quorum.agents['agent-3'].id}" in said
            assert "give it new shares, model mpc (as it is)" in said
        with quorum.without("agent-3"):
            # All wait for whoever is to hold a share, and for nobody else: no approval is spent meanwhile.
            late = caller.try_("wait", request, "--timeout", "1")
            assert late.status == 1 and "no approval was spent" in late.err
        done = caller.run("wait", request, "--timeout", "20", "--json").json
    assert sorted(done["approved_by"]) == ["ceo", "cfo"]
    assert [seat["name"] for seat in done["left_out"]] == ["agent-4"]
    new = Token.load(path, home=caller.home)
    assert (new.id, new.quorum, new.replaces, new.pinned) == (done["token"], wanted, old.id, "kept")
    assert [seat.holder_id for seat in new.seats] == [seat.holder_id for seat in old.seats[:3]]
    with Client(caller.home, deadline=10) as client:
        signature = client.sign(new, b"hello")
    assert accepts(old, b"hello", signature.value)
    caller.fail(2, "spent", "wait", request)


def test_a_plan_that_is_altered_on_its_way_is_another_request(caller: Machine, people: People, tmp_path: Path) -> None:
    path = mint(caller, people, "altered")
    request, folder = ask(caller, "key", "refresh", path)
    document = json.loads((folder / "request.json").read_text())
    other = Request.to_reshare(
        Token.load(path, home=caller.home), caller.caller_id, Client(caller.home).agents, quorum="1 of (agent-1)"
    )
    changed = json.loads(other.encode())
    (tmp_path / "request.json").write_text(
        json.dumps(document | {"content": changed["content"], "seats": changed["seats"]})
    )
    shown = people.cfo.run("approve", tmp_path / "request.json", "--yes", "--out", tmp_path / "cfo.approval")
    assert "quorum 1 of (agent-1) (another)" in shown.err
    people.ceo.run("approve", folder, "--yes")
    words = ("wait", request, "--approval", tmp_path / "cfo.approval", "--timeout", "0")
    late = caller.fail(1, "not-approved", *words)
    assert "does not permit" in late.error["message"]
    # Seats that do not go with the header, a header of another key, and one of no key.
    stranger = Token.load(mint(caller, people, "stranger"), home=caller.home)
    for change in (
        {"seats": changed["seats"]},
        {"token": stranger.armor()},
        {"content": "AAAA"},
        {"action": "repair", "content": ""},
        {"suite": "ed25519"},
    ):
        (tmp_path / "request.json").write_text(json.dumps(document | change))
        failed = people.cfo.try_("approve", tmp_path / "request.json", "--yes", "--out", tmp_path / "none.approval")
        assert failed.status in (1, 2), change
        assert not (tmp_path / "none.approval").exists()


def test_a_seat_is_given_away_and_the_token_retired_once_two_have_approved(
    quorum: Quorum, caller: Machine, people: People
) -> None:
    path = mint(caller, people, "repaired")
    old = Token.load(path, home=caller.home)
    words = ("key", "repair", path, "--lost", "agent-4", "--to", "agent-5")
    assert caller.try_(*words).status == 2
    (made,) = caller.run(*words, "--ask", "--json").json["requests"]
    agent = quorum.agents["agent-5"].id
    assert f"give seat agent-4, lost by {old.seats[3].holder_id[:16]}, to {agent}" in made["text"]
    for said in people.approve(Path(made["folder"])):
        assert f"agent-4: {agent}" in said
    done = caller.run("wait", made["id"], "--timeout", "20", "--json").json
    new = Token.load(path, home=caller.home)
    assert new.id == old.id == done["token"]
    assert [seat.holder_id for seat in new.seats][3] == agent
    # As after a crash before it was marked as done.
    (Path(made["folder"]) / "done").unlink()
    again = caller.run("wait", made["id"], "--timeout", "0", "--json").json
    assert (again["token"], again["resumed"]) == (old.id, True)
    assert (Path(made["folder"]) / "done").exists()
    assert Token.load(path, home=caller.home) == new
    # In a copy of before it cannot be told, and an approval is good for one performance.
    lost = path.with_name("lost.regen")
    words = ("wait", made["id"], "--timeout", "0", "--out", lost)
    assert "spent before" in caller.fail(1, "not-approved", *words).error["message"]
    assert not lost.exists()

    request, folder = ask(caller, "key", "retire", path)
    assert all("have every holder tombstone it, for good" in said for said in people.approve(folder))
    with quorum.without("agent-1", "agent-2", "agent-3"):
        # Long enough that who is there is asked again.
        alive = caller.try_("wait", request, "--timeout", "3", "--json")
        assert (alive.status, alive.json["dead"]) == (1, False)
        assert sorted(alive.json["approved_by"]) == ["ceo", "cfo"]
    # What those that were away have not spent, they take.
    dead = caller.run("wait", request, "--timeout", "20", "--json").json
    assert dead["dead"] is True
    gone = caller.try_("sign", path, "-m", "hello")
    assert gone.status == 2


def test_a_token_is_opened_once_two_have_approved(caller: Machine, people: People) -> None:
    path = mint(caller, people, "opened")
    refused = caller.try_("check", path, "--open", "--json")
    assert (refused.status, refused.json["error"]["code"]) == (2, "refused")
    request, asked = ask(caller, "check", path, "--open")
    people.approve(asked)
    done = caller.run("wait", request, "--timeout", "20", "--json").json
    assert done["opened"] is True
    assert len(done["approved_by"]) == 2

    async def again() -> None:
        made = Request.to_open(Token.load(path, home=caller.home), caller.caller_id, word="once more")
        words = [made.approve(one.home / "identity.key") for one in (people.cfo, people.ceo)]
        assert all(word.text.splitlines()[-1].endswith(". once more") for word in words)
        async with AsyncClient(caller.home, deadline=5) as client:
            with pytest.raises(EvanesceError, match="does not permit"):
                await client.perform(made, words[:1])
            found = await client.perform(made, words)
        assert isinstance(found, Check)
        assert found.opened
        assert found.salt == made.salt
        assert len(found.receipts) >= 3

    asyncio.run(again())


def test_a_drill_opens_in_a_grantors_place_and_with_what_people_have_approved(
    quorum: Quorum, caller: Machine, people: People, tmp_path: Path
) -> None:
    inventory = tmp_path / "inventory"
    inventory.mkdir()
    policy = tmp_path / "lent.cedar"
    policy.write_text('@delegable("1") permit(principal == Caller::"caller", action == Action::"open", resource);')
    words = ("--suite", "ed25519", "--quorum", FOUR, "--policy", policy, "--json")
    lent = caller.run("key", "create", "lent", *words).json
    for path in (Path(lent["file"]), mint(caller, people, "drilled")):
        shutil.copy(path, inventory / path.name)
    clerk, grant = quorum.newcomer("clerk"), tmp_path / "clerk.grant"
    quorum.admit("clerk", clerk, "caller", "reconstructor")
    time.sleep(0.3)
    given = ("--to", clerk.caller_id, "--action", "open", "--expires", "1h", "--out", grant)
    caller.run("grant", "create", lent["file"], *given)
    drill = ("quorum", "drill", inventory, "--trust-token", "--json")

    def opened(*words: str | Path) -> dict[str, bool]:
        found = clerk.try_(*drill, *words).json["tokens"]
        return {token["name"]: token["opened"] for token in found}

    assert opened("--open") == {"lent": False, "drilled": False}
    assert opened("--open", "--grant", grant) == {"lent": True, "drilled": False}
    assert opened("--open", "--approved") == {"lent": False, "drilled": False}
    asked = clerk.run(*drill, "--open", "--ask").json["requests"]
    assert len(asked) == 2
    for request in asked:
        people.approve(Path(request["folder"]))
    assert opened("--open", "--grant", grant, "--approved") == {"lent": True, "drilled": True}
    # What was done is not done again.
    assert opened("--open", "--approved") == {"lent": False, "drilled": False}
    assert clerk.run("check", lent["file"], "--trust-token", "--open", "--grant", grant, "--json").json["opened"]
    assert clerk.fail(2, "grant-invalid", "quorum", "drill", people.policy, "--open", "--grant", grant)
    assert clerk.fail(1, "usage", *drill[:-1], "--grant", grant)
