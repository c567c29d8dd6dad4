"""The caller's side, in a process of its own: `python -m bench.caller HOME TOKEN WHAT …` prints one JSON line."""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import sys
import time
from pathlib import Path

from evanesce import AsyncClient, Token

MESSAGE = bytes(64)


def verb(client: AsyncClient, suite: str):
    """The operation that `suite` is measured by."""
    return client.sign if suite == "ed25519" else client.mac


async def rate(client: AsyncClient, token: Token, suite: str, in_flight: int, seconds: float) -> dict[str, float]:
    """Operations per second with this many always in flight, after a second of warming up."""
    operate = verb(client, suite)
    done = 0
    end = time.perf_counter() + 1

    async def worker() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await operate(token, MESSAGE, suite)
            done += 1

    await asyncio.gather(*(worker() for _ in range(in_flight)))
    done = 0
    begin = time.perf_counter()
    end = begin + seconds
    cpu = time.process_time()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    took = time.perf_counter() - begin
    return {
        "rate": done / took,
        "caller_cpu_us": (time.process_time() - cpu) / done * 1e6,
        "operations": done,
    }


async def latency(client: AsyncClient, token: Token, suite: str, count: int) -> dict[str, float]:
    """Milliseconds of `count` operations one at a time, after a tenth as many to warm up."""
    operate = verb(client, suite)
    for _ in range(max(count // 10, 5)):
        await operate(token, MESSAGE, suite)
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        await operate(token, MESSAGE, suite)
        times.append((time.perf_counter() - begin) * 1e3)
    times.sort()
    return {"p50_ms": statistics.median(times), "p99_ms": times[int(len(times) * 0.99)]}


async def main() -> None:
    """See the module."""
    home, token_path, what, suite, *rest = sys.argv[1:]
    token = Token.load(Path(token_path), trust_token=True)
    async with AsyncClient(home, deadline=10.0) as client:
        if what == "rate":
            result = await rate(client, token, suite, int(rest[0]), float(rest[1]))
        else:
            result = await latency(client, token, suite, int(rest[0]))
    result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


if __name__ == "__main__":
    asyncio.run(main())
