"""A million different tokens through the same agents: is what an agent holds and spends per token flat?

A shared machine's CPU seconds drift by more than what is asked about within the minutes that this takes. So the last
tokens of the aged agents alternate with the first tokens of agents that have just started, and these two are
compared: the same work at the same time, a million tokens apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from bench import forge
from bench.fleet import Fleet
from evanesce import AsyncClient, Token

IN_FLIGHT = 64
MESSAGE = bytes(64)
WINDOW = 100_000
TURNS = 4
"""The compared windows are taken in so many turns, so that drift meets both alike."""


class _Course:
    """One caller's way through the tokens of one fleet."""

    def __init__(self, fleet: Fleet, client: AsyncClient, count: int, progress: Callable[[int], None]) -> None:
        self._fleet = fleet
        self._client = client
        self._tokens = forge.tokens(fleet.agents, 3, count)
        self._progress = progress
        self._done = 0

    async def run(self, count: int) -> float:
        """The next `count` tokens, an operation each; the agents' CPU seconds, all five together."""
        before = self._fleet.cpu_seconds()
        left = count

        async def worker() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                token = Token.decode(next(self._tokens), trust_token=True)
                await self._client.mac(token, MESSAGE, forge.MATERIAL_SUITE)
                self._done += 1
                self._progress(self._done)

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
        return self._fleet.cpu_seconds() - before

    def memory_mib(self) -> float:
        """The largest agent's."""
        return max(agent.resident_bytes() for agent in self._fleet.agents) / 2**20


async def _through(fleet: Fleet, other: Fleet, count: int, progress: Callable[[int], None]) -> dict[str, float]:
    window = min(WINDOW, count // 2) // TURNS * TURNS
    async with AsyncExitStack() as stack:
        client, fresh_client = [
            await stack.enter_async_context(AsyncClient(each.home, deadline=30.0)) for each in (fleet, other)
        ]
        aged = _Course(fleet, client, count, progress)
        fresh = _Course(other, fresh_client, window, lambda _: None)
        first = await aged.run(window)
        memory_first = aged.memory_mib()
        await aged.run(count - 2 * window)
        last = beside = 0.0
        for _ in range(TURNS):
            last += await aged.run(window // TURNS)
            beside += await fresh.run(window // TURNS)
        memory_last = aged.memory_mib()
    return {
        "tokens": count,
        "window": window,
        "cpu_us_first": first / window * 1e6,
        "cpu_us_last": last / window * 1e6,
        "cpu_us_fresh_beside_last": beside / window * 1e6,
        "memory_first_mib": memory_first,
        "memory_last_mib": memory_last,
    }


def measure(fleet: Fleet, fresh: Fleet, count: int, progress: Callable[[int], None]) -> dict[str, float]:
    """The agents' CPU per operation (all five, µs) in the first window, in the last, and of fresh agents beside the
    last; the largest agent's memory after the first and the last."""
    return asyncio.run(_through(fleet, fresh, count, progress))
