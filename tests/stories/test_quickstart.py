"""The first thing anyone runs."""

from __future__ import annotations

from pathlib import Path

from machines import Machine


def test_the_quickstart_shows_what_it_promises(tmp_path: Path) -> None:
    told = Machine(tmp_path / "home").run("quickstart", "--json").json
    steps = {step["step"]: step for step in told["steps"]}
    assert told["ok"] is True
    assert list(steps) == [
        "agents",
        "mint",
        "sign",
        "hybrid",
        "two-dead",
        "three-dead",
        "new-machine",
        "check",
        "at-rest",
    ]
    assert len(steps["agents"]["agents"]) == 5
    assert steps["sign"]["openssl"] in (True, None)
    assert not {"agent-1", "agent-2"} & set(steps["two-dead"]["contributed"])
    refusal = steps["three-dead"]["error"]
    assert refusal["code"] == "quorum-not-met"
    assert {"agent-1", "agent-2", "agent-3"} <= {culprit["holder"] for culprit in refusal["culprits"]}
    assert steps["new-machine"]["files"] == ["identity.key", "payments.regen", "quorum.toml"]
    assert steps["check"]["ok"] is True


def test_the_quickstart_is_told_in_words_and_touches_nothing_else(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home")
    told = machine.run("quickstart", "--keep", tmp_path / "kept")
    words = told.out.decode()
    for said in ("development element", "Two agents die", "agent-3: unreachable", "That signature was the recovery"):
        assert said in words, words
    assert not told.err
    assert list(machine.home.iterdir()) == []
    assert (tmp_path / "kept/new-machine/payments.regen").exists()
    assert not (tmp_path / "kept/old-machine").exists()
    again = machine.try_("quickstart", "--keep", tmp_path / "kept")
    assert again.status == 1
    assert "not empty" in again.err
