"""The asynchronous client: one call into the core per turn of the loop, one per wake-up, whatever is in
flight."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evanesce import AsyncClient, Client, EvanesceError, Signature, aio
from evanesce._core import CoreError
from evanesce.errors import error


class FakeCore:
    """Stands in for the core's reconstructor: answers when told to."""

    def __init__(self) -> None:
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.submitted: list[list[Any]] = []
        self.finished: list[tuple[int, Any]] = []
        self.answered: set[int] = set()
        self.drains = 0
        self.automatic = True

    def fileno(self) -> int:
        return self.event

    def submit(self, operations: Sequence[Any]) -> None:
        self.submitted.append([(ticket, operation.jobs, operation.limit) for ticket, operation in operations])
        if self.automatic:
            self.answer()

    def answer(self) -> None:
        for batch in self.submitted:
            for ticket, jobs, _ in batch:
                if ticket not in self.answered:
                    outputs = [b"signed " + job[2] for job in jobs]
                    self.finish(ticket, SimpleNamespace(outputs=outputs, receipts=[], faults=[], salts=[]))

    def finish(self, ticket: int, result: Any) -> None:
        self.answered.add(ticket)
        self.finished.append((ticket, result))
        os.eventfd_write(self.event, 1)

    def drain(self) -> list[tuple[int, Any]]:
        os.eventfd_read(self.event)
        self.drains += 1
        finished, self.finished = self.finished, []
        return finished


class FakeOperation:
    """Stands in for the core's operation: copies, and refuses what is no buffer."""

    def __init__(self, _: object, jobs: Sequence[Any], limit: int | None, settled: Any = None) -> None:
        self.jobs = [
            (suite, action, bytes(memoryview(first)), bytes(memoryview(second)), length)
            for suite, action, first, second, length in jobs
        ]
        self.limit, self.settled = limit, settled


def refusal(code: str, *faults: tuple[str | None, str, str, str, str]) -> CoreError:
    made = CoreError(code)
    made.code, made.message, made.hint, made.faults = code, "no", "ask", list(faults)
    return made


class FakeConnection:
    def __init__(self, *_: object) -> None:
        self.core = FakeCore()
        self.agents = ()
        self.reopened = 0

    def reopen(self) -> None:
        self.reopened += 1
        self.core = FakeCore()


TOKEN: Any = SimpleNamespace(
    core="token",
    suites=("ed25519",),
    suite_for=lambda _: "ed25519",
    require=lambda _: None,
    require_pinned=lambda *_: None,
)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncClient:
    monkeypatch.setattr(aio, "Connection", FakeConnection)
    monkeypatch.setattr(aio, "connect", FakeConnection)
    monkeypatch.setattr(aio._core, "Operation", FakeOperation)
    return AsyncClient(tmp_path)


def core(client: AsyncClient) -> FakeCore:
    assert client._connection is not None
    fake: Any = client._connection.core
    assert isinstance(fake, FakeCore)
    return fake


def test_what_is_asked_in_one_turn_crosses_at_once(client: AsyncClient) -> None:
    async def story() -> list[Signature]:
        return await asyncio.gather(*(client.sign(TOKEN, b"%d" % n) for n in range(64)))

    signatures = asyncio.run(story())
    assert [signature.value for signature in signatures] == [b"signed %d" % n for n in range(64)]
    assert [len(batch) for batch in core(client).submitted] == [64]
    assert core(client).drains == 1


def test_workers_keep_crossing_together(client: AsyncClient) -> None:
    async def worker() -> None:
        for _ in range(10):
            await client.sign(TOKEN, b"m")

    async def story() -> None:
        await asyncio.gather(*(worker() for _ in range(16)))

    asyncio.run(story())
    assert [len(batch) for batch in core(client).submitted] == [16] * 10


@pytest.mark.parametrize(
    "ask",
    [
        lambda client, buffer: client.sign(TOKEN, buffer),
        lambda client, buffer: client.sign_many(TOKEN, [buffer, b"fixed"]),
        lambda client, buffer: client.sign_many(TOKEN, [b"fixed", buffer]),
        lambda client, buffer: client.sign_hybrid(TOKEN, buffer, ("ed25519", "ml-dsa-65")),
        lambda client, buffer: client.mac(TOKEN, buffer),
        lambda client, buffer: client.verify_mac(TOKEN, b"fixed", buffer),
        lambda client, buffer: client.encrypt(TOKEN, buffer),
        lambda client, buffer: client.encrypt(TOKEN, b"fixed", buffer),
        lambda client, buffer: client.decrypt(TOKEN, buffer),
        lambda client, buffer: client.decrypt(TOKEN, b"fixed", buffer),
        lambda client, buffer: client.derive(TOKEN, buffer),
        lambda client, buffer: client.agree(TOKEN, buffer),
        lambda client, buffer: client.decapsulate(TOKEN, buffer),
    ],
)
def test_a_changing_buffer_is_taken_at_once(client: AsyncClient, ask: Callable[[AsyncClient, bytearray], Any]) -> None:
    async def story() -> None:
        buffer = bytearray(b"before")
        future = ask(client, buffer)
        buffer[:] = b"after!"
        await future

    asyncio.run(story())
    ((((_, jobs, _),),)) = core(client).submitted
    taken = [part for job in jobs for part in job[2:4]]
    assert b"before" in taken
    assert b"after!" not in taken


def test_a_wrong_argument_is_an_error_of_that_call_alone(client: AsyncClient) -> None:
    wrong: Any = "text"

    async def story() -> bytes:
        good = client.sign(TOKEN, b"good")
        with pytest.raises(TypeError):
            client.sign(TOKEN, wrong)
        with pytest.raises(TypeError):
            client.sign_many(TOKEN, [b"good", wrong])
        with pytest.raises(TypeError):
            client.encrypt(TOKEN, b"good", wrong)
        return (await good).value

    assert asyncio.run(story()) == b"signed good"
    assert [len(batch) for batch in core(client).submitted] == [1]
    assert not client._pending


def test_many_tokens_cross_at_once_and_each_has_its_own_answer(client: AsyncClient) -> None:
    def unfit(_: object) -> str:
        raise error("unfit-operation", "this token signs nothing")

    other: Any = SimpleNamespace(core="other", suites=("hmac-sha256",), suite_for=unfit, require=lambda _: None)

    async def story() -> None:
        fake = core(client)
        fake.automatic = False
        pending = client.sign_each([(TOKEN, b"1"), (other, b"2"), (TOKEN, b"3"), (TOKEN, b"4")], deadline=0.5)
        await asyncio.sleep(0)
        (batch,) = fake.submitted
        assert [limit for _, _, limit in batch] == [500] * 3
        fake.finish(batch[1][0], refusal("refused", ("a", "agent-1", "ab", "refused", "policy")))
        fake.answer()
        one, two, three, four = await pending
        assert isinstance(one, Signature)
        assert isinstance(four, Signature)
        assert (one.value, four.value) == (b"signed 1", b"signed 4")
        assert isinstance(two, EvanesceError)
        assert two.code == "unfit-operation"
        assert isinstance(three, EvanesceError)
        assert (three.code, three.culprits[0].holder) == ("refused", "agent-1")
        assert await client.mac_each([]) == []

    asyncio.run(story())


def test_one_wrong_argument_of_many_asks_for_nothing(client: AsyncClient) -> None:
    wrong: Any = "text"

    async def story() -> None:
        with pytest.raises(TypeError):
            client.sign_each([(TOKEN, b"1"), (TOKEN, wrong)])
        await asyncio.sleep(0)

    asyncio.run(story())
    assert core(client).submitted == []
    assert not client._pending


def test_cancelling_many_abandons_each(client: AsyncClient) -> None:
    async def story() -> None:
        fake = core(client)
        fake.automatic = False
        pending = client.sign_each([(TOKEN, b"1"), (TOKEN, b"2")])
        await asyncio.sleep(0)
        pending.cancel()
        fake.answer()
        with pytest.raises(asyncio.CancelledError):
            await pending
        assert (await asyncio.gather(client.sign(TOKEN, b"3"), asyncio.to_thread(fake.answer)))[0].value == b"signed 3"
        assert not client._pending

    asyncio.run(story())


def test_errors_reach_the_one_who_asked(client: AsyncClient) -> None:
    async def story() -> None:
        fake = core(client)
        fake.automatic = False
        good, bad = client.sign(TOKEN, b"1"), client.sign(TOKEN, b"2")
        await asyncio.sleep(0)
        (batch,) = fake.submitted
        fake.finish(batch[1][0], refusal("refused", ("a", "agent-1", "ab", "refused", "policy")))
        fake.finish(batch[0][0], SimpleNamespace(outputs=[b"x"], receipts=[], faults=[], salts=[]))
        assert (await good).value == b"x"
        with pytest.raises(EvanesceError) as caught:
            await bad
        assert caught.value.code == "refused"
        assert caught.value.culprits[0].holder == "agent-1"

    asyncio.run(story())


def test_a_result_that_cannot_be_read_loses_no_other(client: AsyncClient) -> None:
    async def story() -> None:
        fake = core(client)
        fake.automatic = False
        broken, good = client.sign(TOKEN, b"1"), client.sign(TOKEN, b"2")
        await asyncio.sleep(0)
        (batch,) = fake.submitted
        fake.finish(batch[0][0], object())
        fake.answer()
        assert (await good).value == b"signed 2"
        with pytest.raises(AttributeError):
            await broken

    asyncio.run(story())


def test_a_cancelled_operation_harms_no_other(client: AsyncClient) -> None:
    async def story() -> None:
        fake = core(client)
        fake.automatic = False
        kept, cancelled = client.sign(TOKEN, b"1"), client.sign(TOKEN, b"2")
        await asyncio.sleep(0)
        cancelled.cancel()
        fake.answer()
        assert (await kept).value == b"signed 1"
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert not client._pending

    asyncio.run(story())


def test_a_core_that_cannot_take_it_fails_all_of_the_batch(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise refusal("overloaded")

    monkeypatch.setattr(core(client), "submit", refuse)

    async def story() -> None:
        results = await asyncio.gather(client.sign(TOKEN, b"1"), client.sign(TOKEN, b"2"), return_exceptions=True)
        assert [getattr(result, "code", None) for result in results] == ["overloaded", "overloaded"]

    asyncio.run(story())


def test_closing_fails_what_is_pending(client: AsyncClient) -> None:
    async def story() -> None:
        async with client:
            core(client).automatic = False
            future = client.sign(TOKEN, b"1")
            await asyncio.sleep(0)
        with pytest.raises(EvanesceError) as caught:
            await future
        assert caught.value.code == "closed"
        with pytest.raises(EvanesceError):
            client.sign(TOKEN, b"2")

    asyncio.run(story())


def test_one_loop_after_another(client: AsyncClient) -> None:
    async def story() -> bytes:
        return (await client.sign(TOKEN, b"m")).value

    assert asyncio.run(story()) == asyncio.run(story()) == b"signed m"


def test_two_loops_at_once_are_refused(client: AsyncClient) -> None:
    async def other() -> None:
        with pytest.raises(EvanesceError, match="another event loop"):
            client.sign(TOKEN, b"m")

    async def story() -> None:
        core(client).automatic = False
        client.sign(TOKEN, b"m")
        await asyncio.to_thread(asyncio.run, other())

    asyncio.run(story())


def test_a_forked_child_begins_anew(client: AsyncClient) -> None:
    async def story() -> bytes:
        return (await client.sign(TOKEN, b"m")).value

    asyncio.run(story())
    before = client._connection
    assert isinstance(before, FakeConnection)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if asyncio.run(story()) == b"signed m" and before.reopened == 1 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert before.reopened == 0
    assert asyncio.run(story()) == b"signed m"


def test_deadlines_are_in_seconds(client: AsyncClient) -> None:
    async def story() -> None:
        await client.sign(TOKEN, b"m", deadline=0.25)
        with pytest.raises(EvanesceError, match="makes no sense"):
            client.sign(TOKEN, b"m", deadline=0)

    asyncio.run(story())
    assert core(client).submitted[0][0][2] == 250


def test_both_clients_have_the_same_verbs_with_the_same_arguments() -> None:
    def verbs(client: type) -> dict[str, list[inspect.Parameter]]:
        functions = inspect.getmembers(client, inspect.isfunction)
        return {name: list(inspect.signature(verb).parameters.values()) for name, verb in functions if name[0] != "_"}

    assert verbs(AsyncClient) == verbs(Client)

    def properties(client: type) -> list[str]:
        return [name for name, _ in inspect.getmembers(client, lambda member: isinstance(member, property))]

    assert properties(AsyncClient) == properties(Client)
