"""What befalls agents, and when: drawn from a seed before anything does.

Most of the time one or two agents are in trouble and the others are a quorum; once in a minute, in a *storm*, three or
four are, and nobody can be served. Every kind comes before any comes again. Clocks cannot be turned for one process
alone: that is the simulator's.
"""

from __future__ import annotations

import random
import resource
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from bench.proxy import Proxy
from health import Health
from machines import PATIENCE
from scene import AGENTS, CALLERS, THRESHOLD, Scene

from evanesce import Client, Token

LOST = "restored from an old copy"
"""What an agent says of itself that its peers know better than it does."""
FAR_MS = 120.0
"""A round trip to an agent that is slow. It is well all the same: so much a deadline has room for."""


@dataclass(frozen=True)
class Trouble:
    """One fault of some agents."""

    at: float
    """Seconds from the begin at which it is due. It waits until enough of the others are well."""
    kind: str
    agents: tuple[str, ...]
    callers: tuple[str, ...]
    """For whom the network is broken."""
    lasts: float

    @property
    def is_storm(self) -> bool:
        return len(self.agents) > AGENTS - THRESHOLD

    def __str__(self) -> str:
        whose = "" if self.callers == CALLERS else f" for {', '.join(self.callers)}"
        return f"{self.at:6.1f} s  {self.kind} {', '.join(self.agents)}{whose}, {self.lasts:.1f} s"


def draw(seed: int, seconds: float) -> list[Trouble]:
    """A fault every few seconds, and in each minute a storm."""
    chance = random.Random(seed)
    names = [f"agent-{number + 1}" for number in range(AGENTS)]
    storms = [minute + chance.uniform(15, 45) for minute in range(0, max(int(seconds) // 60, 1) * 60, 60)]
    troubles, at = [], 1.0
    deck: list[str] = []
    while at < seconds - 6:
        storm = bool(storms) and at >= storms[0]
        if storm:
            storms.pop(0)
        if not deck:
            deck = chance.sample(list(KINDS), len(KINDS))
        kind = chance.choice(STORMS) if storm else deck.pop()
        count = chance.randint(AGENTS - THRESHOLD + 1, AGENTS - 1) if storm else 1
        callers = tuple(CALLERS)
        if kind in ("held up", "cut off", "doubled") and not storm and chance.random() < 0.5:
            callers = (chance.choice(CALLERS),)
        lasts = chance.uniform(3, 4) if storm else chance.uniform(0.5, 5)
        troubles.append(Trouble(at, kind, tuple(sorted(chance.sample(names, count))), callers, lasts))
        at += lasts + 2 if storm else chance.uniform(1.5, 4)
    return troubles


def befall(
    scene: Scene, health: Health, troubles: Sequence[Trouble], begin: float, end: float
) -> tuple[list[Trouble], list[BaseException]]:
    """Lets them happen, as many as begin before `end`; returns when all are over: these, and what went wrong in doing
    so."""
    begun: list[Trouble] = []
    failures: list[BaseException] = []
    threads: list[threading.Thread] = []

    def one(trouble: Trouble) -> None:
        callers = trouble.callers if trouble.kind in NETWORK else tuple(CALLERS)
        try:
            with KINDS[trouble.kind](scene, trouble):
                time.sleep(trouble.lasts)
        except BaseException as e:
            failures.append(e)
        finally:
            if trouble.kind not in HARMLESS:
                health.rises(trouble.agents, callers)

    for trouble in troubles:
        time.sleep(max(begin + trouble.at - time.monotonic(), 0))
        while not _is_fit(health, trouble) and time.monotonic() < end:
            time.sleep(0.05)
        if time.monotonic() >= end:
            break
        begun.append(trouble)
        if trouble.kind not in HARMLESS:
            health.falls(trouble.agents, trouble.callers if trouble.kind in NETWORK else tuple(CALLERS))
        thread = threading.Thread(target=one, args=(trouble,), name=str(trouble))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    return begun, failures


def _is_fit(health: Health, trouble: Trouble) -> bool:
    """A storm has all agents well before it; another fault leaves a quorum."""
    well = health.well_for_all()
    if trouble.is_storm:
        return len(well) == AGENTS
    return set(trouble.agents) <= well and len(well) > THRESHOLD


@contextmanager
def _killed(scene: Scene, trouble: Trouble) -> Iterator[None]:
    scene.quorum.end(*trouble.agents, how=signal.SIGKILL)
    try:
        yield
    finally:
        scene.quorum.start(*trouble.agents)
        scene.answer(*trouble.agents)


@contextmanager
def _stopped(scene: Scene, trouble: Trouble) -> Iterator[None]:
    _signal(scene, trouble, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(scene, trouble, signal.SIGCONT)


def _signal(scene: Scene, trouble: Trouble, what: signal.Signals) -> None:
    for name in trouble.agents:
        process = scene.agents[name].process
        assert process is not None
        process.send_signal(what)


@contextmanager
def _slow(scene: Scene, trouble: Trouble) -> Iterator[None]:
    for caller in trouble.callers:
        scene.proxies[caller].slow(trouble.agents, FAR_MS)
    try:
        yield
    finally:
        for caller in trouble.callers:
            # And no more: what is cut off by now stays so.
            scene.proxies[caller].slow(trouble.agents, 0)


@contextmanager
def _restored(scene: Scene, trouble: Trouble) -> Iterator[None]:
    """From a copy that was made before anything was done. Its peers know better, and it answers nothing."""
    (name,) = trouble.agents
    scene.quorum.end(name, how=signal.SIGKILL)
    scene.copy(name, "newest")
    scene.put_back(name, "old")
    entries = scene.agents[name].folder / "log" / "entries"
    before = entries.read_bytes()
    scene.quorum.start(name)
    try:
        deadline = time.monotonic() + PATIENCE
        while LOST not in (why := scene.standing(name) or ""):
            # Not heard from enough of them yet; but at no time that all is well.
            assert time.monotonic() < deadline, f"{name} does not notice that it was restored: {why}"
            time.sleep(0.05)
        yield
        assert LOST in (scene.standing(name) or "")
        assert entries.read_bytes() == before, f"{name} has written to a log of which it has lost the end"
    finally:
        scene.quorum.end(name, how=signal.SIGKILL)
        scene.put_back(name, "newest")
        scene.quorum.start(name)
        scene.answer(name)


@contextmanager
def _another_root(scene: Scene, trouble: Trouble) -> Iterator[None]:
    """Its element is another's: what it regenerates is no share. It is named for that, and done without."""
    (name,) = trouble.agents
    roots = scene.agents[name].folder / "roots"
    own = roots.read_text()
    title, *lines = own.splitlines()
    others = "".join(f"{line.split()[0]} {secrets.token_hex(32)}\n" for line in lines)
    with scene.rooted:
        scene.quorum.end(name, how=signal.SIGKILL)
        roots.write_text(f"{title}\n{others}")
        scene.quorum.start(name)
        try:
            scene.answer(name)
            with Client(scene.quorum.caller.home, deadline=PATIENCE) as client:
                token = Token.load(scene.token, trust_token=True)
                (seat,) = (seat for seat in client.check(token).seats if seat.holder == name)
            assert seat.verdict == "cannot-regenerate", seat
            yield
        finally:
            scene.quorum.end(name, how=signal.SIGKILL)
            roots.write_text(own)
            scene.quorum.start(name)
            scene.answer(name)


def _network(
    break_it: Callable[[Proxy, Iterable[str]], None],
) -> Callable[[Scene, Trouble], AbstractContextManager[None]]:
    @contextmanager
    def trouble_on_the_way(scene: Scene, trouble: Trouble) -> Iterator[None]:
        for caller in trouble.callers:
            break_it(scene.proxies[caller], trouble.agents)
        try:
            yield
        finally:
            for caller in trouble.callers:
                scene.proxies[caller].restore(trouble.agents)

    return trouble_on_the_way


@contextmanager
def _full(scene: Scene, trouble: Trouble) -> Iterator[None]:
    for name in trouble.agents:
        _fill(scene, name, True)
    try:
        yield
    finally:
        for name in trouble.agents:
            _fill(scene, name, False)


def _fill(scene: Scene, name: str, full: bool) -> None:
    """The disk under the log; or, where none could be mounted, the process's own limit on files."""
    if scene.disks[name].mounted:
        scene.disks[name].set_full(full)
        return
    pid = scene.agents[name].pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 if full else hard, hard))


KINDS = {
    "killed": _killed,
    "stopped": _stopped,
    "held up": _network(Proxy.hold),
    "cut off": _network(Proxy.cut),
    "slow": _slow,
    # Inside TLS what comes twice is an alert, and the end of the connection.
    "doubled": _network(Proxy.double),
    "mirrored": _network(Proxy.mirror),
    "full disk": _full,
    "restored": _restored,
    "another root": _another_root,
}
NETWORK = ("held up", "cut off", "slow", "doubled", "mirrored")
HARMLESS = ("slow", "mirrored")
"""What an agent is well in spite of."""
STORMS = ("killed", "stopped", "held up", "cut off", "doubled", "full disk")
"""What befalls several at once: of agents that were restored together, each finds the others agree with it."""
