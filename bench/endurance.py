"""A million different tokens through the same agents: is what an agent holds and spends per token flat?

A shared machine's CPU seconds drift by more than what is asked about. So the first and the last window of different
tokens each stand between two runs over one token, and what is compared is the quotient: a window's CPU per operation
over that of its neighbours, where agents have nothing to hold or to forget.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import repeat

from bench import forge
from bench.fleet import Fleet
from evanesce import AsyncClient, Token

IN_FLIGHT = 64
MESSAGE = bytes(64)
WINDOW = 100_000


class _Course:
    """One client's way through the tokens."""

    def __init__(self, fleet: Fleet, client: AsyncClient, progress: Callable[[int], None]) -> None:
        self.fleet = fleet
        self.client = client
        self.progress = progress
        self.done = 0

    async def run(self, tokens: Iterator[bytes], count: int, *, counted: bool = True) -> float:
        """`count` operations; the agents' CPU per operation, all five together, in µs."""
        before = self.fleet.cpu_seconds()
        left = count

        async def worker() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                token = Token.decode(next(tokens), trust_token=True)
                await self.client.mac(token, MESSAGE, forge.MATERIAL_SUITE)
                if counted:
                    self.done += 1
                    if self.done % 10_000 == 0:
                        self.progress(self.done)

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
        return (self.fleet.cpu_seconds() - before) / count * 1e6

    async def window(self, tokens: Iterator[bytes], one: bytes, count: int) -> tuple[float, float]:
        """A window's CPU per operation, and that of its neighbours."""
        before = await self.run(repeat(one), count // 2, counted=False)
        within = await self.run(tokens, count)
        after = await self.run(repeat(one), count // 2, counted=False)
        return within, (before + after) / 2

    def memory_mib(self) -> float:
        """The largest agent's."""
        return max(agent.resident_bytes() for agent in self.fleet.agents) / 2**20


async def _through(fleet: Fleet, count: int, progress: Callable[[int], None]) -> dict[str, float]:
    window = min(WINDOW, count // 2)
    tokens = forge.tokens(fleet.agents, 3, count)
    one = next(forge.tokens(fleet.agents, 3, 1))
    async with AsyncClient(fleet.home, deadline=30.0) as client:
        course = _Course(fleet, client, progress)
        first, beside_first = await course.window(tokens, one, window)
        memory_first = course.memory_mib()
        if between := count - 2 * window:
            await course.run(tokens, between)
        last, beside_last = await course.window(tokens, one, window)
        memory_last = course.memory_mib()
    return {
        "tokens": count,
        "window": window,
        "cpu_us_first": first,
        "cpu_us_last": last,
        "cpu_us_beside_first": beside_first,
        "cpu_us_beside_last": beside_last,
        "cpu_change_percent": abs(last / beside_last / (first / beside_first) - 1) * 100,
        "memory_first_mib": memory_first,
        "memory_last_mib": memory_last,
    }


def measure(fleet: Fleet, count: int, progress: Callable[[int], None]) -> dict[str, float]:
    """The agents' CPU per operation in the first and in the last window, and the largest agent's memory after each."""
    return asyncio.run(_through(fleet, count, progress))
