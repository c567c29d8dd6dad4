"""Keys outlive their holders: refreshed, reshared, repaired, re-rooted, drilled; stopped and killed on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from machines import EVANESCE, AgentMachine, Machine, Quorum

from evanesce import Client, EvanesceError, Token, verify

MESSAGE = "pay 100 to alice"


@pytest.fixture(scope="module")
def spare(quorum: Quorum) -> Iterator[AgentMachine]:
    """A sixth agent, in no seat yet."""
    agent = AgentMachine(quorum.folder / "agent-6", "agent-6")
    agent.allow("caller", quorum.caller.caller_id)
    agent.start()
    quorum.agents["agent-6"] = agent
    quorum.tell(quorum.caller)
    yield agent
    del quorum.agents["agent-6"]
    quorum.tell(quorum.caller)
    if agent.running:
        agent.end()


def mint(caller: Machine, name: str, *words: str) -> Path:
    seats = "3 of (agent-1, agent-2, agent-3, agent-4, agent-5)"
    made = caller.run("key", "create", name, "--suite", "ed25519", "--quorum", seats, *words, "--json")
    return Path(made.json["file"])


def signs(caller: Machine, token: Path, like: Path) -> bool:
    """Whether it signs, and the signature is of the key that the other token is of."""
    try:
        with Client(caller.home, deadline=5) as client:
            signature = client.sign(Token.load(token, home=caller.home), MESSAGE.encode())
    except EvanesceError:
        return False
    verify(Token.load(like, home=caller.home), MESSAGE.encode(), signature)
    return True


def test_a_refreshed_token_takes_the_place_of_the_old_one_which_is_kept_until_it_is_retired(
    caller: Machine, quorum: Quorum
) -> None:
    path = mint(caller, "refreshed")
    before = Token.load(path, home=caller.home)
    done = caller.run("key", "refresh", path, "--json").json
    after = Token.load(path, home=caller.home)
    assert done["old"] == before.id
    assert done["token"] == after.id != before.id
    assert after.pinned == "kept"
    assert after.replaces == before.id
    assert after.key_id == before.key_id
    assert after.public_key() == before.public_key()
    kept = Path(done["kept"])
    assert Token.load(kept, home=caller.home) == before
    assert not path.with_name(path.name + ".healing").exists()
    assert {json_entry["agent"] for json_entry in done["receipts"]} == {a.id for a in quorum.agents.values()}
    assert signs(caller, path, kept)
    assert signs(caller, kept, path), "nothing was retired unasked"
    words = caller.run("key", "refresh", path, "--retire-old")
    assert "is dead" in words.err
    assert signs(caller, path, kept)
    assert not signs(caller, Path(f"{path}.{after.id[:16]}.old"), path)


@pytest.mark.usefixtures("spare")
def test_a_reshared_key_has_another_quorum_and_policy(caller: Machine, quorum: Quorum) -> None:
    path = mint(caller, "reshared")
    out = path.with_name("elsewhere.regen")
    policy = caller.home / "policy.cedar"
    policy.write_text('permit(principal, action in [Action::"sign", Action::"open"], resource);')
    caller.fail(1, "usage", "key", "reshare", path)
    words = ("--quorum", "2 of (agent-5, chair, agent-6)", "--seat", "chair=agent-1", "--policy", str(policy))
    done = caller.run("key", "reshare", path, *words, "--out", out, "--retire-old", "--json").json
    assert done["old_dead"] is True
    assert done["kept"] is None
    assert any("nobody may ever reshare" in warning for warning in done["warnings"])
    new = Token.load(out, home=caller.home)
    assert new.quorum == "2 of (agent-5, chair, agent-6)"
    assert [seat.holder_id for seat in new.seats] == [quorum.agents[n].id for n in ("agent-5", "agent-1", "agent-6")]
    assert signs(caller, out, path)
    assert not signs(caller, path, out)
    # Its policy grants it to nobody any more.
    refused = caller.try_("key", "refresh", out, "--json")
    assert (refused.status, refused.error["code"]) == (2, "refused")
    assert signs(caller, out, path)


def test_a_token_that_nothing_vouches_for_is_not_minted_anew(caller: Machine, quorum: Quorum) -> None:
    stranger = quorum.newcomer("healer")
    quorum.admit("healer", stranger)
    time.sleep(0.3)
    token = mint(caller, "foreign")
    for verb in (("refresh", token), ("reshare", token, "--expires", "90d")):
        stranger.fail(2, "unpinned", "key", *verb, "--out", stranger.home / "out.regen")
    done = stranger.run("key", "refresh", token, "--out", stranger.home / "out.regen", "--trust-token", "--json").json
    assert Token.load(stranger.home / "out.regen", home=stranger.home).pinned is None, "trust was not made a pin of"
    assert done["resumed"] is False


def test_an_unfinished_retirement_is_finished_by_the_same_command(caller: Machine) -> None:
    path = mint(caller, "half-retired")
    old = Token.load(path, home=caller.home)
    caller.run("key", "refresh", path)
    kept = Path(f"{path}.{old.id[:16]}.old")
    # By hand to where a crash after the mint and before the retirement would have left it.
    new = Token.load(path, home=caller.home)
    from evanesce.cli._healing import Healing

    healing = Healing.of(path, old, "refresh", {})
    healing.note(new)
    done = caller.run("key", "refresh", path, "--retire-old", "--json").json
    assert done["resumed"] is True
    assert (done["token"], done["old"], done["old_dead"]) == (new.id, old.id, True)
    assert not healing.state.exists()
    assert signs(caller, path, kept)
    # A new token that nobody here has minted is not what the old one is retired for.
    other = Token.load(mint(caller, "not-of-this-key"), home=caller.home)
    forged = Healing.of(path, new, "refresh", {})
    forged.note(other)
    caller.fail(2, "unpinned", "key", "refresh", path, "--retire-old")
    forged.done()
    assert signs(caller, path, kept)
    # Another healing in its place is refused while one is unfinished.
    Healing.of(path, new, "reshare", {"quorum": "x"}).note(new)
    caller.fail(1, "exists", "key", "refresh", path)


def test_a_reshare_killed_at_any_moment_leaves_a_key_that_signs_and_is_gone_on_with(caller: Machine) -> None:
    path = mint(caller, "killed")
    reference = path.with_name("reference.regen")
    reference.write_bytes(path.read_bytes())
    first = Token.load(path, home=caller.home).id
    wait = 0.15
    killed = 0
    while True:
        process = subprocess.Popen(
            [*EVANESCE, "key", "reshare", str(path), "--expires", "2y"],
            env=os.environ | {"EVANESCE_HOME": str(caller.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=caller.home,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait)
        if process.poll() is None:
            process.kill()
            process.wait()
            killed += 1
        assert signs(caller, path, reference), f"after {wait:.2f} s"
        if process.returncode == 0:
            break
        wait *= 1.25
        assert wait < 60
    assert killed > 1
    assert Token.load(path, home=caller.home).id != first
    assert not path.with_name(path.name + ".healing").exists()


def test_agents_that_die_in_the_middle_of_a_refresh_leave_the_old_token_as_it_was(
    caller: Machine, quorum: Quorum
) -> None:
    path = mint(caller, "interrupted")
    before = path.read_bytes()
    with quorum.without("agent-2", how=signal.SIGKILL):
        failed = caller.fail(1, "quorum-not-met", "key", "refresh", path)
        assert {culprit["holder"] for culprit in failed.error["culprits"]} == {"agent-2"}
        assert "old token is as it was" in failed.error["hint"]
        assert path.read_bytes() == before
        assert signs(caller, path, path)
    assert caller.run("key", "refresh", path, "--json").json["old"] == Token.decode(before, home=caller.home).id


@pytest.mark.usefixtures("spare")
def test_a_lost_element_is_replaced_in_every_token_of_a_folder(caller: Machine, quorum: Quorum) -> None:
    folder = caller.home / "many"
    folder.mkdir()
    tokens = []
    for number in range(6):
        path = mint(caller, f"many-{number}", "--out", str(folder / f"many-{number}.regen"))
        tokens.append(path)
    with quorum.without("agent-2", how=signal.SIGKILL):
        ids = [Token.load(path, home=caller.home).id for path in tokens]
        wrong = caller.try_("key", "repair", folder, "--lost", "agent-2", "--to", "agent-3", "--json")
        assert wrong.status == 1
        assert len(wrong.json["failed"]) == 6
        assert "sits at agent-3 already" in wrong.json["failed"][0]["error"]["message"]
        done = caller.run("key", "repair", folder, "--lost", "agent-2", "--to", "agent-6", "--json").json
        assert (len(done["repaired"]), done["failed"], done["passed_over"]) == (6, [], 0)
        assert done["per_second"] > 0
        again = caller.run("key", "repair", folder, "--lost", "agent-2", "--to", "agent-6", "--json").json
        assert (again["repaired"], again["passed_over"]) == ([], 6)
        assert [Token.load(path, home=caller.home).id for path in tokens] == ids
        with quorum.without("agent-1", "agent-3"):
            assert all(signs(caller, path, path) for path in tokens), "the new holder is one of three"


def test_an_agent_rolled_and_killed_in_the_middle_goes_on_and_its_old_root_is_gone(
    caller: Machine, quorum: Quorum
) -> None:
    folder = caller.home / "inventory"
    folder.mkdir()
    first = mint(caller, "rolled", "--out", str(folder / "0.regen"))
    reference = caller.home / "rolled-reference.regen"
    reference.write_bytes(first.read_bytes())
    for number in range(1, 3000):
        (folder / f"{number}.regen").write_bytes(first.read_bytes())
    agent = quorum.agents["agent-1"]
    refused = caller.fail(1, "running", "agent", "roll", agent.folder, "--tokens", folder)
    assert str(agent.pid) in refused.error["message"]
    with quorum.without("agent-1"):
        wait = 0.3
        for _ in range(4):
            process = subprocess.Popen(
                [*EVANESCE, "agent", "roll", str(agent.folder), "--tokens", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait)
            process.kill()
            process.wait()
            wait *= 1.3
    # In the middle of a roll the agent serves whatever row a token has.
    with quorum.without("agent-2", "agent-3"):
        assert all(signs(caller, folder / f"{number}.regen", reference) for number in (0, 1500, 2999))
        assert signs(caller, reference, reference)
    with quorum.without("agent-1"):
        rolled = caller.run("agent", "roll", agent.folder, "--tokens", folder, "--json").json
        assert (rolled["finished"], rolled["problem_count"]) == (True, 0)
        epoch = rolled["epoch"]
        assert {seat.epoch for path in folder.glob("*.regen") for seat in [Token.load(path).seats[0]]} == {epoch}
    drilled = caller.run("quorum", "drill", folder / "0.regen", "--open", "--json").json
    assert drilled["tokens"][0]["margins"]["losses"] == 3
    with quorum.without("agent-1"):
        gone = caller.run("agent", "roll", agent.folder, "--tokens", folder, "--destroy-old", "1", "--json").json
        assert gone["destroyed"] == 1
        assert 1 not in gone["epochs"]
    with quorum.without("agent-2", "agent-3"):
        assert signs(caller, folder / "7.regen", reference)
        assert not signs(caller, reference, folder / "7.regen"), "a copy from before the roll has lost this seat"


def test_one_agent_of_an_inventory_at_a_time_loses_its_old_root(
    caller: Machine, quorum: Quorum, tmp_path: Path
) -> None:
    folder = tmp_path / "inventory"
    folder.mkdir()
    mint(caller, "in turn", "--out", str(folder / "0.regen"))
    two, three = (quorum.agents[name] for name in ("agent-2", "agent-3"))
    notes = folder / ".evanesce-rolls"

    def rolls(agent: AgentMachine, *words: str) -> tuple[str | Path, ...]:
        return ("agent", "roll", agent.folder, "--tokens", folder, *words)

    with quorum.without("agent-2", "agent-3"):
        # One that fails before it begins leaves no note.
        caller.fail(1, "roll", *rolls(three, "--destroy-old", "7"))
        assert list(notes.iterdir()) == []
        old = [caller.run(*rolls(agent), "--json").json["epoch"] - 1 for agent in (two, three)]
        assert {path.stem for path in notes.iterdir()} == {two.id, three.id}
        waits = caller.fail(1, "roll", *rolls(three, "--destroy-old", str(old[1])))
        assert "agent-2, whose old root is not destroyed yet" in waits.error["message"]
        # Killed in the middle, the second is in the way of the first.
        note = notes / f"{three.id}.json"
        whole = note.read_text()
        note.write_text(whole.replace('"finished": true', '"finished": false'))
        waits = caller.fail(1, "roll", *rolls(two, "--destroy-old", str(old[0])))
        assert "agent-3, whose roll is unfinished" in waits.error["message"]
        note.write_text(whole)
        assert caller.run(*rolls(two, "--destroy-old", str(old[0])), "--json").json["destroyed"] == old[0]
        assert {path.stem for path in notes.iterdir()} == {three.id}
        # Another that is never to come back is said to be lost.
        (notes / f"{'0' * 64}.json").write_text(f'{{"agent": "{"0" * 64}", "name": "gone", "began": 1}}')
        waits = caller.fail(1, "roll", *rolls(three, "--destroy-old", str(old[1])))
        assert "--lost gone" in waits.error["hint"]
        caller.fail(1, "not-found", *rolls(three, "--destroy-old", str(old[1]), "--lost", "agent-4"))
        # Neither itself, nor two of one name, nor anyone while another is in the way.
        destroys = rolls(three, "--destroy-old", str(old[1]))
        own = caller.fail(1, "usage", *destroys, "--lost", "agent-3")
        assert "agent-3 is this agent itself" in own.error["message"]
        (notes / f"{'1' * 64}.json").write_text(f'{{"agent": "{"1" * 64}", "name": "gone", "began": 2}}')
        several = caller.fail(1, "usage", *destroys, "--lost", "gone")
        assert "1" * 64 in several.error["hint"]
        before = {path.stem for path in notes.iterdir()}
        waits = caller.fail(1, "roll", *destroys, "--lost", "0" * 64)
        assert "gone, whose roll is unfinished" in waits.error["message"]
        assert {path.stem for path in notes.iterdir()} == before
        (notes / f"{'1' * 64}.json").unlink()
        gone = caller.run(*rolls(three, "--destroy-old", str(old[1]), "--lost", "gone"), "--json").json
        assert gone["destroyed"] == old[1]
        assert list(notes.iterdir()) == []
    assert caller.run("quorum", "drill", folder, "--open", "--json").json["verdict"] == "ok"


def test_a_destruction_that_was_cut_off_before_its_note_was_ended_keeps_nobody_waiting(
    caller: Machine, quorum: Quorum, tmp_path: Path
) -> None:
    folder = tmp_path / "inventory"
    folder.mkdir()
    mint(caller, "cut off", "--out", str(folder / "0.regen"))
    two, three = (quorum.agents[name] for name in ("agent-2", "agent-3"))
    notes = folder / ".evanesce-rolls"
    with quorum.without("agent-2", "agent-3"):
        old = []
        for agent in (two, three):
            rolled = caller.run("agent", "roll", agent.folder, "--tokens", folder, "--json").json
            old.append(rolled["epoch"] - 1)
        first = ("agent", "roll", str(two.folder), "--tokens", str(folder), "--destroy-old", str(old[0]))
        dies = (
            "import os, signal\nfrom evanesce._rolls import Rolls\nfrom evanesce.cli import main\n"
            "Rolls.finish = Rolls.end = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\nmain()"
        )
        died = subprocess.run(
            [sys.executable, "-c", dies, *first], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
        )
        assert died.returncode == -signal.SIGKILL
        second = ("agent", "roll", three.folder, "--tokens", folder, "--destroy-old", str(old[1]))
        waits = caller.fail(1, "roll", *second)
        assert "agent-2, whose roll is unfinished" in waits.error["message"]
        again = caller.run(*first, "--json").json
        assert (again["destroyed"], again["epochs"], again["finished"]) == (old[0], [old[0] + 1], True)
        assert {path.stem for path in notes.iterdir()} == {three.id}
        # Once there is no note of it there was no such roll.
        caller.fail(1, "roll", *first)
        assert caller.run(*second, "--json").json["destroyed"] == old[1]
        assert list(notes.iterdir()) == []
    assert caller.run("quorum", "drill", folder, "--open", "--json").json["verdict"] == "ok"


def test_a_roll_over_a_folder_in_which_the_agent_has_no_row_leaves_no_note(
    caller: Machine, quorum: Quorum, tmp_path: Path
) -> None:
    folder = tmp_path / "inventory"
    folder.mkdir()
    seats = ("--quorum", "2 of (agent-1, agent-2)", "--out", folder / "0.regen")
    caller.run("key", "create", "of others", "--suite", "ed25519", *seats)
    agent = quorum.agents["agent-4"]
    with quorum.without("agent-4"):
        rolled = caller.run("agent", "roll", agent.folder, "--tokens", folder, "--json").json
        assert (rolled["finished"], rolled["elsewhere"]) == (True, 1)
    assert list((folder / ".evanesce-rolls").iterdir()) == []


def drill(caller: Machine, *words: str | Path) -> tuple[int, Any]:
    done = caller.try_("quorum", "drill", *words, "--json")
    return done.status, done.json


def test_a_drill_says_how_much_can_still_be_lost(caller: Machine, quorum: Quorum) -> None:
    path = mint(caller, "drilled")
    status, found = drill(caller, path, "--open")
    (token,) = found["tokens"]
    assert (status, found["verdict"], token["opened"]) == (0, "ok", True)
    margins = token["margins"]
    assert (margins["live"], margins["seats"], margins["losses"]) == (5, 5, 3)
    assert margins["agents"] == {"to_block": 3, "to_open": 3}
    assert margins["sites"] == {"to_block": 3, "to_open": 3}, "each agent is its own site in the quorum file"
    assert margins["vendors"] == {"to_block": None, "to_open": None}, "nobody wrote vendors down"
    assert margins["administrators"] == {"to_block": None, "to_open": None}
    with quorum.without("agent-1"):
        status, found = drill(caller, path)
        assert (status, found["tokens"][0]["margins"]["losses"]) == (1, 2)
        assert "agent-1" in found["tokens"][0]["remarks"][0]
        with quorum.without("agent-2"):
            status, found = drill(caller, path)
            assert (status, found["verdict"], found["tokens"][0]["margins"]["losses"]) == (1, "warning", 1)
            assert any("margin 1" in remark for remark in found["tokens"][0]["remarks"])
            with quorum.without("agent-3"):
                status, found = drill(caller, path, "--open")
                assert (status, found["verdict"], found["tokens"][0]["margins"]["losses"]) == (2, "unopenable", 0)
                words = caller.try_("quorum", "drill", path)
                assert words.status == 2
                assert "0 of" not in words.out.decode()
                assert "cannot be opened" in words.err


def test_a_drill_of_a_folder_is_as_bad_as_its_worst_token(caller: Machine, quorum: Quorum) -> None:
    folder = caller.home / "drills"
    folder.mkdir()
    mint(caller, "drill-a", "--out", str(folder / "a.regen"))
    assert drill(caller, folder)[0] == 0
    tight = ("key", "create", "tight", "--suite", "ed25519", "--quorum", "2 of (agent-1, agent-2)")
    caller.run(*tight, "--out", folder / "tight.regen")
    status, found = drill(caller, folder)
    assert (status, found["counts"]) == (1, {"ok": 1, "warning": 1, "unopenable": 0})
    (folder / "broken.regen").write_bytes(b"no token")
    status, found = drill(caller, folder)
    assert (status, found["counts"]) == (2, {"ok": 1, "warning": 1, "unopenable": 1})
    assert [Path(token["file"]).name for token in found["tokens"]] == ["broken.regen", "tight.regen", "a.regen"]
    # Sites that everything depends on are seen through the seats.
    text = (caller.home / "quorum.toml").read_text()
    try:
        for number in range(1, 6):
            text = text.replace(f'site = "agent-{number}"', 'site = "one"\nvendor = "v"', 1)
        (caller.home / "quorum.toml").write_text(text)
        margins = drill(caller, folder / "a.regen")[1]["tokens"][0]["margins"]
        assert margins["sites"] == margins["vendors"] == {"to_block": 1, "to_open": 1}
        # Five sites, and two people who run them: one who has three of the agents can open alone.
        quorum.tell(caller)
        text = (caller.home / "quorum.toml").read_text()
        for number in range(1, 6):
            who = "ada" if number <= 3 else "bob"
            text = text.replace(f'site = "agent-{number}"', f'site = "s{number}"\nadministrator = "{who}"', 1)
        (caller.home / "quorum.toml").write_text(text)
        margins = drill(caller, folder / "a.regen")[1]["tokens"][0]["margins"]
        assert margins["sites"] == {"to_block": 3, "to_open": 3}
        assert margins["administrators"] == {"to_block": 1, "to_open": 1}
    finally:
        quorum.tell(caller)
