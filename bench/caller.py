"""The caller's side, in a process of its own: `python -m bench.caller HOME KEY WHAT SUITE …` prints one JSON line.

KEY is a token's file or a reference (`hsm:…`). WHAT is `rate` (how many in flight, seconds), `latency` (how many
operations) or `batches` (messages of one call, seconds).
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evanesce import AsyncClient, Client, Token, suites
from evanesce.compare import timing

MESSAGE = bytes(64)
SECRET = bytes(32)
"""What is opened: a key's worth."""
DEADLINE = 10.0

Use = Callable[[Any], Any]
"""One operation, by a `Client` or an `AsyncClient`."""


def run(home: Path, key: Path | str, *what: str) -> dict[str, float]:
    """One run of the process."""
    command = [sys.executable, "-m", "bench.caller", str(home), str(key), *what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the caller failed: {done.stderr[-3000:]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def use_of(client: Client, key: Token | str, suite: str) -> Use:
    """What this suite is there for: a signature, a MAC, or opening what was sealed."""
    known = (suites.ALL | suites.THRESHOLD)[suite]
    if known.offers("sign"):
        return lambda by: by.sign(key, MESSAGE, suite)
    if known.offers("mac"):
        return lambda by: by.mac(key, MESSAGE, suite)
    sealed = client.encrypt(key, SECRET, b"", suite)
    return lambda by: by.decrypt(key, sealed, b"", suite)


async def at_once(home: str, use: Use, in_flight: int, seconds: float) -> dict[str, float]:
    """Operations per second with this many always in flight, through an `AsyncClient`."""
    async with AsyncClient(home, deadline=DEADLINE) as client:
        rate, cpu = await timing.rate(lambda: use(client), seconds, in_flight)
    return {"rate": rate, "caller_cpu_us": cpu}


def latency(client: Client, use: Use, count: int) -> dict[str, float]:
    """Milliseconds of `count` operations one at a time."""
    p50, p99 = timing.one_at_a_time(lambda: use(client), count)
    return {"p50_ms": p50, "p99_ms": p99}


def batches(client: Client, key: Token | str, suite: str, size: int, seconds: float) -> dict[str, float]:
    """MACs per second, so many in a call, one call after the other."""
    messages = [MESSAGE] * size
    for stretch in (seconds / 5, seconds):
        rate = timing.rate_of(lambda: client.mac_many(key, messages, suite), stretch) * size
    return {"rate": rate}


def main() -> None:
    """See the module. Many at once go through the asynchronous client, one at a time through the plain one."""
    home, named, what, suite, *rest = sys.argv[1:]
    key = named if ":" in named else Token.load(Path(named), trust_token=True)
    with Client(home, deadline=DEADLINE) as client:
        if what == "batches":
            result = batches(client, key, suite, int(rest[0]), float(rest[1]))
        else:
            use = use_of(client, key, suite)
            if what == "latency":
                result = latency(client, use, int(rest[0]))
            else:
                result = asyncio.run(at_once(home, use, int(rest[0]), float(rest[1])))
    result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()
