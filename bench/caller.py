"""The caller's side, in a process of its own: `python -m bench.caller HOME TOKEN WHAT …` prints one JSON line."""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import sys
import time
from pathlib import Path

from evanesce import AsyncClient, Client, Token

MESSAGE = bytes(64)


async def rate(client: AsyncClient, token: Token, suite: str, in_flight: int, seconds: float) -> dict[str, float]:
    """Operations per second with this many always in flight, after a second of warming up."""
    operate = client.sign if suite == "ed25519" else client.mac
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


def latency(client: Client, token: Token, suite: str, count: int) -> dict[str, float]:
    """Milliseconds of `count` operations one at a time, after a tenth as many to warm up."""
    operate = client.sign if suite == "ed25519" else client.mac
    for _ in range(max(count // 10, 5)):
        operate(token, MESSAGE, suite)
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        operate(token, MESSAGE, suite)
        times.append((time.perf_counter() - begin) * 1e3)
    times.sort()
    return {"p50_ms": statistics.median(times), "p99_ms": times[int(len(times) * 0.99)]}


async def at_once(home: str, token: Token, suite: str, in_flight: int, seconds: float) -> dict[str, float]:
    """The rate through an `AsyncClient`."""
    async with AsyncClient(home, deadline=10.0) as client:
        return await rate(client, token, suite, in_flight, seconds)


def main() -> None:
    """See the module. Many at once go through the asynchronous client, one at a time through the plain one."""
    home, token_path, what, suite, *rest = sys.argv[1:]
    token = Token.load(Path(token_path), trust_token=True)
    if what == "rate":
        result = asyncio.run(at_once(home, token, suite, int(rest[0]), float(rest[1])))
    else:
        with Client(home, deadline=10.0) as client:
            result = latency(client, token, suite, int(rest[0]))
    result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()
