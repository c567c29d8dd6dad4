"""With two agents of five turned back to an old copy, and obeying somebody else: nothing revoked comes back."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacked import CORRUPT, Attack, until_well
from machines import PATIENCE


@pytest.fixture
def revoked(attack: Attack, tmp_path: Path) -> Iterator[Path]:
    """A token that was revoked everywhere, and the corrupt agents as they were before; put right again."""
    quorum, token = attack.quorum, tmp_path / "revoked.regen"
    attack.caller.run("key", "create", "to-be-revoked", "--suite", "ed25519", "--out", token)
    quorum.end(*CORRUPT)
    for name in CORRUPT:
        shutil.copytree(quorum.agents[name].folder, tmp_path / name)
    quorum.start(*CORRUPT)
    until_well(quorum)
    assert attack.caller.run("key", "revoke", token, "--yes", "--json").json["settled"] is True
    quorum.end(*CORRUPT)
    for name in CORRUPT:
        shutil.move(quorum.agents[name].folder, tmp_path / f"{name}-newest")
        shutil.copytree(tmp_path / name, quorum.agents[name].folder)
        (quorum.agents[name].folder / "peers.toml").unlink()
    quorum.start(*CORRUPT)
    yield token
    quorum.end(*CORRUPT)
    for name in CORRUPT:
        shutil.rmtree(quorum.agents[name].folder)
        shutil.move(tmp_path / f"{name}-newest", quorum.agents[name].folder)
    quorum.start(*CORRUPT)
    until_well(quorum)


def test_two_that_forget_a_revocation_are_two(attack: Attack, revoked: Path) -> None:
    seats = attack.caller.try_("check", revoked, "--json").json["seats"]
    ok = {seat["holder"] for seat in seats if seat["verdict"] == "ok"}
    assert ok == set(CORRUPT), "these have forgotten it, or the test shows nothing"
    failed = attack.caller.fail(2, "quorum-not-met", "sign", revoked, "-m", "after its end")
    named = {culprit["holder"]: culprit["detail"] for culprit in failed.error["culprits"]}
    assert set(named) >= {agent.name for agent in attack.honest}
    assert all("retired" in named[agent.name] for agent in attack.honest), named


def test_an_honest_agent_restored_from_an_old_copy_is_not_talked_round(attack: Attack, tmp_path: Path) -> None:
    """The corrupt ones have forgotten all that they saw of it; one honest peer that it must hear from is enough."""
    quorum, victim, token = attack.quorum, attack.honest[0], tmp_path / "token.regen"
    attack.caller.run("key", "create", "revoked-too", "--suite", "ed25519", "--out", token)
    quorum.end(victim.name)
    shutil.copytree(victim.folder, tmp_path / "copy")
    quorum.start(victim.name)
    until_well(quorum, victim.name)
    attack.caller.run("key", "revoke", token, "--yes")
    # Until its peers have seen its log as it is now.
    time.sleep(1.5)
    quorum.end(victim.name, *CORRUPT)
    for name in CORRUPT:
        (quorum.agents[name].folder / "orders").unlink()
        (quorum.agents[name].folder / "seen").unlink()
    shutil.move(victim.folder, tmp_path / "newest")
    shutil.copytree(tmp_path / "copy", victim.folder)
    quorum.start(victim.name, *CORRUPT)
    deadline = time.monotonic() + PATIENCE
    while True:
        seats = attack.caller.try_("check", token, "--json").json["seats"]
        seat = next(seat for seat in seats if seat["holder"] == victim.name)
        assert seat["verdict"] != "ok", "it answered for what had been revoked"
        if "restored from an old copy" in seat["detail"]:
            break
        assert time.monotonic() < deadline, seat
        time.sleep(0.05)
    quorum.end(victim.name)
    shutil.rmtree(victim.folder)
    shutil.move(tmp_path / "newest", victim.folder)
    quorum.start(victim.name)
    until_well(quorum, victim.name)
