"""`AsyncClient`: many operations in flight on one event loop, at a few microseconds of Python each.

No thread is hopped and nothing is scheduled per operation. A verb copies its arguments into the core, or
raises what is wrong with them; what is asked for during one turn of the loop is submitted in one call at its
end; what has finished by the time the loop wakes is fetched in one call, and its futures are resolved there
and then. Verbs are plain functions that return futures: `await` them, or gather hundreds. Rare and slow verbs
(create, check, retire, status) run on a thread.

A client works on one loop at a time. It can be used from another (also in a forked child) once nothing is
pending.
"""

from __future__ import annotations

import asyncio
import functools
import os
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple, Unpack, cast

from typing_extensions import Buffer

from evanesce import _core, _plan
from evanesce._connect import Connection, connect, milliseconds
from evanesce._heal import Changes
from evanesce._mint import Model, Source, Terms, mint, threshold
from evanesce.approvals import OF_TOKEN, Approval, Request
from evanesce.custody import AnyKey, Custodian, Key
from evanesce.custody.aio import AsyncCustodian
from evanesce.custody.key import Done
from evanesce.errors import EvanesceError, error, translate
from evanesce.grant import Grant, More, RevokedAt
from evanesce.home import Agent, Home, Reconstructor
from evanesce.payload import Payload
from evanesce.results import (
    AgentStatus,
    Check,
    Ciphertext,
    Healed,
    Mac,
    Macs,
    OrderResult,
    Renewal,
    Retirement,
    Secret,
    Signature,
    Verified,
)
from evanesce.tokens import Token

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class AsyncClient:
    """`Client`, for asyncio: the same verbs, arguments, results and errors. Errors in the arguments are
    raised by the call, all others by awaiting it. Cancelling a future abandons its result; agents may
    have contributed already."""

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        identity: str | os.PathLike[str] | None = None,
        agents: str | os.PathLike[str] | Sequence[Agent] | None = None,
        deadline: float | None = None,
        verify_before_release: bool = False,
        grant: Grant | None = None,
    ) -> None:
        """As `Client`."""
        at = Home.at(home)
        self._connection: Connection | EvanesceError | None = connect(
            at, identity, agents, deadline, verify_before_release, grant
        )
        self._custodian = Custodian(at, self._open)
        self._loop: AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._descriptor = -1
        self._ticket = 0
        self._queue: list[tuple[int, _core.Operation]] = []
        self._pending: dict[int, tuple[Future[Any], Callable[[Any, _plan.Jobs], Any], _plan.Jobs]] = {}

    @property
    def caller_id(self) -> str:
        """As `Client.caller_id`."""
        return self._open().core.caller_id.hex()

    @property
    def agents(self) -> tuple[Agent, ...]:
        """As `Client.agents`."""
        return self._open().agents

    @property
    def custody(self) -> AsyncCustodian:
        """As `Client.custody`."""
        return AsyncCustodian(self._custodian)

    @property
    def reconstructor(self) -> Reconstructor | None:
        """As `Client.reconstructor`."""
        return self._open().reconstructor

    async def reconstructor_status(self) -> dict[str, Any]:
        """As `Client.reconstructor_status`."""
        return await asyncio.to_thread(self._open().serving)

    async def create(self, name: str, suites: Iterable[str], **terms: Unpack[Terms]) -> Token:
        """As `Client.create`."""
        connection = self._open()
        return await asyncio.to_thread(connection.mint, mint(connection.agents, name, suites, terms))

    async def create_threshold(
        self, name: str, suite: str, model: Model = "regen-mpc", **terms: Unpack[Terms]
    ) -> Token:
        """As `Client.create_threshold`."""
        connection = self._open()
        order = threshold(connection.agents, name, suite, model, terms)
        return await asyncio.to_thread(connection.create_threshold, order)

    async def refresh_shares(
        self,
        token: Token,
        path: str | os.PathLike[str],
        model: Model | None = None,
        *,
        force: bool = False,
        **changes: Unpack[Changes],
    ) -> Renewal:
        """As `Client.refresh_shares`."""
        return await asyncio.to_thread(self._open().refresh_shares_to, token, path, model, force, changes)

    async def import_key(self, name: str, suites: Iterable[str], source: Source, **terms: Unpack[Terms]) -> Token:
        """As `Client.import_key`."""
        connection = self._open()
        return await asyncio.to_thread(connection.mint, mint(connection.agents, name, suites, terms, source))

    def sign(
        self, key: AnyKey, message: Buffer, suite: str | None = None, *, deadline: float | None = None
    ) -> Future[Signature]:
        """As `Client.sign`."""
        return self._submit(key, deadline, _plan.sign, message, suite)

    def sign_payload(
        self, key: AnyKey, payload: Payload, suite: str | None = None, *, deadline: float | None = None
    ) -> Future[Signature]:
        """As `Client.sign_payload`."""
        return self._submit(key, deadline, _plan.sign_payload, payload, suite)

    def sign_many(
        self,
        key: AnyKey,
        messages: Iterable[Buffer],
        suite: str | None = None,
        *,
        deadline: float | None = None,
    ) -> Future[list[Signature]]:
        """As `Client.sign_many`."""
        return self._submit(key, deadline, _plan.sign_many, messages, suite)

    def sign_each(
        self, pairs: Iterable[tuple[AnyKey, Buffer]], suite: str | None = None, *, deadline: float | None = None
    ) -> Future[list[Signature | EvanesceError]]:
        """As `Client.sign_each`."""
        return self._submit_each(_plan.each(self._key, _plan.sign, pairs, suite), deadline)

    def sign_hybrid(
        self,
        key: AnyKey,
        message: Buffer,
        suites: Sequence[str] | None = None,
        *,
        deadline: float | None = None,
    ) -> Future[tuple[Signature, Signature]]:
        """As `Client.sign_hybrid`."""
        return self._submit(key, deadline, _plan.sign_hybrid, message, suites)

    def mac(
        self, key: AnyKey, message: Buffer, suite: str | None = None, *, deadline: float | None = None
    ) -> Future[Mac]:
        """As `Client.mac`."""
        return self._submit(key, deadline, _plan.mac, message, suite)

    def mac_many(
        self, key: AnyKey, messages: Iterable[Buffer], suite: str | None = None, *, deadline: float | None = None
    ) -> Future[Macs]:
        """As `Client.mac_many`."""
        held = self._key(key)
        if isinstance(held, Key):
            chosen = suite or held.suite_for("mac")
            # Copied here: the caller may change or wipe them next.
            copies = [bytes(message) for message in messages]
            return self._elsewhere(lambda: _macs(held, copies, chosen))
        return self._submit(held, deadline, _plan.mac_many, messages, suite)

    def mac_payload(
        self, key: AnyKey, payload: Payload, suite: str | None = None, *, deadline: float | None = None
    ) -> Future[Mac]:
        """As `Client.mac_payload`."""
        return self._submit(key, deadline, _plan.mac_payload, payload, suite)

    def mac_each(
        self, pairs: Iterable[tuple[AnyKey, Buffer]], suite: str | None = None, *, deadline: float | None = None
    ) -> Future[list[Mac | EvanesceError]]:
        """As `Client.mac_each`."""
        return self._submit_each(_plan.each(self._key, _plan.mac, pairs, suite), deadline)

    def verify_mac(
        self,
        key: AnyKey,
        message: Buffer,
        mac: Mac | Buffer,
        suite: str | None = None,
        *,
        trust_token: bool = False,
        deadline: float | None = None,
    ) -> Future[Verified]:
        """As `Client.verify_mac`."""
        return self._submit(key, deadline, _plan.verify_mac, message, mac, suite, trust_token)

    def encrypt(
        self,
        key: AnyKey,
        plaintext: Buffer,
        aad: Buffer = b"",
        suite: str | None = None,
        *,
        trust_token: bool = False,
        deadline: float | None = None,
    ) -> Future[Ciphertext]:
        """As `Client.encrypt`."""
        return self._submit(key, deadline, _plan.encrypt, plaintext, aad, suite, trust_token)

    def decrypt(
        self,
        key: AnyKey,
        ciphertext: Ciphertext | Buffer,
        aad: Buffer = b"",
        suite: str | None = None,
        *,
        deadline: float | None = None,
    ) -> Future[Secret]:
        """As `Client.decrypt`."""
        return self._submit(key, deadline, _plan.decrypt, ciphertext, aad, suite)

    def derive(
        self,
        key: AnyKey,
        context: Buffer,
        length: int = 32,
        suite: str | None = None,
        *,
        trust_token: bool = False,
        deadline: float | None = None,
    ) -> Future[Secret]:
        """As `Client.derive`."""
        return self._submit(key, deadline, _plan.derive, context, length, suite, trust_token)

    def agree(
        self,
        key: AnyKey,
        peer: Buffer,
        suite: str | None = None,
        *,
        trust_token: bool = False,
        deadline: float | None = None,
    ) -> Future[Secret]:
        """As `Client.agree`."""
        return self._submit(key, deadline, _plan.agree, peer, suite, trust_token)

    def decapsulate(
        self, key: AnyKey, ciphertext: Buffer, suite: str | None = None, *, deadline: float | None = None
    ) -> Future[Secret]:
        """As `Client.decapsulate`."""
        return self._submit(key, deadline, _plan.decapsulate, ciphertext, suite)

    def perform(
        self,
        request: Request,
        approvals: Iterable[Approval] = (),
        *,
        deadline: float | None = None,
        save: Callable[[Token], None] | None = None,
    ) -> Future[Signature | Mac | Secret | Check | Healed | Renewal | Retirement]:
        """As `Client.perform`."""
        if request.action in OF_TOKEN:
            return asyncio.ensure_future(asyncio.to_thread(self._open().planned, request, tuple(approvals), save))
        settled = ([approval.data for approval in approvals], [request.salt])
        return self._ask(request.token, request.plan(), deadline, settled)

    async def check(self, token: Token, *, open: bool = False) -> Check:
        """As `Client.check`."""
        return await asyncio.to_thread(self._open().check, token, open)

    async def refresh(self, token: Token, *, trust_token: bool = False) -> Healed:
        """As `Client.refresh`."""
        return await asyncio.to_thread(self._open().reshare, token, Changes(), trust_token)

    async def reshare(self, token: Token, *, trust_token: bool = False, **changes: Unpack[Changes]) -> Healed:
        """As `Client.reshare`."""
        return await asyncio.to_thread(self._open().reshare, token, changes, trust_token)

    async def repair(self, token: Token, seat: str, agent: str, *, even_if_it_sits: bool = False) -> Healed:
        """As `Client.repair`."""
        return await asyncio.to_thread(self._open().repair, token, seat, agent, even_if_it_sits)

    async def retire(self, token: Token) -> Retirement:
        """As `Client.retire`."""
        return await asyncio.to_thread(self._open().retire, token)

    async def revoke(self, token: Token, *versions: Token) -> OrderResult:
        """As `Client.revoke`."""
        return await asyncio.to_thread(self._open().order, "revoke", (token, *versions))

    async def freeze(self, token: Token, *versions: Token) -> OrderResult:
        """As `Client.freeze`."""
        return await asyncio.to_thread(self._open().order, "freeze", (token, *versions))

    async def thaw(self, token: Token, *versions: Token) -> OrderResult:
        """As `Client.thaw`."""
        return await asyncio.to_thread(self._open().order, "thaw", (token, *versions))

    async def grant(
        self, token: Token, delegate: str, actions: Iterable[str], expires: float, **more: Unpack[More]
    ) -> Grant:
        """As `Client.grant`."""
        return await asyncio.to_thread(self._open().grant, token, delegate, actions, expires, more)

    async def revoke_grant(self, grant: Grant) -> tuple[RevokedAt, ...]:
        """As `Client.revoke_grant`."""
        return await asyncio.to_thread(self._open().revoke_grant, grant)

    async def status(self) -> tuple[AgentStatus, ...]:
        """As `Client.status`."""
        return await asyncio.to_thread(self._open().status)

    def close(self) -> None:
        """Ends sessions and connections. What is pending fails with `closed`."""
        self._unwatch()
        self._connection = None
        self._abandon("this client has been closed")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Connection:
        if self._connection is None:
            raise error("closed", "this client has been closed", "Make another.")
        if isinstance(self._connection, EvanesceError):
            raise self._connection
        return self._connection

    # From here on, what happens per operation. Every microsecond counts ten thousand times a second.

    def _submit(
        self,
        key: AnyKey,
        deadline: float | None,
        verb: Callable[[_plan.Usable, Unpack[Ts]], _plan.Plan[R]],
        *arguments: *Ts,
    ) -> Future[R]:
        held = key if isinstance(key, Token) else self._key(key)
        plan = verb(held, *arguments)
        if isinstance(held, Key):
            jobs, finish = plan
            return self._elsewhere(functools.partial(_finished, held.prepare(jobs), jobs, finish))
        return self._ask(held, plan, deadline)

    def _ask(
        self, token: Token, plan: _plan.Plan[R], deadline: float | None, settled: _plan.Settled | None = None
    ) -> Future[R]:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._watch(loop)
        # Copies what the caller may change or wipe next. What is wrong with it is this caller's error alone.
        limit = None if deadline is None else milliseconds(deadline)
        operation = _core.Operation(token.core, plan[0], limit, settled)
        return self._enqueue(loop, operation, plan)

    def _submit_each(
        self, planned: Sequence[tuple[Token | Key, _plan.Plan[R]] | EvanesceError], deadline: float | None
    ) -> Future[list[R | EvanesceError]]:
        loop = asyncio.get_running_loop()
        limit = None if deadline is None else milliseconds(deadline)
        # All before the first is queued: if one raises, none is asked for.
        ready = [
            item if isinstance(item, EvanesceError) else (self._ready(item[0], item[1], limit), item[1])
            for item in planned
        ]
        futures: list[Future[R]] = []
        for item in ready:
            if isinstance(item, EvanesceError):
                futures.append(loop.create_future())
                futures[-1].set_exception(item)
            elif isinstance(item[0], _core.Operation):
                if loop is not self._loop:
                    self._watch(loop)
                futures.append(self._enqueue(loop, item[0], item[1]))
            else:
                futures.append(self._elsewhere(item[0]))
        gathered = asyncio.gather(*futures, return_exceptions=True)
        return cast("Future[list[R | EvanesceError]]", gathered)

    @staticmethod
    def _ready(held: Token | Key, plan: _plan.Plan[R], limit: int | None) -> _core.Operation | Callable[[], R]:
        jobs, finish = plan
        if isinstance(held, Key):
            return functools.partial(_finished, held.prepare(jobs), jobs, finish)
        return _core.Operation(held.core, jobs, limit)

    def _key(self, key: AnyKey) -> Token | Key:
        if self._connection is None:
            self._open()
        return self._custodian.usable(key)

    @staticmethod
    def _elsewhere(work: Callable[[], R]) -> Future[R]:
        """What blocks, on a thread of the loop's."""
        return asyncio.get_running_loop().run_in_executor(None, work)

    def _enqueue(self, loop: AbstractEventLoop, operation: _core.Operation, plan: _plan.Plan[R]) -> Future[R]:
        jobs, finish = plan
        future: Future[R] = loop.create_future()
        self._ticket = ticket = self._ticket + 1
        self._pending[ticket] = (future, finish, jobs)
        if not self._queue:
            loop.call_soon(self._flush)
        self._queue.append((ticket, operation))
        return future

    def _flush(self) -> None:
        if not self._queue:
            return
        if os.getpid() != self._pid:
            self._forked()
            return
        queue, self._queue = self._queue, []
        try:
            self._open().core.submit(queue)
        except Exception as e:
            failure = translate(e) if isinstance(e, _core.CoreError) else e
            for ticket, _ in queue:
                self._fail(ticket, failure)

    def _drain(self) -> None:
        if not isinstance(self._connection, Connection):
            return
        pending = self._pending
        for ticket, outcome in self._connection.core.drain():
            entry = pending.pop(ticket, None)
            if entry is None:
                continue
            future, finish, jobs = entry
            if future.done():
                continue  # cancelled
            try:
                if isinstance(outcome, _core.CoreError):
                    future.set_exception(translate(outcome))
                else:
                    future.set_result(finish(outcome, jobs))
            except Exception as e:  # whatever one result does must not lose those behind it
                future.set_exception(e)

    def _fail(self, ticket: int, failure: Exception) -> None:
        entry = self._pending.pop(ticket, None)
        if entry is not None and not entry[0].done():
            entry[0].set_exception(failure)

    def _watch(self, loop: AbstractEventLoop) -> None:
        """Moves to this loop."""
        connection = self._open()
        pid = os.getpid()
        if self._pid == pid:
            if self._pending and self._loop is not None and not self._loop.is_closed():
                raise error(
                    "usage",
                    "this client has operations pending on another event loop",
                    "Make a client for each loop.",
                )
            self._unwatch()
        else:
            # A forked child shares the parent's selector and completion descriptor: it must touch neither.
            connection.reopen()
        self._queue.clear()
        self._pending.clear()
        self._loop = loop
        self._pid = pid
        self._descriptor = connection.core.fileno()
        loop.add_reader(self._descriptor, self._drain)

    def _unwatch(self) -> None:
        if self._loop is not None and self._pid == os.getpid() and not self._loop.is_closed():
            self._loop.remove_reader(self._descriptor)
        self._loop = None

    def _forked(self) -> None:
        # The child goes on running the parent's loop: nothing that was pending can be answered here.
        self._abandon("this process was forked while the operation was pending")
        self._loop = None

    def _abandon(self, why: str) -> None:
        self._queue.clear()
        pending, self._pending = self._pending, {}
        for future, _, _ in pending.values():
            if not future.done() and not future.get_loop().is_closed():
                future.set_exception(error("closed", why, "Ask again."))


def _finished(work: Callable[[], Done], jobs: _plan.Jobs, finish: Callable[[_plan.Outcome, _plan.Jobs], R]) -> R:
    return finish(work(), jobs)


def _macs(key: Key, messages: list[bytes], suite: str) -> Macs:
    values = key.macs(messages, suite)
    return Macs(suite, values, Done(list(values)))
