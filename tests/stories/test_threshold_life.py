"""Keys that are never put together outlive the holders and the roots of their shares, through the command line, at
agents in processes of their own; and people are asked first where the policy has it so."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from machines import Machine, Quorum
from outside import accepts

from evanesce import Client, EvanesceError, Request, Token, verify

FOUR = "2 of (agent-1, agent-2, agent-3, agent-4)"
MODELS = ("regen-mpc", "mpc")


def create(caller: Machine, name: str, model: str, *words: str | Path) -> Path:
    suite = {"regen-mpc": "frost-ed25519", "mpc": "frost-secp256k1-tr"}[model]
    of = ("--model", model, "--suite", suite, "--quorum", FOUR)
    return Path(caller.run("key", "create", name, *of, *words, "--json").json["file"])


def signs(caller: Machine, path: Path, like: Token) -> None:
    with Client(caller.home, deadline=10) as client:
        signature = client.sign(Token.load(path, home=caller.home), b"m")
    verify(like, b"m", signature, trust_token=True)


def signed_by(caller: Machine, path: Path, message: Path) -> bytes:
    out = path.with_name(f"{path.name}.signature")
    caller.run("sign", path, message, "--out", out, "--force")
    return out.read_bytes()


def kept(caller: Machine) -> dict[str, int]:
    """Shares that agents keep, of those that answer."""
    with Client(caller.home) as client:
        return {agent.name: agent.report["shares"] for agent in client.status() if agent.report}


def holders(path: Path) -> list[str]:
    return [seat.holder_id for seat in Token.load(path).seats]


def test_lost_seats_are_given_to_another_agent_and_then_its_root_is_rolled(
    caller: Machine, quorum: Quorum, tmp_path: Path
) -> None:
    inventory = tmp_path / "inventory"
    inventory.mkdir()
    made = [create(caller, f"inherited-{model}", model, "--out", str(inventory / f"{model}.regen")) for model in MODELS]
    before = [Token.load(path, home=caller.home) for path in made]
    ids = {name: agent.id for name, agent in quorum.agents.items()}
    with quorum.without("agent-2"):
        # its element is gone; nobody can ask it any more
        done = caller.run("key", "repair", inventory, "--lost", "agent-2", "--to", "agent-5", "--json").json
        assert (len(done["repaired"]), done["failed"]) == (2, [])
        for path, old in zip(made, before, strict=True):
            assert Token.load(path).id == old.id
            assert holders(path) == [ids[name] for name in ("agent-1", "agent-5", "agent-3", "agent-4")]
        with quorum.without("agent-1", "agent-3"):
            for path, old in zip(made, before, strict=True):
                signs(caller, path, old)
        again = caller.run("key", "repair", inventory, "--lost", "agent-2", "--to", "agent-5", "--json").json
        assert again["passed_over"] == 2
    words = ("key", "repair", made[0], "--lost", "agent-1", "--to", "agent-5", "--even-if-it-sits")
    (failed,) = caller.try_(*words, "--json").json["failed"]
    assert "sits once" in failed["error"]["message"]
    # Nor is anybody asked to approve it, whoever has made the request.
    assert "sits once" in caller.fail(1, "bad-input", *words, "--ask").error["message"]
    asked = caller.run("requests", "--json").json["requests"]
    assert before[0].name not in [row["key"] for row in asked]
    made_well = Request.to_repair(Token.load(made[0], home=caller.home), "0" * 64, "agent-1", ids["agent-5"]).encode()
    crowded = made_well.replace(b'"crowded": false', b'"crowded": true')
    with pytest.raises(EvanesceError, match="sits once"):
        Request.decode(crowded)
    assert caller.run("quorum", "drill", inventory, "--json").json["verdict"] == "ok"

    five = quorum.agents["agent-5"]
    roll = ("agent", "roll", five.folder, "--tokens", inventory)
    copies = tmp_path / "copies"
    shutil.copytree(inventory, copies)
    with quorum.without("agent-5"):
        rolled = caller.run(*roll, "--json").json
        assert (rolled["rerooted"], rolled["problem_count"], rolled["finished"]) == (2, 0, True)
        gone = caller.run(*roll, "--destroy-old", "1", "--json").json
        assert (gone["destroyed"], gone["epochs"]) == (1, [2])
    with quorum.without("agent-1", "agent-3"):
        for path, old in zip(made, before, strict=True):
            signs(caller, path, old)
    assert caller.run("quorum", "drill", inventory, "--json").json["verdict"] == "ok"
    copy = copies / "regen-mpc.regen"
    seats = {seat["seat"]: seat["verdict"] for seat in caller.try_("check", copy, "--json").json["seats"]}
    assert seats["agent-2"] == "epoch-not-held", "a copy from before the roll has lost that seat"


@pytest.mark.parametrize("model", MODELS)
def test_a_member_whose_agent_is_down_for_good_is_removed(
    caller: Machine, quorum: Quorum, tmp_path: Path, model: str
) -> None:
    path = create(caller, f"removed-{model}", model)
    old, message, before = Token.load(path, home=caller.home), tmp_path / "message", kept(caller)
    message.write_bytes(b"pay 100 to alice")
    out, three = tmp_path / "new.regen", "2 of (agent-1, agent-2, agent-3)"
    with quorum.without("agent-4"):
        words = ("key", "reshare", path, "--quorum", three, "--out", out, "--revoke-old", "--json")
        done = caller.run(*words).json
        assert (done["revoked"], done["culprits"], done["quorum"]) == (True, [], three)
        assert done["removed"] == (3 if model == "mpc" else 0)
        assert [seat["name"] for seat in done["left_out"]] == ["agent-4"]
        new = Token.load(out, home=caller.home)
        assert (new.model, new.quorum, new.replaces, new.pinned) == (model, three, old.id, "kept")
        assert new.public_key(form="der") == old.public_key(form="der")
        assert new.seats[0].holder_id == old.seats[0].holder_id and len(new.seats) == 3
        with quorum.without("agent-1"):
            assert accepts(old, b"pay 100 to alice", signed_by(caller, out, message))
            with quorum.without("agent-2"):
                caller.fail(1, "quorum-not-met", "sign", out, message, "--out", tmp_path / "none")
        caller.fail(1, "quorum-not-met", "sign", path, message, "--out", tmp_path / "none")
    # Whoever was removed has its old share until it is told, and finds nobody to sign with.
    refused = caller.try_("sign", path, message, "--out", tmp_path / "none", "--json")
    assert refused.status == 2
    assert {culprit["holder"] for culprit in refused.error["culprits"]} >= {"agent-1", "agent-2", "agent-3"}
    if model == "mpc":
        assert kept(caller) == before
        assert caller.run("key", "revoke", path, "--yes", "--json").json["settled"]
        assert kept(caller) == before | {"agent-4": before["agent-4"] - 1}
    assert accepts(old, b"pay 100 to alice", signed_by(caller, out, message))


def test_others_come_more_must_sign_and_whoever_goes_is_named(caller: Machine, quorum: Quorum, tmp_path: Path) -> None:
    path = create(caller, "others", "mpc")
    old, message = Token.load(path, home=caller.home), tmp_path / "message"
    message.write_bytes(b"m")
    out, wanted = tmp_path / "new.regen", "3 of (agent-1, agent-3, agent-4, chair)"
    to = ("--quorum", wanted, "--seat", "chair=agent-5", "--out", out)
    done = caller.run("key", "refresh-shares", path, *to, "--model", "regen-mpc")
    new = Token.load(out, home=caller.home)
    assert (new.quorum, new.model) == (wanted, "regen-mpc")
    assert new.seats[3].holder_id == quorum.agents["agent-5"].id
    said = " ".join(done.err.split())
    assert "warning: agent-2 (seat agent-2) is left out: until it obeys a revocation of the old token" in said
    assert f"The old token {old.id} is not dead: evanesce key revoke it now." in said
    with quorum.without("agent-1", "agent-2"):
        assert accepts(old, b"m", signed_by(caller, out, message))
        with quorum.without("agent-3"):
            assert caller.try_("sign", out, message, "--out", tmp_path / "too-few").status == 1
    assert caller.run("key", "revoke", path, "--yes", "--json").json["settled"]
    caller.fail(2, "refused", "sign", path, message, "--out", tmp_path / "none")


def test_what_no_reshare_of_such_a_key_can_be_is_said_before_any_agent_is_asked(
    caller: Machine, quorum: Quorum, tmp_path: Path
) -> None:
    path, out = create(caller, "refused", "mpc"), tmp_path / "new.regen"
    regen = caller.run("key", "create", "whole", "--suite", "ed25519", "--json").json["file"]
    reshare = ("key", "reshare", path, "--out", out)
    with quorum.without(*quorum.agents):
        for words, said in (
            (("--quorum", "2 of (agent-1, agent-5)"), "must sit in the new quorum"),
            (("--quorum", "2 of (agent-1, agent-2, a)", "--seat", "a=agent-1"), "count twice"),
            (("--quorum", "1 of (agent-1, agent-2)"), "one seat would do"),
            (("--quorum", "2 of (agent-1, agent-2, 1 of (agent-3, agent-4))"), "flat"),
            (("--seat", "agent-1=agent-9"), "no agent 'agent-9'"),
        ):
            assert said in caller.fail(1, "bad-input", *reshare, *words).error["message"], words
        asks = ("key", "reshare", path, "--quorum", "2 of (agent-1, agent-5)", "--ask")
        assert "must sit in the new quorum" in caller.fail(1, "bad-input", *asks).error["message"]
        other = ("--quorum", "2 of (agent-1, agent-2, agent-3)")
        for option in ("--armor", "--retire-old"):
            refused = caller.fail(1, "usage", *reshare, *other, option)
            assert option in refused.error["message"] and "--revoke-old" in refused.error["hint"]
        assert "--out" in caller.fail(1, "usage", "key", "reshare", path, *other).error["hint"]
        refused = caller.fail(1, "usage", "key", "reshare", regen, *other, "--revoke-old")
        assert "--revoke-old" in refused.error["message"] and "--retire-old" in refused.error["hint"]
        token = Token.load(path, home=caller.home)
        with Client(caller.home) as client:
            for verb in (client.refresh, partial(client.reshare, quorum="2 of (agent-1, agent-2, agent-3)")):
                with pytest.raises(EvanesceError) as caught:
                    verb(token)
                assert caught.value.code == "unfit-operation"
                assert all(word in caught.value.hint for word in ("refresh_shares", "quorum", "seats"))
    assert not out.exists()
    signs(caller, path, token)


POLICY = """@approvers("cfo = {cfo}")
permit(principal, action in [Action::"reshare", Action::"repair"], resource) when {{ context.approvals.count >= 1 }};
permit(principal, action == Action::"sign", resource);
"""


@pytest.fixture(scope="module")
def cfo(quorum: Quorum) -> Machine:
    machine = Machine(quorum.folder / "cfo")
    machine.run("identity", "init")
    return machine


def ask(caller: Machine, *words: str | Path) -> tuple[str, Path]:
    made = caller.run(*words, "--ask", "--json").json
    (made,) = made.get("requests", [made])
    return made["id"], Path(made["folder"])


def warned(said: dict[str, Any]) -> bool:
    return any("could be used twice" in warning for warning in said["warnings"])


@pytest.mark.parametrize("model", MODELS)
def test_people_are_asked_for_new_shares_and_for_a_new_holder(
    caller: Machine, quorum: Quorum, cfo: Machine, tmp_path: Path, model: str
) -> None:
    policy = tmp_path / "asked.cedar"
    policy.write_text(POLICY.format(cfo=cfo.caller_id))
    path = create(caller, f"asked-{model}", model, "--policy", policy)
    first = Token.load(path, home=caller.home)
    refused = caller.try_("key", "refresh-shares", path, "--out", tmp_path / "out.regen", "--model", "regen-mpc")
    assert refused.status == 2 and "--ask" in refused.err

    words = ("key", "refresh-shares", path, "--model", "regen-mpc", "--word", "yearly")
    made = caller.run(*words, "--ask", "--json").json
    request, folder = made["id"], Path(made["folder"])
    # Any two of four: what a mint warns of is said before people are asked, and when it is done.
    assert warned(made)
    shown = cfo.run("approve", folder, "--yes", "--json").json["text"]
    assert "give it new shares, model regen-mpc" in shown and "yearly" in shown
    with quorum.without("agent-4"):
        # All holders renew their shares together: while one is away nobody's approval is spent.
        assert "no approval was spent" in caller.try_("wait", request, "--timeout", "1").err
    receipts = tmp_path / "receipts"
    done = caller.run("wait", request, "--receipts", receipts, "--json").json
    new = Token.load(path, home=caller.home)
    assert (done["token"], done["old"], done["approved_by"]) == (new.id, first.id, ["cfo"])
    assert warned(done)
    assert new.model == "regen-mpc" and new.replaces == first.id and new.pinned == "kept"
    assert new.public_key() == first.public_key()
    signs(caller, path, first)
    assert Token.load(Path(f"{path}.{first.id[:16]}.old")).id == first.id
    if model == "mpc":
        old = caller.try_("sign", Path(f"{path}.{first.id[:16]}.old"), policy, "--out", tmp_path / "signature")
        assert old.status != 0, "the shares that were kept are gone"
    caller.fail(2, "spent", "wait", request)
    assert caller.run("audit", "verify", receipts, "--json").json["receipts"]

    with quorum.without("agent-2"):
        request, folder = ask(caller, "key", "repair", path, "--lost", "agent-2", "--to", "agent-5")
        assert quorum.agents["agent-5"].id in cfo.run("approve", folder, "--yes", "--json").json["text"]
        done = caller.run("wait", request, "--json").json
        assert done["approved_by"] == ["cfo"]
        assert holders(path)[1] == quorum.agents["agent-5"].id
        with quorum.without("agent-1", "agent-3"):
            signs(caller, path, first)
