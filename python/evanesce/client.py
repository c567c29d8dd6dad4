"""`Client`: the blocking client. Safe to share between threads; what they ask at the same time shares
requests.

The client is both *caller* and *reconstructor* (PROTOCOL §6): for the length of one operation the key
exists in locked memory of this very process. What that concedes is in PROTOCOL §10. Where its quorum file names a
`[reconstructor]`, it is only a caller: keys exist over there (docs/reconstructor.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple, Unpack

from typing_extensions import Buffer

from evanesce import _core, _plan
from evanesce._connect import Connection, connect, milliseconds
from evanesce._heal import Changes
from evanesce._mint import Model, Source, Terms, mint, threshold
from evanesce.approvals import OF_TOKEN, Approval, Request
from evanesce.custody import AnyKey, Custodian, Key
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


class Client:
    """Mints keys that are stored nowhere, and uses them through their quorum.

    Everything raises `EvanesceError` (see `evanesce.errors` for the codes): from operations above all
    `refused`, `quorum-not-met`, `expired`, `token-altered`. A `suite` may be left out where the token has
    only one that fits.
    """

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
        """`home`: see `evanesce.home`. `identity`: a PKCS#8 PEM file (0600) instead of the home's.
        `agents`: a quorum file, or its entries, instead of the home's. `deadline`: seconds that
        a call may take as a whole, whatever it does; by default 2, and 10 for a mint.
        `verify_before_release`: check each signature before it is returned, against computing faults
        (about 60 µs). `grant`: under which operations of its token are asked for."""
        at = Home.at(home)
        self._connection: Connection | EvanesceError | None = connect(
            at, identity, agents, deadline, verify_before_release, grant
        )
        self._custodian = Custodian(at, self._open)

    @property
    def caller_id(self) -> str:
        """This client's caller id, 64 hex digits: what agents are told to allow."""
        return self._open().core.caller_id.hex()

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The agents this client asks; tokens cannot add to them."""
        return self._open().agents

    @property
    def custody(self) -> Custodian:
        """Keys by reference, whatever keeps them: created, rotated, backed up, destroyed (docs/custody.md)."""
        return self._custodian

    @property
    def reconstructor(self) -> Reconstructor | None:
        """Who does this client's operations; None where it does them itself."""
        return self._open().reconstructor

    def reconstructor_status(self) -> dict[str, Any]:
        """What that one says of itself: `name`, `version`, `clock` (Unix ms), `caller` (its name for this client),
        `agents` (that it has a session with), `memory`, and in words what shuts it in, `applied` and `missing`. Raises
        `not-found` where there is none, `reconstructor` where it cannot be reached."""
        return self._open().serving()

    def create(self, name: str, suites: Iterable[str], **terms: Unpack[Terms]) -> Token:
        """Mints a new key and keeps its pin; save the token, for nothing else of the key exists
        afterwards. `terms`: see `Terms`. Raises `role` where this identity is not a minter, `policy`,
        `bad-input`."""
        connection = self._open()
        return connection.mint(mint(connection.agents, name, suites, terms))

    def create_threshold(self, name: str, suite: str, model: Model = "regen-mpc", **terms: Unpack[Terms]) -> Token:
        """Makes a key among its holders that nobody ever has, and that is never put together, not to be used either:
        they sign with it (FROST). `suite`: frost-ed25519 or frost-secp256k1-tr; signatures are ordinary ones. `model`:
        shares that are regenerated for each use, or (mpc) kept by their holders. The quorum is flat, of two or more.
        Raises as `create`."""
        connection = self._open()
        return connection.create_threshold(threshold(connection.agents, name, suite, model, terms))

    def refresh_shares(
        self,
        token: Token,
        path: str | os.PathLike[str],
        model: Model | None = None,
        *,
        force: bool = False,
        **changes: Unpack[Changes],
    ) -> Renewal:
        """New shares of a key that is never put together: the same public key, a new token. `model` turns shares that
        are kept into regenerated ones: the old ones are removed, once all holders have signed that they have the new
        ones and the token is durable at `path`. `changes`: another quorum or other holders too, among whom as many must
        sit that have shares as sign with the key; whoever is `left_out` need not be there. Revoke the old token then.
        Raises `refused`, `role`, `quorum-not-met`, `bad-input`, `unpinned`, `exists`."""
        return self._open().refresh_shares_to(token, path, model, force, changes)

    def import_key(self, name: str, suites: Iterable[str], source: Source, **terms: Unpack[Terms]) -> Token:
        """Mints a token around an existing key: PKCS#8 (PEM or DER), or raw bytes for a symmetric suite.
        `source`: the path of a file (0600) or an open descriptor, read by the core, never through
        Python. Destroying the original is yours to do."""
        connection = self._open()
        return connection.mint(mint(connection.agents, name, suites, terms, source))

    def sign(
        self, key: AnyKey, message: Buffer, suite: str | None = None, *, deadline: float | None = None
    ) -> Signature:
        """One signature over the message itself."""
        return self._run(key, deadline, _plan.sign, message, suite)

    def sign_payload(
        self, key: AnyKey, payload: Payload, suite: str | None = None, *, deadline: float | None = None
    ) -> Signature:
        """One signature over a JSON object, which every agent reads and the token's policy judges. What is
        signed is its canonical form, the result's `message`: `verify(token, s.message, s)`. Raises
        `payload`."""
        return self._run(key, deadline, _plan.sign_payload, payload, suite)

    def sign_many(
        self,
        key: AnyKey,
        messages: Iterable[Buffer],
        suite: str | None = None,
        *,
        deadline: float | None = None,
    ) -> list[Signature]:
        """Up to 400 messages under one opening: each is decided by itself, and if one is refused none is
        signed."""
        return self._run(key, deadline, _plan.sign_many, messages, suite)

    def sign_each(
        self, pairs: Iterable[tuple[AnyKey, Buffer]], suite: str | None = None, *, deadline: float | None = None
    ) -> list[Signature | EvanesceError]:
        """For many tokens in one call: a signature for each (token, message), in order, each under an opening
        of its own and all submitted at once. An item that fails has its error in its place and stops no
        other; only a wrong argument raises."""
        return self._run_each(_plan.each(self._key, _plan.sign, pairs, suite), deadline)

    def sign_hybrid(
        self,
        key: AnyKey,
        message: Buffer,
        suites: Sequence[str] | None = None,
        *,
        deadline: float | None = None,
    ) -> tuple[Signature, Signature]:
        """Two suites over one message from one opening. By default the token's two signing suites."""
        return self._run(key, deadline, _plan.sign_hybrid, message, suites)

    def mac(self, key: AnyKey, message: Buffer, suite: str | None = None, *, deadline: float | None = None) -> Mac:
        """A MAC over the message."""
        return self._run(key, deadline, _plan.mac, message, suite)

    def mac_many(
        self, key: AnyKey, messages: Iterable[Buffer], suite: str | None = None, *, deadline: float | None = None
    ) -> Macs:
        """MACs of many messages in one call: under one opening up to 400, in a PKCS#11 token any number."""
        held = self._key(key)
        if isinstance(held, Key):
            chosen = suite or held.suite_for("mac")
            values = held.macs(messages, chosen)
            return Macs(chosen, values, Done(list(values)))
        return self._run(held, deadline, _plan.mac_many, messages, suite)

    def mac_payload(
        self, key: AnyKey, payload: Payload, suite: str | None = None, *, deadline: float | None = None
    ) -> Mac:
        """As `sign_payload`, a MAC over a JSON object's canonical form."""
        return self._run(key, deadline, _plan.mac_payload, payload, suite)

    def mac_each(
        self, pairs: Iterable[tuple[AnyKey, Buffer]], suite: str | None = None, *, deadline: float | None = None
    ) -> list[Mac | EvanesceError]:
        """As `sign_each`, a MAC for each (token, message)."""
        return self._run_each(_plan.each(self._key, _plan.mac, pairs, suite), deadline)

    def verify_mac(
        self,
        key: AnyKey,
        message: Buffer,
        mac: Mac | Buffer,
        suite: str | None = None,
        *,
        trust_token: bool = False,
        deadline: float | None = None,
    ) -> Verified:
        """Returns if the MAC is right; else raises `invalid-signature`. Raises `unpinned`."""
        return self._run(key, deadline, _plan.verify_mac, message, mac, suite, trust_token)

    def encrypt(
        self,
        key: AnyKey,
        plaintext: Buffer,
        aad: Buffer = b"",
        suite: str | None = None,
        *,
        trust_token: bool = False,
        deadline: float | None = None,
    ) -> Ciphertext:
        """Encrypts under a symmetric suite; the same `aad` must be given to decrypt. Raises `unpinned`."""
        return self._run(key, deadline, _plan.encrypt, plaintext, aad, suite, trust_token)

    def decrypt(
        self,
        key: AnyKey,
        ciphertext: Ciphertext | Buffer,
        aad: Buffer = b"",
        suite: str | None = None,
        *,
        deadline: float | None = None,
    ) -> Secret:
        """Decrypts what `encrypt` or `encrypt_to` made. Raises `decryption-failed`."""
        return self._run(key, deadline, _plan.decrypt, ciphertext, aad, suite)

    def derive(
        self,
        key: AnyKey,
        context: Buffer,
        length: int = 32,
        suite: str | None = None,
        *,
        trust_token: bool = False,
        deadline: float | None = None,
    ) -> Secret:
        """A working key of `length` bytes (1 to 8160) for a context; the same for the same. Raises
        `unpinned`."""
        return self._run(key, deadline, _plan.derive, context, length, suite, trust_token)

    def agree(
        self,
        key: AnyKey,
        peer: Buffer,
        suite: str | None = None,
        *,
        trust_token: bool = False,
        deadline: float | None = None,
    ) -> Secret:
        """The X25519 shared secret with a peer's public key (raw 32 bytes, or SubjectPublicKeyInfo DER).
        Raises `unpinned`."""
        return self._run(key, deadline, _plan.agree, peer, suite, trust_token)

    def decapsulate(
        self, key: AnyKey, ciphertext: Buffer, suite: str | None = None, *, deadline: float | None = None
    ) -> Secret:
        """The shared secret of an encapsulation. A foreign ciphertext gives another secret, no error
        (FIPS 203)."""
        return self._run(key, deadline, _plan.decapsulate, ciphertext, suite)

    def perform(
        self,
        request: Request,
        approvals: Iterable[Approval] = (),
        *,
        deadline: float | None = None,
        save: Callable[[Token], None] | None = None,
    ) -> Signature | Mac | Secret | Check | Healed | Renewal | Retirement:
        """Does what was requested, with what people have approved of it. An agent that permits it has spent these
        approvals, also where too few others do and nothing comes of it. Raises as the operation itself; `refused`
        where approvals are missing; `spent` where a reshare was begun before. Of a token as a whole it is done by the
        client's own deadline. Of new shares of a key that is never put together, `save` is given the new token, and
        makes it durable, before any old share is removed."""
        if request.action in OF_TOKEN:
            return self._open().planned(request, approvals, save)
        plan = request.plan()
        settled = ([approval.data for approval in approvals], [request.salt])
        done: Signature | Mac | Secret = plan[1](self._outcome(request.token, plan, deadline, settled), plan[0])
        return done

    def check(self, token: Token, *, open: bool = False) -> Check:
        """Asks every seat whether it can regenerate its share; nothing is released. With `open`, a
        quorum also regenerates the seed once, and the anchor is checked: raises as any operation does,
        with what the seats answered in the error's `check`."""
        return self._open().check(token, open)

    def refresh(self, token: Token, *, trust_token: bool = False) -> Healed:
        """Mints the same key anew for the same holders: fresh shares, a new token id, the same public keys. What an
        earlier theft of fewer than t roots had brought is worthless once the old token is dead: `retire` it,
        after the new one is saved. The old token is as it was whatever fails. Raises `unpinned`, `refused`, `role`,
        `quorum-not-met`, `inconsistent`."""
        return self._open().reshare(token, Changes(), trust_token)

    def reshare(self, token: Token, *, trust_token: bool = False, **changes: Unpack[Changes]) -> Healed:
        """As `refresh`, with another quorum, other holders, another policy or another end; see `Changes`. Of a key
        that is never put together `refresh_shares` does both; here it is refused (`unfit-operation`)."""
        return self._open().reshare(token, changes, trust_token)

    def repair(self, token: Token, seat: str, agent: str, *, even_if_it_sits: bool = False) -> Healed:
        """Gives a seat whose element was destroyed to another agent of the quorum file: the same token with another
        row. An agent that sits at another seat already is refused unless told. For one that was stolen, refresh and
        retire instead. Raises `bad-input`, `refused`, `role`, `quorum-not-met`, `inconsistent`."""
        return self._open().repair(token, seat, agent, even_if_it_sits)

    def retire(self, token: Token) -> Retirement:
        """Asks every holder to tombstone the token, for good. See `Retirement.dead` for what that
        achieved."""
        return self._open().retire(token)

    def revoke(self, token: Token, *versions: Token) -> OrderResult:
        """Has the token tombstoned for good, by an order that every agent judges for itself and hands on to those that
        are away. `versions` are older copies of the same token whose rows differ: every agent that holds one counts.
        Needs no seat to answer, unlike `retire`. See `OrderResult.settled` for what that achieved. Raises `refused`,
        `role`, `quorum-not-met`, `bad-input`."""
        return self._open().order("revoke", (token, *versions))

    def freeze(self, token: Token, *versions: Token) -> OrderResult:
        """As `revoke`, until the token is thawed. Of two orders to freeze or thaw a token the later one holds, wherever
        both arrive."""
        return self._open().order("freeze", (token, *versions))

    def thaw(self, token: Token, *versions: Token) -> OrderResult:
        """Takes back a freeze; whoever may freeze may thaw."""
        return self._open().order("thaw", (token, *versions))

    def grant(self, token: Token, delegate: str, actions: Iterable[str], expires: float, **more: Unpack[More]) -> Grant:
        """Lets another caller ask for these actions in this one's place until `expires` (Unix seconds), as
        far as the agents let this one. `delegate`: its caller id. `more`: see `More`. No agent is asked.
        Raises `grant-invalid`."""
        return self._open().grant(token, delegate, actions, expires, more)

    def revoke_grant(self, grant: Grant) -> tuple[RevokedAt, ...]:
        """Has every agent of the quorum file refuse a grant of this caller's, and what was passed on under
        it. It is dead for a token once the agents that have revoked it block its quorum. Raises
        `grant-invalid`."""
        return self._open().revoke_grant(grant)

    def status(self) -> tuple[AgentStatus, ...]:
        """Asks every agent of the quorum file how it is."""
        return self._open().status()

    def close(self) -> None:
        """Ends sessions and connections. Using the client afterwards raises `closed`."""
        self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Connection:
        if self._connection is None:
            raise error("closed", "this client has been closed", "Make another.")
        if isinstance(self._connection, EvanesceError):
            raise self._connection
        return self._connection

    def _key(self, key: AnyKey) -> Token | Key:
        if self._connection is None:
            self._open()
        return self._custodian.usable(key)

    def _run(
        self,
        key: AnyKey,
        deadline: float | None,
        verb: Callable[[_plan.Usable, Unpack[Ts]], _plan.Plan[R]],
        *arguments: *Ts,
    ) -> R:
        held = self._key(key)
        plan = verb(held, *arguments)
        return plan[1](self._outcome(held, plan, deadline), plan[0])

    def _outcome(
        self,
        held: Token | Key,
        plan: _plan.Plan[R],
        deadline: float | None,
        settled: _plan.Settled | None = None,
    ) -> _plan.Outcome:
        if isinstance(held, Key):
            return held.prepare(plan[0])()
        limit = None if deadline is None else milliseconds(deadline)
        try:
            return self._open().core.run(held.core, plan[0], limit, settled)
        except _core.CoreError as e:
            raise translate(e) from None

    def _run_each(
        self, planned: Sequence[tuple[Token | Key, _plan.Plan[R]] | EvanesceError], deadline: float | None
    ) -> list[R | EvanesceError]:
        limit = None if deadline is None else milliseconds(deadline)
        asked = [(item[0], item[1][0]) for item in planned if not isinstance(item, EvanesceError)]
        operations = [_core.Operation(key.core, jobs, limit) for key, jobs in asked if isinstance(key, Token)]
        outcomes = iter(self._open().core.run_each(operations) if operations else ())
        results: list[R | EvanesceError] = []
        for item in planned:
            if isinstance(item, EvanesceError):
                results.append(item)
                continue
            key, (jobs, finish) = item
            if isinstance(key, Key):
                try:
                    results.append(finish(key.prepare(jobs)(), jobs))
                except EvanesceError as e:
                    results.append(e)
                continue
            outcome = next(outcomes)
            results.append(translate(outcome) if isinstance(outcome, _core.CoreError) else finish(outcome, jobs))
        return results
