"""One run: fresh canaries, the workload, the search; then leaks, and the search again.

In this order, because a leak must be found by the very search that found nothing before it was there; core files
come last, because the processes end in them.
"""

from __future__ import annotations

import secrets
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import leaks, search
from .canaries import Canary
from .household import Failed, Household, Watched
from .leaks import Planted, Say
from .scene import AGENTS, Scene
from .search import Hit, Search

IDLE_SECONDS = 1.0
MOST_ROUNDS = 10
"""Of looking at processes at work before giving up on seeing a secret there."""


@dataclass
class Result:
    """What a run brought."""

    hits: list[Hit]
    planted: list[Planted]
    needles: int
    looked_at: int
    counts: Counter[str]
    seen_at_work: set[str] = field(default_factory=set)
    """Labels of what was seen in locked memory during operations, what is kept apart."""
    kept: set[tuple[str, str]] = field(default_factory=set)
    """Label and file, of what is to be at rest: the shares of `mpc`, the keys of `hsm`."""
    found_at_rest: set[tuple[str, str]] = field(default_factory=set)
    """The same, as the search found it."""
    remarks: list[str] = field(default_factory=list)

    @property
    def operations(self) -> int:
        return sum(count for what, count in self.counts.items() if not what.startswith("error "))

    @property
    def failures(self) -> int:
        return sum(count for what, count in self.counts.items() if what.startswith("error "))


def run(say: Say, keep: Path | None = None) -> Result:
    """A whole run. Raises `Failed` when it did not come off. `keep`: a folder to leave everything in."""
    if keep is not None:
        keep.mkdir(parents=True)
        return _run(keep, say)
    with tempfile.TemporaryDirectory(prefix="evanesce-residue-") as folder:
        return _run(Path(folder), say)


def _run(folder: Path, say: Say) -> Result:
    with Household(folder, AGENTS) as household:
        scene = Scene(household)
        nobody = secrets.token_bytes(32)
        scene.prepare(nobody)
        household.start(nobody)
        scene.work()
        secret = [*scene.canaries, *scene.of_minted()]
        homes: dict[str, int] = {}
        result = Result([], [], len(secret), 0, scene.counts)
        _watch(result, Search(household, secret, homes), household, lambda: scene.phase("again"))
        scene.require_enough()
        time.sleep(IDLE_SECONDS)
        _searched(result, Search(household, secret, homes).everything())
        _require_seen(household, homes)
        resting = list(scene.at_rest())
        result.kept = {(canary.label, canary.kept.file) for canary in resting if canary.kept and canary.kept.file}
        result.found_at_rest = Search(household, resting, {}).where_files_have_them()

        result.planted = leaks.plant(household)
        planted = [each.canary for each in result.planted]
        bare = Search(household, planted, homes).everything()
        for each in result.planted:
            each.recognise(bare.hits)
        _end(household, Search(household, _unique(secret, planted), homes), result)
        leaks.report(result.planted, say)
        for hit in result.hits:
            say(f"  HIT {hit}")
        return result


def _watch(result: Result, search_: Search, household: Household, work: Callable[[], None]) -> None:
    """Looks at one process after the other while work goes on. That secrets are then seen, and in locked memory
    only, is what gives a later search that sees none its meaning."""
    enough = threading.Event()

    def work_on() -> None:
        while not enough.is_set():
            work()

    kept = {canary.label for canary in household.canaries()}
    others = [process for process in household.processes if process is not household.caller]
    looks = [each for other in others for each in (household.caller, other)]
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work_on)
        try:
            for number, process in enumerate(looks * MOST_ROUNDS):
                if number >= len(looks) and result.seen_at_work:
                    break
                found, belong = search_.at_work(process)
                _searched(result, found)
                result.seen_at_work |= belong - kept
        finally:
            enough.set()
        working.result()
    if not result.seen_at_work:
        raise Failed(f"no secret was seen at work in {MOST_ROUNDS} rounds: the search sees nothing")


def _searched(result: Result, found: search.Found) -> None:
    result.looked_at += found.looked_at
    for each in result.planted:
        each.recognise(found.hits)
    shown = {hit for each in result.planted for hit in each.evidence}
    fresh = {each.canary.label for each in result.planted if not each.kind.own_root}
    result.hits += [hit for hit in found.hits if hit not in shown and hit.label not in fresh]


def _unique(*groups: Sequence[Canary]) -> list[Canary]:
    return list({canary.label: canary for group in groups for canary in group}.values())


def _require_seen(household: Household, homes: dict[str, int]) -> None:
    """A search that does not see what is known to be there sees nothing."""
    alive = {process.name for process in household.processes}
    for canary in household.canaries():
        kept = canary.kept
        if kept is not None and kept.in_arena == 1 and kept.holder in alive and canary.label not in homes:
            raise Failed(f"the search did not find {canary.label} where it is kept")


def _end(household: Household, everything: Search, result: Result) -> None:
    """Ends the processes, two of them in a core file, and looks at what they leave."""
    dumped: list[Watched] = [household.caller, household.agents[0]]
    locked = {each.name: search.locked_ranges(each.pid) for each in dumped}
    cores = []
    for each in dumped:
        each.send(signal.SIGABRT)
        each.await_end()
    for other in (household.service, *household.agents[1:]):
        if other.alive():
            other.send(signal.SIGTERM)
            other.await_end()
    for each in dumped:
        core = search.core_file(each)
        if core is None:
            result.remarks.append("core files go elsewhere on this system, or are forbidden: none was scanned")
            result.planted = [planted for planted in result.planted if not planted.kind.core]
            break
        cores.append(core)
        _searched(result, everything.core(core, each, locked[each.name]))
    _searched(result, everything.files(besides=cores))
