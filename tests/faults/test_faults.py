"""Real processes, real TLS, a fault every few seconds: whoever has a quorum is served, and whoever has not is told why.

60 s of it, or `make faults MINUTES=10 SEED=…`. While t agents are up and can be reached, at least 99.9 % of operations
succeed, each result looked at; with fewer every refusal comes within the deadline and names so many missing seats that
no quorum is left, each with its fault, and none that is not missing. A key is healed all the while: that succeeds while
every agent is well, and leaves the key as it was wherever it does not. Afterwards all is as before, and no request was
answered twice.
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
from traffic import Done, Traffic
from trouble import befall, draw

from evanesce import EvanesceError, _core

SECONDS = 60 * float(os.environ.get("MINUTES") or 1)
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(2**32))
SLACK = 0.5
"""Seconds beyond a deadline until a thread of a busy machine has noticed it."""
NOTICED = 1.0
"""Seconds until an agent that is well again need not be named any more."""
LEFT = 6.0
"""Seconds before the end from which on nothing begins any more."""
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
        # Under load each takes longer than it was drawn to: what has no time left is let be.
        begun, failures = befall(scene, health, troubles, begin, begin + SECONDS - LEFT)
        time.sleep(max(begin + SECONDS - time.monotonic(), 1))
        traffic.stop()
        lasted = time.monotonic() - begin

        owed = [done for done in traffic.done if _least(health, done) >= done.needs]
        short = [done for done in traffic.done if _least(health, done) < done.needs]
        steps = collections.Counter(done.what for done in owed if done.needs > THRESHOLD and done.error is None)
        refused = [done for done in short if done.error is not None]
        failed = [done for done in owed if done.error is not None]
        kinds = collections.Counter(trouble.kind for trouble in begun)
        drawn = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
        longest = max((done.took for done in refused), default=0.0)
        with capsys.disabled():
            print(
                f"{len(begun)} faults in {lasted:.0f} s ({drawn}); disks "
                f"{'mounted' if all(disk.mounted for disk in scene.disks.values()) else 'limited by process'}\n"
                f"with a quorum: {len(owed) - len(failed)} of {len(owed)} operations succeeded "
                f"({100 - 100 * len(failed) / max(len(owed), 1):.3f} %), longest {max(d.took for d in owed):.2f} s\n"
                f"healed: {', '.join(f'{n} {step}' for step, n in sorted(steps.items()))}\n"
                f"without: {len(refused)} of {len(short)} refused, longest after {longest:.2f} s",
                flush=True,
            )
        assert failures == [], plan
        wrong = [done for done in traffic.done if _is_wrong(done)]
        told = "\n".join(_told(done, health, begin) for done in wrong[:SHOWN])
        assert not wrong, f"SEED={SEED}\n{plan}\n{len(wrong)} wrong results:\n{told}"
        told = "\n".join(_told(done, health, begin) for done in failed[:SHOWN])
        assert len(failed) <= 0.001 * len(owed), f"SEED={SEED}\n{plan}\n{told}"
        assert len(owed) > 50 * SECONDS, "too little was asked"

        assert all(steps[step] for step in ("refresh", "reshare", "repair", "retire")), steps

        assert any(done.needs == THRESHOLD for done in refused), "no storm was noticed"
        odd = [(done, why) for done in refused if (why := _unexplained(done, health))]
        told = "\n".join(f"{why}: {_told(done, health, begin)}" for done, why in odd[:SHOWN])
        assert not odd, f"SEED={SEED}\n{plan}\n{len(odd)} refusals:\n{told}"

        _all_is_as_before(scene)


def _is_wrong(done: Done) -> bool:
    """Whether its result was looked at and is not what was asked for, which is no failure like others."""
    error = done.error
    return error is not None and (not isinstance(error, EvanesceError) or error.code == "invalid-signature")


def _least(health: Health, done: Done) -> int:
    return min(map(len, health.during(done.caller, done.begin, done.end)))


def _unexplained(done: Done, health: Health) -> str | None:
    """What is wrong with a refusal of an operation that had no quorum for some of its time."""
    error = done.error
    if done.took > done.limit + SLACK:
        return f"took {done.took:.2f} s"
    if done.needs > THRESHOLD:
        return _unexplained_healing(done, health)
    if not isinstance(error, EvanesceError) or error.code != "quorum-not-met" or not error.hint:
        return "is of another kind"
    named = {culprit.holder: culprit for culprit in error.culprits if culprit.seat and culprit.kind and culprit.detail}
    # Once no quorum is left nobody else is waited for: of four that are dead three may be named.
    if len(named) <= AGENTS - THRESHOLD:
        return "names too few to have failed"
    return _wrongly(set(named), done, health)


def _unexplained_healing(done: Done, health: Health) -> str | None:
    """Likewise, where every seat's holder was needed, and one that is missing is enough to name."""
    error = done.error
    if not isinstance(error, EvanesceError) or not error.hint:
        return "is of another kind"
    if not error.culprits and done.what != "retire":
        return "names nobody"
    # A repair has one seat less to ask, and is given up at once; that somebody was slower than usual until then is true
    # of any busy machine.
    given_up = done.took < done.limit
    named = {culprit.holder for culprit in error.culprits if not (given_up and culprit.kind == "slow")}
    return _wrongly(named, done, health)


def _wrongly(named: set[str], done: Done, health: Health) -> str | None:
    well = frozenset.intersection(*health.during(done.caller, done.begin - NOTICED, done.end))
    return f"names {', '.join(sorted(well & named))}" if well & named else None


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
    for folder in folders:
        entries, _ = _core.Log.open(str(folder)).search(code="done")
        asked = [job["request"] for _, _, entry in entries if entry["verb"] != "seat" for job in entry["operations"]]
        assert len(asked) == len(set(asked)), "a request was answered twice"
