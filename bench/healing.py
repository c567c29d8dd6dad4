"""Healing in bulk: an inventory re-rooted by one agent, a lost seat repaired in it, keys refreshed and reshared.

The commands themselves, on forged tokens (see `forge`): `evanesce agent roll` and `evanesce key repair` on a folder. A
refresh and a reshare are of one token each, so their rate is the client's, with as many at once as a repair has.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from bench import command, forge
from bench.fleet import Agent, Fleet
from evanesce import Client, Token

SEATS = 5
AT_ONCE = 64
TURN = 200
"""Tokens refreshed, and as many reshared."""


def inventory(fleet: Fleet, folder: Path, count: int) -> Path:
    """A folder of tokens, each 3 of the fleet's first five."""
    folder.mkdir()
    for number, token in enumerate(forge.tokens(fleet.agents[:SEATS], 3, count)):
        (folder / f"{number:06}.regen").write_bytes(token)
    return folder


def reroot(fleet: Fleet, tokens: Path) -> dict[str, float]:
    """Seconds in which the first agent, which does not run, is rolled to a new root."""
    rolled = command.run(None, "agent", "roll", str(fleet.agents[0].folder), "--tokens", str(tokens))
    return {"rerooted": rolled["rerooted"], "seconds": rolled["milliseconds"] / 1e3}


def repair(fleet: Fleet, lost: Agent, holder: Agent, tokens: Path) -> dict[str, float]:
    """Tokens repaired per second, by one command."""
    done = command.run(
        fleet.home,
        *("key", "repair", str(tokens), "--lost", lost.id, "--to", holder.name, "--trust-token", "--deadline", "60000"),
    )
    if done["failed"]:
        raise RuntimeError(f"not repaired: {done['failed'][0]}")
    return {"repaired": len(done["repaired"]), "per_second": done["per_second"]}


def anew(fleet: Fleet, count: int = TURN) -> dict[str, float]:
    """Keys refreshed and reshared to another quorum, per second."""
    tokens = [Token.decode(token, trust_token=True) for token in forge.tokens(fleet.agents[:SEATS], 3, 2 * count)]
    quorum = f"2 of ({', '.join(agent.name for agent in fleet.agents[:3])})"
    with Client(fleet.home, deadline=60.0) as client, ThreadPoolExecutor(AT_ONCE) as pool:

        def rate(heal: Callable[[Token], object], which: list[Token]) -> float:
            begin = time.perf_counter()
            list(pool.map(heal, which))
            return len(which) / (time.perf_counter() - begin)

        return {
            "refresh_per_second": rate(lambda t: client.refresh(t, trust_token=True), tokens[:count]),
            "reshare_per_second": rate(lambda t: client.reshare(t, trust_token=True, quorum=quorum), tokens[count:]),
        }


def measure(folder: Path, tokens: int, repaired: int) -> dict[str, float]:
    """All of it: `tokens` re-rooted before the agents start, `repaired` of them repaired."""
    folder.mkdir()
    fleet = Fleet(folder / "fleet", count=SEATS + 1)
    all_of_them = inventory(fleet, folder / "inventory", tokens)
    figures = reroot(fleet, all_of_them)
    some = folder / "some"
    some.mkdir()
    # The roll has left a file of its own there.
    for path in islice(sorted(all_of_them.glob("*.regen")), repaired):
        path.rename(some / path.name)
    with fleet:
        lost, holder = fleet.agents[SEATS - 1], fleet.agents[SEATS]
        figures |= anew(fleet)
        assert lost.process is not None
        lost.process.kill()
        return figures | repair(fleet, lost, holder, some)
