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
import os
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast

from typing_extensions import Buffer

from evanesce import _core, _plan
from evanesce._connect import Connection, milliseconds
from evanesce._heal import Changes
from evanesce._mint import Model, Source, Terms, mint, threshold
from evanesce.approvals import Approval, Request
from evanesce.errors import EvanesceError, error, translate
from evanesce.grant import Grant, More, RevokedAt
from evanesce.home import Agent, Reconstructor
from evanesce.payload import Payload
from evanesce.results import (
    AgentStatus,
    Check,
    Ciphertext,
    Healed,
    Mac,
    OrderResult,
    Retirement,
    Secret,
    Signature,
    Verified,
)
from evanesce.tokens import Token

R = TypeVar("R")


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
        self._connection: Connection | None = Connection(home, identity, agents, deadline, verify_before_release, grant)
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

    async def import_key(self, name: str, suites: Iterable[str], source: Source, **terms: Unpack[Terms]) -> Token:
        """As `Client.import_key`."""
        connection = self._open()
        return await asyncio.to_thread(connection.mint, mint(connection.agents, name, suites, terms, source))

    def sign(
        self, token: Token, message: Buffer, suite: str | None = None, *, deadline: float | None = None
    ) -> Future[Signature]:
        """As `Client.sign`."""
        return self._submit(token, _plan.sign(token, message, suite), deadline)

    def sign_payload(
        self, token: Token, payload: Payload, suite: str | None = None, *, deadline: float | None = None
    ) -> Future[Signature]:
        """As `Client.sign_payload`."""
        return self._submit(token, _plan.sign_payload(token, payload, suite), deadline)

    def sign_many(
        self,
        token: Token,
        messages: Iterable[Buffer],
        suite: str | None = None,
        *,
        deadline: float | None = None,
    ) -> Future[list[Signature]]:
        """As `Client.sign_many`."""
        return self._submit(token, _plan.sign_many(token, messages, suite), deadline)

    def sign_each(
        self, pairs: Iterable[tuple[Token, Buffer]], suite: str | None = None, *, deadline: float | None = None
    ) -> Future[list[Signature | EvanesceError]]:
        """As `Client.sign_each`."""
        return self._submit_each(_plan.each(_plan.sign, pairs, suite), deadline)

    def sign_hybrid(
        self,
        token: Token,
        message: Buffer,
        suites: Sequence[str] | None = None,
        *,
        deadline: float | None = None,
    ) -> Future[tuple[Signature, Signature]]:
        """As `Client.sign_hybrid`."""
        return self._submit(token, _plan.sign_hybrid(token, message, suites), deadline)

    def mac(
        self, token: Token, message: Buffer, suite: str | None = None, *, deadline: float | None = None
    ) -> Future[Mac]:
        """As `Client.mac`."""
        return self._submit(token, _plan.mac(token, message, suite), deadline)

    def mac_payload(
        self, token: Token, payload: Payload, suite: str | None = None, *, deadline: float | None = None
    ) -> Future[Mac]:
        """As `Client.mac_payload`."""
        return self._submit(token, _plan.mac_payload(token, payload, suite), deadline)

    def mac_each(
        self, pairs: Iterable[tuple[Token, Buffer]], suite: str | None = None, *, deadline: float | None = None
    ) -> Future[list[Mac | EvanesceError]]:
        """As `Client.mac_each`."""
        return self._submit_each(_plan.each(_plan.mac, pairs, suite), deadline)

    def verify_mac(
        self,
        token: Token,
        message: Buffer,
        mac: Mac | Buffer,
        suite: str | None = None,
        *,
        trust_token: bool = False,
        deadline: float | None = None,
    ) -> Future[Verified]:
        """As `Client.verify_mac`."""
        return self._submit(token, _plan.verify_mac(token, message, mac, suite, trust_token), deadline)

    def encrypt(
        self,
        token: Token,
        plaintext: Buffer,
        aad: Buffer = b"",
        suite: str | None = None,
        *,
        trust_token: bool = False,
        deadline: float | None = None,
    ) -> Future[Ciphertext]:
        """As `Client.encrypt`."""
        return self._submit(token, _plan.encrypt(token, plaintext, aad, suite, trust_token), deadline)

    def decrypt(
        self,
        token: Token,
        ciphertext: Ciphertext | Buffer,
        aad: Buffer = b"",
        suite: str | None = None,
        *,
        deadline: float | None = None,
    ) -> Future[Secret]:
        """As `Client.decrypt`."""
        return self._submit(token, _plan.decrypt(token, ciphertext, aad, suite), deadline)

    def derive(
        self,
        token: Token,
        context: Buffer,
        length: int = 32,
        suite: str | None = None,
        *,
        trust_token: bool = False,
        deadline: float | None = None,
    ) -> Future[Secret]:
        """As `Client.derive`."""
        return self._submit(token, _plan.derive(token, context, length, suite, trust_token), deadline)

    def agree(
        self,
        token: Token,
        peer: Buffer,
        suite: str | None = None,
        *,
        trust_token: bool = False,
        deadline: float | None = None,
    ) -> Future[Secret]:
        """As `Client.agree`."""
        return self._submit(token, _plan.agree(token, peer, suite, trust_token), deadline)

    def decapsulate(
        self, token: Token, ciphertext: Buffer, suite: str | None = None, *, deadline: float | None = None
    ) -> Future[Secret]:
        """As `Client.decapsulate`."""
        return self._submit(token, _plan.decapsulate(token, ciphertext, suite), deadline)

    def perform(
        self, request: Request, approvals: Iterable[Approval] = (), *, deadline: float | None = None
    ) -> Future[Signature | Mac | Secret]:
        """As `Client.perform`."""
        settled = ([approval.data for approval in approvals], [request.salt])
        return self._submit(request.token, request.plan(), deadline, settled)

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
        return self._connection

    # From here on, what happens per operation. Every microsecond counts ten thousand times a second.

    def _submit(
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
        self, planned: Sequence[tuple[Token, _plan.Plan[R]] | EvanesceError], deadline: float | None
    ) -> Future[list[R | EvanesceError]]:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._watch(loop)
        limit = None if deadline is None else milliseconds(deadline)
        # All before the first is queued: if one raises, none is asked for.
        ready = [
            item if isinstance(item, EvanesceError) else (_core.Operation(item[0].core, item[1][0], limit), item[1])
            for item in planned
        ]
        futures: list[Future[R]] = []
        for item in ready:
            if isinstance(item, EvanesceError):
                futures.append(loop.create_future())
                futures[-1].set_exception(item)
            else:
                futures.append(self._enqueue(loop, *item))
        gathered = asyncio.gather(*futures, return_exceptions=True)
        return cast("Future[list[R | EvanesceError]]", gathered)

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
        if self._connection is None:
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
