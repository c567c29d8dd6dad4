"""What operations bring: small frozen values, with the agents' receipts and faults beside them.

Public results carry `bytes`. Secret ones (decrypted data, derived keys, shared secrets) come as a `Secret`:
a handle on locked memory of the core's, which writes itself where the caller says and is then wiped.
Receipts are decoded and verified only when asked for, off the critical path.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol, Self, overload

from typing_extensions import Buffer

from evanesce import _core, _files
from evanesce.errors import Culprit, EvanesceError, Fault, culprits, error, translate

if TYPE_CHECKING:
    from evanesce.tokens import Seat, Token


class Evidence(Protocol):
    """Where results read their receipts and faults from: the core's outcome."""

    @property
    def receipts(self) -> list[_core.Receipt]: ...
    @property
    def faults(self) -> list[Fault]: ...
    @property
    def salts(self) -> list[bytes]: ...


class Receipt:
    """One agent's signed word on what it was asked, provable to others: that it did its part, or that it
    refused (PROTOCOL §6; docs/agent-api.md)."""

    __slots__ = ("_core",)

    def __init__(self, core: _core.Receipt) -> None:
        self._core = core

    @classmethod
    def decode(cls, data: bytes) -> Receipt:
        """From `encode`'s bytes. Raises `receipt-invalid`."""
        try:
            return cls(_core.Receipt.decode(data))
        except _core.CoreError as e:
            raise translate(e) from None

    def encode(self) -> bytes:
        """Its bytes, to keep as evidence."""
        return self._core.encode()

    @property
    def agent(self) -> str:
        """The agent's id, 64 hex digits."""
        return self._core.agent.hex()

    @property
    def index(self) -> int:
        """The entry's place in that agent's log, from 0."""
        return self._core.index

    @property
    def core(self) -> _core.Receipt:
        """The core's own; private to this package."""
        return self._core

    @property
    def log_key(self) -> bytes:
        """The Ed25519 public key of that log, 32 bytes; the agent's word for it is part of the receipt."""
        return self._core.log_key

    @property
    def checkpoint(self) -> str:
        """The signed checkpoint under which the log holds the entry (C2SP tlog-checkpoint)."""
        return self._core.checkpoint

    def entry(self) -> Mapping[str, Any]:
        """What the agent wrote in its log, *not verified*. Raises `receipt-invalid` where it is no entry at
        all."""
        try:
            return self._core.entry()
        except _core.CoreError as e:
            raise translate(e) from None

    def verify(self) -> Mapping[str, Any]:
        """Checks that this agent signed for it and that its log holds it; returns the log entry. Raises
        `receipt-invalid`. Whether the agent is one you know is yours to compare (`agent`)."""
        try:
            return self._core.verify()
        except _core.CoreError as e:
            raise translate(e) from None

    def __repr__(self) -> str:
        return f"<Receipt of agent {self.agent[:16]}…, entry {self.index}>"


@dataclass(frozen=True, slots=True)
class Result:
    """What every result has."""

    suite: str
    _evidence: Evidence = field(repr=False, compare=False)
    _place: int = field(repr=False, compare=False)

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """One per agent that answered, all for the same opening; a batch shares them. An agent that refused
        leaves one too: its entry's `code` says why, and is `done` where the agent agreed."""
        return tuple(map(Receipt, self._evidence.receipts))

    @property
    def faults(self) -> tuple[Culprit, ...]:
        """Holders that failed on the way, though the operation went on without them."""
        return culprits(self._evidence.faults)

    @property
    def salt(self) -> bytes:
        """32 bytes that, with the inputs, give the input digest in the agents' log entries (PROTOCOL
        §6). Keep it with the receipts: without it nobody can show what they are receipts for. And keep it to
        yourself: a salt together with a log entry reveals an input that can be guessed, by trying."""
        return self._evidence.salts[self._place]


@dataclass(frozen=True, slots=True)
class Signature(Result):
    """A signature: raw 64 bytes (Ed25519), ASN.1 DER (ECDSA), FIPS 204 bytes (ML-DSA), modulus-sized
    (RSA)."""

    value: bytes
    message: bytes | None = None
    """What was signed, where that was a payload: its canonical form. None otherwise."""


@dataclass(frozen=True, slots=True)
class Mac(Result):
    """A MAC: 32 bytes (HMAC-SHA-256), 64 (HMAC-SHA-512), 16 (AES-CMAC)."""

    value: bytes
    message: bytes | None = None
    """As in `Signature`."""


class Macs(Sequence[Mac]):
    """Many MACs of one call, in the order of their messages. `values` has them as they are: at line rate, an object
    for each would cost as much as the MAC."""

    __slots__ = ("_evidence", "suite", "values")

    def __init__(self, suite: str, values: list[bytes], evidence: Evidence) -> None:
        self.suite = suite
        self.values = values
        self._evidence = evidence

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, place: int) -> Mac: ...
    @overload
    def __getitem__(self, place: slice) -> list[Mac]: ...
    def __getitem__(self, place: int | slice) -> Mac | list[Mac]:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        at = range(len(self.values))[place]
        return Mac(self.suite, self._evidence, at, self.values[at])


@dataclass(frozen=True, slots=True)
class Ciphertext(Result):
    """nonce ‖ ciphertext ‖ tag (PROTOCOL §7)."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Verified(Result):
    """A MAC that is right. (One that is wrong is an error, so there is no value here to forget to look
    at.)"""


class Secret:
    """A secret result, in locked memory. Take it out once, then it is best wiped: `with client.decrypt(…)
    as secret:`.

    It never becomes `bytes`, which Python could not wipe. A `bytearray` given to `into` is the caller's to
    wipe.
    """

    __slots__ = ("_core", "_evidence", "_wiped", "suite")

    def __init__(self, core: _core.Secret, suite: str, evidence: Evidence | None = None) -> None:
        self._core = core
        self._evidence = evidence
        self._wiped = False
        self.suite = suite

    @property
    def core(self) -> _core.Secret:
        """The core's own; private to this package."""
        self._live()
        return self._core

    def __len__(self) -> int:
        """Its length in bytes; 0 once wiped."""
        return 0 if self._wiped else len(self._core)

    def __bool__(self) -> bool:
        return not self._wiped

    def into(self, buffer: Buffer) -> int:
        """Copies it to the start of a writable buffer, at least as long; returns the length in bytes."""
        self._live()
        try:
            return self._core.write_into(buffer)
        except _core.CoreError as e:
            raise translate(e) from None

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Writes it to a new file of mode 0600. Raises `exists` (unless `force`) and `io`."""
        self._live()
        path = Path(path)
        if not force and os.path.lexists(path):
            raise _files.exists(path)
        # In a folder of its own first, so that a write cut short never stands under the name asked for.
        with (
            _files.reporting(f"write {path}"),
            tempfile.TemporaryDirectory(prefix=".evanesce-", dir=path.parent) as folder,
        ):
            temporary = Path(folder) / "secret"
            try:
                self._core.write_file(str(temporary))
            except _core.CoreError as e:
                raise translate(e) from None
            if force:
                temporary.replace(path)
            else:
                _files.move_to_new(temporary, path)

    def to_descriptor(self, descriptor: int) -> None:
        """Writes all of it to an open file descriptor, such as a pipe. Raises `io`."""
        self._live()
        try:
            self._core.write_descriptor(descriptor)
        except _core.CoreError as e:
            raise translate(e) from None

    def wipe(self) -> None:
        """Wipes it now. Further uses are errors; wiping again is not."""
        self._wiped = True
        self._core.wipe()

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """As in `Result`; empty for a secret that no quorum took part in."""
        return tuple(map(Receipt, self._evidence.receipts)) if self._evidence else ()

    @property
    def faults(self) -> tuple[Culprit, ...]:
        """As in `Result`."""
        return culprits(self._evidence.faults) if self._evidence else ()

    @property
    def salt(self) -> bytes:
        """As in `Result`; empty for a secret that no quorum took part in."""
        return self._evidence.salts[0] if self._evidence else b""

    def _live(self) -> None:
        if self._wiped:
            raise error("closed", "this secret has been wiped", "Take it out before its `with` block ends.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return "<Secret, wiped>" if self._wiped else f"<Secret of {len(self)} bytes>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled or copied")


@dataclass(frozen=True, slots=True)
class Encapsulation:
    """A fresh shared secret, and the ciphertext from which the key's quorum can decapsulate it."""

    ciphertext: bytes
    secret: Secret


@dataclass(frozen=True, slots=True)
class SeatCheck:
    """One seat's answer to a check."""

    seat: str
    holder: str
    holder_id: str
    verdict: str
    """`ok`, or a fault as in `Culprit.kind`."""
    detail: str
    milliseconds: float | None
    """Until its answer; None without one."""

    @property
    def ok(self) -> bool:
        return self.verdict == "ok"


@dataclass(frozen=True, slots=True)
class Check:
    """Every seat of a token, asked whether it can regenerate its share. Nothing was released."""

    seats: tuple[SeatCheck, ...]
    opened: bool
    """A quorum also regenerated the seed once, and the anchor is right."""
    receipts: tuple[Receipt, ...] = ()
    """Of that opening; a check itself is not logged."""
    salt: bytes | None = None
    """Of the opening's input digest, 32 bytes."""

    @property
    def ok(self) -> bool:
        """Whether every seat is well."""
        return all(seat.ok for seat in self.seats)


@dataclass(frozen=True, slots=True)
class Healed:
    """A token that was refreshed, reshared or repaired. It counts: every seat that is new was checked, and a reshared
    token has been opened once, unless it is `unproven`."""

    token: Token
    """The new token, pinned as the old one was; save it before the old one is retired. After a repair it is the same
    token with another row."""
    receipts: tuple[Receipt, ...]
    """Of the agents that opened the old token, of those that were seated, and of the new token's first opening."""
    warnings: tuple[str, ...]
    faults: tuple[Culprit, ...]
    """Holders that failed on the way, though it went on without them."""
    salt: bytes
    """32 bytes that, with the new `deal` (or the seat and the new holder's id), give the input digest in the log
    entries of the agents that opened the old token."""
    unproven: EvanesceError | None = None
    """After a reshare that people approved: why the new token could not be opened yet, such as that its policy waits
    for approvals of that too (`Request.to_open`). Save it; it counts once it was opened (`Client.check`)."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """A key that is never put together, with new shares: every holder of one has signed that it has its own."""

    token: Token
    """The new token, which was saved before any old share was removed."""
    receipts: tuple[Receipt, ...]
    """Of the agents' decisions to renew, and of their new seats."""
    warnings: tuple[str, ...]
    faults: tuple[Culprit, ...]
    """Holders that could not be told that all have their shares: where shares were kept, the old one is still there."""
    removed: int
    """Old shares that were kept, and were removed."""
    salt: bytes | None = None
    """32 bytes that, with the new `deal` and the ids of all that are to hold shares, by seat, give the input digest in
    the log entries of the agents' decisions; None where an earlier run had them."""
    told: bool = True
    """Whether holders that kept shares were told to remove them. False where a renewal that was stopped is gone on
    with: of the shares that the key had before it, nothing here says whether they are gone."""
    left_out: tuple[Seat, ...] = ()
    """Seats of the old token whose holders have none in the new one, and were not asked. With enough others of the old
    token the share of each is of use, kept or regenerated, until it has obeyed a revocation of that token."""


@dataclass(frozen=True, slots=True)
class RetiredSeat:
    """One seat's answer to a retirement."""

    seat: str
    holder: str
    verdict: str
    """`retired`, or a fault as in `Culprit.kind`."""
    detail: str


@dataclass(frozen=True, slots=True)
class Retirement:
    """What retiring a token has achieved so far."""

    dead: bool
    """The tombstoned seats block: no sufficient set remains without them (PROTOCOL §9)."""
    seats: tuple[RetiredSeat, ...]
    receipts: tuple[Receipt, ...]
    salt: bytes | None
    """Of the input digest, 32 bytes; None where an order did it, as for keys that are never put together."""

    @property
    def missing(self) -> tuple[RetiredSeat, ...]:
        """The seats that have not tombstoned it."""
        return tuple(seat for seat in self.seats if seat.verdict != "retired")


OrderCommand = Literal["revoke", "freeze", "thaw"]


@dataclass(frozen=True, slots=True)
class OrderedSeat:
    """What one agent has made of an order, for one seat that it holds or has held."""

    seat: str
    holder: str
    verdict: str
    """`revoked`, `frozen` or `thawed`, or a fault as in `Culprit.kind`."""
    detail: str

    @property
    def obeyed(self) -> bool:
        return self.verdict in ("revoked", "frozen", "thawed")


@dataclass(frozen=True, slots=True)
class OrderedAgent:
    """An agent without a seat that has not obeyed: others would not learn the order from it."""

    holder: str
    verdict: str
    detail: str


@dataclass(frozen=True, slots=True)
class OrderResult:
    """What an order to revoke, freeze or thaw a token has achieved so far."""

    command: OrderCommand
    settled: bool
    """Revoked or frozen: no sufficient set remains without the seats that have obeyed (PROTOCOL §9). Thawed: a
    sufficient set has obeyed. A seat has when every agent that ever held a row for it, in the versions given, has."""
    seats: tuple[OrderedSeat, ...]
    others: tuple[OrderedAgent, ...]
    receipts: tuple[Receipt, ...]

    @property
    def missing(self) -> tuple[OrderedSeat, ...]:
        """Seats, with the agent, that have not obeyed."""
        return tuple(seat for seat in self.seats if not seat.obeyed)


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """One agent of the quorum file, asked how it is."""

    name: str
    id: str
    report: Mapping[str, Any] | None
    """Its own words: version, clock (Unix milliseconds), element, development, weaknesses, epochs,
    current, entries, tombstones, frozen, shares (that it keeps), peers (that it compares with), heard (of these, since
    it started), standing (why it answers nothing as things are, or empty), commit, memory, caller and roles (who you
    are to it). None when it did not answer."""
    problem: str
    """Why not; empty when it did."""
