"""Hundreds of signatures in flight on one event loop, and many messages under one opening."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from evanesce import AsyncClient, Token, verify
from evanesce.testbed import EmbeddedQuorum

IN_FLIGHT = 64
SIGNATURES = 2000


async def work(client: AsyncClient) -> None:
    token = await client.create("orders", ["ed25519"])
    await client.sign(token, b"warm up: connect and open sessions")

    begin = time.perf_counter()
    numbers = iter(range(SIGNATURES))

    async def worker() -> None:
        for number in numbers:
            await client.sign(token, b"order %d" % number)

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    took = time.perf_counter() - begin
    print(f"{SIGNATURES} signatures, {IN_FLIGHT} in flight: {SIGNATURES / took:.0f} a second")

    await batch(client, token)


async def batch(client: AsyncClient, token: Token) -> None:
    messages = [b"line %d" % number for number in range(400)]
    begin = time.perf_counter()
    signatures = await client.sign_many(token, messages)
    took = time.perf_counter() - begin
    for message, signature in zip(messages, signatures, strict=True):
        verify(token, message, signature)
    print(f"{len(messages)} messages under one opening: {len(messages) / took:.0f} a second")


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with EmbeddedQuorum(folder / "agents", [f"agent-{n}" for n in range(1, 6)]) as quorum:
            home = quorum.admit("me", folder / "home")
            quorum.start()
            async with AsyncClient(home) as client:
                await work(client)


if __name__ == "__main__":
    asyncio.run(main())
