"""Timing operations: one at a time, and many in flight."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable

IN_FLIGHT = 64


def one_at_a_time(operate: Callable[[], object], samples: int) -> tuple[float, float]:
    """(p50, p99) in ms of so many operations, after a tenth as many (5 at least) to warm up."""
    for _ in range(max(samples // 10, 5)):
        operate()
    times = []
    for _ in range(samples):
        begin = time.perf_counter()
        operate()
        times.append((time.perf_counter() - begin) * 1e3)
    return quantiles(times)


def quantiles(times: Iterable[float]) -> tuple[float, float]:
    """(p50, p99)."""
    ascending = sorted(times)
    return statistics.median(ascending), ascending[min(int(len(ascending) * 0.99), len(ascending) - 1)]


async def rate(
    operate: Callable[[], Awaitable[object]], seconds: float, in_flight: int = IN_FLIGHT
) -> tuple[float, float]:
    """(operations a second, µs of this process's CPU for each) with this many always in flight, after a fifth of the
    time to warm up."""
    done = 0
    end = cpu = 0.0

    async def worker() -> None:
        nonlocal done
        # Once at least, however long the machine has stood still meanwhile.
        while True:
            await operate()
            done += 1
            if time.perf_counter() >= end:
                break

    for stretch in (seconds / 5, seconds):
        done = 0
        cpu = time.process_time()
        begin = time.perf_counter()
        end = begin + stretch
        await asyncio.gather(*(worker() for _ in range(in_flight)))
    return done / (time.perf_counter() - begin), (time.process_time() - cpu) / done * 1e6


def rate_of(operate: Callable[[], object], seconds: float) -> float:
    """Operations a second, one after another from one thread."""
    done = 0
    begin = time.perf_counter()
    while True:
        operate()
        done += 1
        if (took := time.perf_counter() - begin) >= seconds:
            return done / took
