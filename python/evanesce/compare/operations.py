"""What is measured of any quorum of agents, embedded or one's own: how long operations take, and a change of
algorithm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from evanesce import AsyncClient, Client, EvanesceError, Token, suites, verify
from evanesce._distance import Proxy
from evanesce.compare import timing
from evanesce.compare.results import Agility, Latency, Switch, Timing
from evanesce.compare.subject import Sandbox, must
from evanesce.home import Agent

MESSAGE = bytes(64)
MEASURED = ("ed25519", "ecdsa-p256", "ml-dsa-65", "hmac-sha256", "xaes-256-gcm")
OF_CLASS = {"signature": "ed25519", "mac": "hmac-sha256", "cipher": "xaes-256-gcm"}
FAR_SAMPLES = 30
DEADLINE = 10.0


def latency(
    sandbox: Sandbox,
    home: Path,
    agents: Sequence[Agent],
    tokens: Mapping[str, Token],
    arrangement: str,
    of_class: Mapping[str, str] = OF_CLASS,
) -> Latency:
    """Of each suite, by a token that has it, and by the caller of `home`: one at a time, many at once, and across a
    distance if that was asked for. `of_class` says which stand for a class."""
    model = next(iter(tokens.values())).model
    timings: dict[str, Timing] = {}
    with Client(home, agents=agents, deadline=DEADLINE) as client:
        for suite, token in tokens.items():
            sandbox.say(f"{model}: {suite}, {sandbox.samples} one at a time")
            operation, operate = _operation(client, token, suite)
            p50, p99 = timing.one_at_a_time(operate, sandbox.samples)
            timings[suite] = Timing(suite, operation, p50, p99, sandbox.samples)
    for suite, token in tokens.items():
        sandbox.say(f"{model}: {suite}, {timing.IN_FLIGHT} in flight")
        rate = asyncio.run(_rate(sandbox, home, agents, token, suite))
        timings[suite] = replace(timings[suite], rate=rate, in_flight=timing.IN_FLIGHT)
    if sandbox.round_trip_ms is not None:
        sandbox.say(f"{model}: across {sandbox.round_trip_ms:g} ms")
        with Proxy({agent.name: agent.address for agent in agents}, sandbox.round_trip_ms) as proxy:
            far = [replace(agent, address=proxy.addresses[agent.name]) for agent in agents]
            with Client(home, agents=far, deadline=DEADLINE) as client:
                for suite, token in tokens.items():
                    p50, p99 = timing.one_at_a_time(_operation(client, token, suite)[1], FAR_SAMPLES)
                    timings[suite] = replace(timings[suite], p50_far_ms=p50, p99_far_ms=p99)
    return Latency(tuple(timings.values()), {name: timings[suite] for name, suite in of_class.items()}, arrangement)


def agility(home: Path, agents: Sequence[Agent], token: Token, mint: Callable[[str, list[str]], Token]) -> Agility:
    """From Ed25519 to a suite that the token lists, and to one that it does not; `mint` makes a key."""
    with Client(home, agents=agents, deadline=DEADLINE) as client:
        verify(token, MESSAGE, client.sign(token, MESSAGE, "ed25519"))
        begin = time.perf_counter()
        verify(token, MESSAGE, client.sign(token, MESSAGE, "ml-dsa-65"))
        listed = time.perf_counter() - begin
        begin = time.perf_counter()
        other = mint("evanesce-compare-later", ["ecdsa-p384"])
        verify(other, MESSAGE, client.sign(other, MESSAGE, "ecdsa-p384"))
        new = time.perf_counter() - begin
    how = "another suite name in the next call; the token lists it, the public key is in it"
    how_new = "not in the token: a new key by one command of a minter, and its token and public key handed out"
    seats = len({seat.holder_id for seat in other.seats})
    return Agility(
        (
            Switch("ed25519", "ml-dsa-65", how, 1, 0, 0, listed),
            Switch("ed25519", "ecdsa-p384", how_new, 2, seats, 0, new),
        )
    )


def other_suite(suite: str) -> str:
    """That of keys that are never put together which this one is not."""
    return next(other for other in suites.THRESHOLD if other != suite)


def agility_of_shares(home: Path, agents: Sequence[Agent], before: str, make: Callable[[str, str], Token]) -> Agility:
    """As `agility`, of a key that is never put together and has one suite, `before`; `make` makes another, by name and
    suite."""
    after = other_suite(before)
    begin = time.perf_counter()
    new = make("evanesce-compare-later", after)
    with Client(home, agents=agents, deadline=DEADLINE) as client:
        verify(new, MESSAGE, client.sign(new, MESSAGE))
    took = time.perf_counter() - begin
    lacking = ""
    try:
        make("evanesce-compare-never", "ml-dsa-65")
    except EvanesceError as e:
        lacking = e.message
    must(lacking != "", "there is an algorithm too many")
    how = "a new key by one command of a minter, made among its holders; its token and public key handed out"
    holders = len({seat.holder_id for seat in new.seats})
    return Agility(
        (
            Switch(before, after, how, 2, holders, 0, took),
            Switch(before, "ml-dsa-65", f"not with this protocol: {lacking}", 0, 0, 0, None),
        )
    )


async def _rate(sandbox: Sandbox, home: Path, agents: Sequence[Agent], token: Token, suite: str) -> float:
    async with AsyncClient(home, agents=agents, deadline=DEADLINE) as client:

        def operate() -> Awaitable[object]:
            if suite.startswith("hmac"):
                return client.mac(token, MESSAGE, suite)
            if suite.endswith("gcm"):
                return client.encrypt(token, MESSAGE, b"", suite)
            return client.sign(token, MESSAGE, suite)

        return (await timing.rate(operate, sandbox.seconds))[0]


def _operation(client: Client, token: Token, suite: str) -> tuple[str, Callable[[], object]]:
    if suite.startswith("hmac"):
        return "mac", lambda: client.mac(token, MESSAGE, suite)
    if suite.endswith("gcm"):
        return "encrypt", lambda: client.encrypt(token, MESSAGE, b"", suite)
    return "sign", lambda: client.sign(token, MESSAGE, suite)
