"""A million different tokens through the same agents: is what an agent holds and spends per token flat?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bench import forge
from bench.fleet import Fleet
from evanesce import AsyncClient, Token

IN_FLIGHT = 64
MESSAGE = bytes(64)
WINDOW = 100_000


async def _through(fleet: Fleet, count: int, progress: Callable[[int], None]) -> dict[str, float]:
    window = min(WINDOW, count // 2)
    source = forge.tokens(fleet.agents, 3, count)
    started = finished = 0
    marks: dict[int, tuple[float, float]] = {}

    def mark() -> None:
        if finished in (0, window, count - window, count):
            memory = max(agent.resident_bytes() for agent in fleet.agents)
            marks[finished] = (fleet.cpu_seconds(), memory)
        if finished % 10_000 == 0:
            progress(finished)

    async with AsyncClient(fleet.home, deadline=30.0) as client:

        async def worker() -> None:
            nonlocal started, finished
            while started < count:
                started += 1
                await client.mac(Token.decode(next(source), trust_token=True), MESSAGE, forge.MATERIAL_SUITE)
                finished += 1
                mark()

        mark()
        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    first = (marks[window][0] - marks[0][0]) / window
    last = (marks[count][0] - marks[count - window][0]) / window
    return {
        "tokens": count,
        "window": window,
        "cpu_us_first": first * 1e6,
        "cpu_us_last": last * 1e6,
        "memory_first_mib": marks[window][1] / 2**20,
        "memory_last_mib": marks[count][1] / 2**20,
    }


def measure(fleet: Fleet, count: int, progress: Callable[[int], None]) -> dict[str, float]:
    """Agents' CPU per operation (all five, µs) in the first and in the last window, and the largest agent's memory."""
    return asyncio.run(_through(fleet, count, progress))
