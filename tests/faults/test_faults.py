"""Real processes, real TLS, a fault every few seconds: whoever has a quorum is served, and whoever has not is told why.

60 s of it, or `make faults MINUTES=10 SEED=…`. While t agents are up and can be reached, at least 99.9 % of operations
succeed, each result looked at; with fewer every refusal comes within the deadline and names so many missing seats that
no quorum is left, each with its fault, and none that is not missing. Afterwards all is as before.
"""

from __future__ import annotations

import collections
import os
import random
import time
from pathlib import Path

import pytest
from health import Health
from scene import AGENTS, CALLERS, THRESHOLD, Scene
from traffic import DEADLINE, Done, Traffic
from trouble import befall, draw

from evanesce import EvanesceError

SECONDS = 60 * float(os.environ.get("MINUTES") or 1)
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(2**32))
SLACK = 0.5
"""Seconds beyond a deadline until a thread of a busy machine has noticed it."""
NOTICED = 1.0
"""Seconds until an agent that is well again need not be named any more."""
SHOWN = 12


def test_whoever_has_a_quorum_is_served_and_whoever_has_not_is_told_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nfaults over {SECONDS:.0f} s, SEED={SEED}", flush=True)
    troubles = draw(SEED, SECONDS)
    plan = "\n".join(map(str, troubles))
    with Scene(tmp_path / "scene") as scene:
        health = Health(CALLERS, scene.agents)
        traffic = Traffic(scene)
        traffic.start()
        begin = time.monotonic()
        failures = befall(scene, health, troubles, begin)
        time.sleep(1)
        traffic.stop()

        owed = [done for done in traffic.done if _least(health, done) >= THRESHOLD]
        short = [done for done in traffic.done if _least(health, done) < THRESHOLD]
        refused = [done for done in short if done.error is not None]
        failed = [done for done in owed if done.error is not None]
        kinds = collections.Counter(trouble.kind for trouble in troubles)
        longest = max((done.took for done in refused), default=0.0)
        with capsys.disabled():
            print(
                f"{len(troubles)} faults ({', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}); disks "
                f"{'mounted' if all(disk.mounted for disk in scene.disks.values()) else 'limited by process'}\n"
                f"with a quorum: {len(owed) - len(failed)} of {len(owed)} operations succeeded "
                f"({100 - 100 * len(failed) / max(len(owed), 1):.3f} %), longest {max(d.took for d in owed):.2f} s\n"
                f"without: {len(refused)} of {len(short)} refused, longest after {longest:.2f} s",
                flush=True,
            )
        assert failures == [], plan
        told = "\n".join(_told(done, health, begin) for done in failed[:SHOWN])
        assert all(isinstance(done.error, EvanesceError | None) for done in traffic.done), "a wrong result"
        assert len(failed) <= 0.001 * len(owed), f"SEED={SEED}\n{plan}\n{told}"
        assert len(owed) > 50 * SECONDS, "too little was asked"

        assert refused, "no storm was noticed"
        wrong = [(done, why) for done in refused if (why := _unexplained(done, health))]
        told = "\n".join(f"{why}: {_told(done, health, begin)}" for done, why in wrong[:SHOWN])
        assert not wrong, f"SEED={SEED}\n{plan}\n{len(wrong)} refusals:\n{told}"

        _all_is_as_before(scene)


def _least(health: Health, done: Done) -> int:
    return min(map(len, health.during(done.caller, done.begin, done.end)))


def _unexplained(done: Done, health: Health) -> str | None:
    """What is wrong with a refusal of an operation that had no quorum for some of its time."""
    error = done.error
    if done.took > DEADLINE + SLACK:
        return f"took {done.took:.2f} s"
    if not isinstance(error, EvanesceError) or error.code != "quorum-not-met" or not error.hint:
        return "is of another kind"
    named = {culprit.holder: culprit for culprit in error.culprits if culprit.seat and culprit.kind and culprit.detail}
    # Once no quorum is left nobody else is waited for: of four that are dead three may be named.
    if len(named) <= AGENTS - THRESHOLD:
        return "names too few to have failed"
    well = frozenset.intersection(*health.during(done.caller, done.begin - NOTICED, done.end))
    return f"names {', '.join(sorted(well & set(named)))}" if well & set(named) else None


def _told(done: Done, health: Health, begin: float) -> str:
    well = " > ".join("".join(sorted(name[-1] for name in s)) for s in health.during(done.caller, done.begin, done.end))
    text = str(done.error).replace("\n", " | ")
    return f"{done.begin - begin:.2f} s +{done.took:.2f} {done.caller} {done.what}, well {well}: {text}"


def _all_is_as_before(scene: Scene) -> None:
    """Every seat can open, every caller is served, and no log has a scar."""
    for caller in CALLERS:
        machine = scene.machines[caller]
        machine.run("sign", scene.token, "--suite", "ed25519", "-m", "x", "--trust-token")
    checked = scene.quorum.caller.run("check", scene.token, "--open", "--json").json
    assert [seat["verdict"] for seat in checked["seats"]] == ["ok"] * AGENTS
    folders = [agent.folder for agent in scene.agents.values()]
    found = scene.quorum.caller.run("audit", "search", *folders, "--code", "done", "--json").json
    assert len(found["logs"]) == AGENTS
