"""Which agents were well, for which caller, at which time: what an operation can be judged by afterwards."""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Iterable


class Health:
    """Of several agents as several callers see them. Threads may share it."""

    def __init__(self, callers: Iterable[str], agents: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._all = frozenset(agents)
        self._troubles: dict[tuple[str, str], int] = {}
        now = time.monotonic()
        self._times: dict[str, list[float]] = {caller: [now] for caller in callers}
        self._well: dict[str, list[frozenset[str]]] = {caller: [self._all] for caller in self._times}

    @property
    def callers(self) -> tuple[str, ...]:
        return tuple(self._times)

    def falls(self, agents: Iterable[str], callers: Iterable[str]) -> None:
        """One more thing is wrong with these. Say so before it is."""
        self._change(agents, callers, 1)

    def rises(self, agents: Iterable[str], callers: Iterable[str]) -> None:
        """One thing less is. Say so when it is over."""
        self._change(agents, callers, -1)

    def _change(self, agents: Iterable[str], callers: Iterable[str], by: int) -> None:
        with self._lock:
            agents = list(agents)
            for caller in callers:
                for agent in agents:
                    self._troubles[caller, agent] = self._troubles.get((caller, agent), 0) + by
                well = frozenset(agent for agent in self._all if not self._troubles.get((caller, agent)))
                self._times[caller].append(time.monotonic())
                self._well[caller].append(well)

    def during(self, caller: str, begin: float, end: float) -> list[frozenset[str]]:
        """The sets of agents that were well, one after the other, from one moment to another."""
        with self._lock:
            times = self._times[caller]
            first = max(bisect.bisect_right(times, begin) - 1, 0)
            return self._well[caller][first : bisect.bisect_right(times, end)]

    def well_for_all(self) -> frozenset[str]:
        """Agents that are well for every caller now."""
        with self._lock:
            return frozenset.intersection(*(sets[-1] for sets in self._well.values()))
