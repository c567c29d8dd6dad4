"""What both clients hold: the agents asked, and the core's reconstructor for one identity."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from evanesce import _core, _files, _planned
from evanesce._begun import once
from evanesce._heal import (
    Changes,
    Reshare,
    check_put_together,
    check_sits_once,
    left_out,
    new_shares,
    refusal,
    reshare,
)
from evanesce._mint import Mint, Model, Threshold, shared_seats, spent_twice
from evanesce._plan import Settled
from evanesce.approvals import Approval, Request
from evanesce.custody import modules
from evanesce.errors import EvanesceError, culprits, error, translate
from evanesce.grant import Grant, More, RevokedAt
from evanesce.grant import sign as sign_grant
from evanesce.home import Agent, Home, Reconstructor, check_agents, read_quorum
from evanesce.pins import parse_id
from evanesce.policy import Policy
from evanesce.results import (
    AgentStatus,
    Check,
    Healed,
    OrderCommand,
    OrderedAgent,
    OrderedSeat,
    OrderResult,
    Receipt,
    Renewal,
    RetiredSeat,
    Retirement,
    SeatCheck,
)
from evanesce.tokens import Token

DEADLINES = {"mint": 10_000, "all else": 2000}
"""Milliseconds that the core gives a mint, and all else, where the caller gives none."""

REPAIRS_AT_ONCE = 8
"""Repairs of keys that are never put together: half of what an agent has under way for one caller
(docs/threshold-api.md)."""


class Connection:
    """One identity and the agents it may ask. Blocking verbs; everything is the core's, given names here."""

    def __init__(
        self,
        home: Home,
        identity: str | os.PathLike[str] | None,
        agents: str | os.PathLike[str] | Sequence[Agent] | None,
        deadline: float | None,
        verify_before_release: bool,
        grant: Grant | None = None,
    ) -> None:
        self.home = home
        path = Path(identity) if identity is not None else self.home.identity
        if not path.exists():
            raise error(
                "identity",
                f"there is no identity at {path}",
                "Make one: `evanesce identity init`, on this machine.",
            )
        self.reconstructor: Reconstructor | None = None
        self._runtime: str | None = None
        if agents is None or isinstance(agents, str | os.PathLike):
            quorum = Path(agents) if agents is not None else self.home.quorum
            self.agents, self.reconstructor, self._runtime = read_quorum(quorum)
        else:
            self.agents = tuple(agents)
            check_agents(self.agents, "the list of agents")
        self._identity = str(path)
        self._grants = () if grant is None else grant.parts
        self._repairing = threading.BoundedSemaphore(REPAIRS_AT_ONCE)
        self._settings = (None if deadline is None else milliseconds(deadline), verify_before_release)
        self.reopen()

    def reopen(self) -> None:
        """Begins anew with the same identity, agents and settings: no session, no connection, no pending
        operation."""
        holders = [(a.name, a.id, a.address, a.site, a.vendor) for a in self.agents]
        other = self.reconstructor
        service = None if other is None else (other.name, other.id, other.address, "", "")
        runtime = None if self._runtime is None else modules.open_token(self.home.modules, self._runtime)
        try:
            self.core = _core.Reconstructor(self._identity, holders, *self._settings, service, self._grants, runtime)
        except _core.CoreError as e:
            raise translate(e) from None

    def mint(self, order: Mint) -> Token:
        try:
            core, receipts, warnings = self.core.mint(*order)
        except _core.CoreError as e:
            raise translate(e) from None
        warnings = [*warnings, *shared_seats(order.seats), *spent_twice(Policy(order.policy), order.quorum)]
        return self._kept(core, receipts, warnings)

    def _kept(self, core: _core.Token, receipts: Iterable[_core.Receipt], warnings: list[str]) -> Token:
        token = Token(core, "created", tuple(map(Receipt, receipts)))
        self._pin(token, warnings)
        token.warnings = tuple(warnings)
        return token

    def _pin(self, token: Token, warnings: list[str], old: Token | None = None) -> None:
        """Keeps the pin of a new token: where it replaces an `old` one, if that was pinned."""
        if old is not None and old.pinned in (None, "trusted"):
            # Nobody's word makes more of it than was made of the old one.
            token.pinned = old.pinned
            return
        try:
            self.home.pins.add(token.id, token.name)
        except EvanesceError as e:
            # The key exists; a pin that could not be kept must not lose it.
            warnings.append(f"the pin could not be kept ({e.message}): write the token id down")

    def create_threshold(self, order: Threshold) -> Token:
        try:
            core, receipts, warnings = self.core.create_threshold(*order)
        except _core.CoreError as e:
            raise translate(e) from None
        return self._kept(core, receipts, [*warnings, *spent_twice(Policy(order.policy), order.quorum)])

    def refresh_shares_to(
        self, token: Token, path: str | os.PathLike[str], model: Model | None, force: bool, changes: Changes
    ) -> Renewal:
        if not force and Path(path).exists():
            raise _files.exists(Path(path))
        return self.refresh_shares(token, lambda new: new.save(path, force=force), model, changes)

    def refresh_shares(
        self, token: Token, save: Callable[[Token], None], model: Model | None, changes: Changes
    ) -> Renewal:
        return self._renew(token, save, model, new_shares(self.agents, token, changes))

    def _renew(
        self,
        token: Token,
        save: Callable[[Token], None],
        model: Model | None,
        order: Reshare,
        header: bytes | None = None,
        settled: Settled | None = None,
    ) -> Renewal:
        token.require_pinned("refresh the shares of", False)
        try:
            half, core, receipts, warnings, salt = self.core.renew(token.core, model, *order, header, settled)
            new = Token(core, "created", tuple(map(Receipt, receipts)))
            warnings += [*spent_twice(Policy(core.policy), core.quorum), *_counts_begin(new, token)]
            # Whoever goes on after a stop believes what is pinned alone.
            self._pin(new, warnings, token)
            # From here on the old shares may go: what is left of the key is in this.
            save(new)
            removed, faults = self.core.finish_renewal(half)
        except _core.CoreError as e:
            raise refusal(translate(e), token) from None
        new.warnings = tuple(warnings)
        return Renewal(new, new.receipts, new.warnings, culprits(faults), removed, salt, left_out=left_out(new, token))

    def reshare(self, token: Token, changes: Changes, trust_token: bool) -> Healed:
        check_put_together(token)
        # The new token is pinned on our word, since we open the old one: that must not launder a stranger's.
        token.require_pinned("mint anew", trust_token)
        return self._reshare(token, reshare(self.agents, token, changes))

    def _reshare(
        self, token: Token, order: Reshare, header: bytes | None = None, settled: Settled | None = None
    ) -> Healed:
        try:
            core, receipts, warnings, faults, salt, unproven = self.core.reshare(token.core, *order, header, settled)
        except _core.CoreError as e:
            raise refusal(translate(e), token) from None
        new = Token(core, "created", tuple(map(Receipt, receipts)))
        warnings = [*warnings, *shared_seats(order.seats), *spent_twice(Policy(core.policy), core.quorum)]
        warnings += _counts_begin(new, token)
        self._pin(new, warnings, token)
        new.warnings = tuple(warnings)
        why = None if unproven is None else translate(unproven)
        return Healed(new, new.receipts, new.warnings, culprits(faults), salt, why)

    def repair(
        self, token: Token, seat: str, holder: str, even_if_it_sits: bool, settled: Settled | None = None
    ) -> Healed:
        check_sits_once(token, even_if_it_sits)
        # Of such keys, agents have only so many repairs of one caller under way.
        waits = contextlib.nullcontext() if token.model == "regen" else self._repairing
        try:
            with waits:
                core, receipts, warnings, faults, salt, _ = self.core.repair(
                    token.core, seat, holder, even_if_it_sits, settled
                )
        except _core.CoreError as e:
            raise refusal(translate(e), token) from None
        new = Token(core, token.pinned, tuple(map(Receipt, receipts)), tuple(warnings))
        return Healed(new, new.receipts, new.warnings, culprits(faults), salt)

    def check(self, token: Token, opening: bool, settled: Settled | None = None) -> Check:
        try:
            rows, failure, receipts, salt = self.core.check(token.core, opening, settled)
        except _core.CoreError as e:
            raise translate(e) from None
        seats = tuple(SeatCheck(*row) for row in rows)
        found = Check(seats, opening and failure is None, tuple(map(Receipt, receipts)), salt)
        if failure is not None:
            # What the seats said is what whoever reads the error wants to know next.
            raised = translate(failure)
            raised.check = found
            raise raised
        return found

    def retire(self, token: Token, settled: Settled | None = None) -> Retirement:
        try:
            dead, rows, receipts, salt = self.core.retire(token.core, settled)
        except _core.CoreError as e:
            raise refusal(translate(e), token) from None
        return Retirement(dead, tuple(RetiredSeat(*row) for row in rows), tuple(map(Receipt, receipts)), salt)

    def planned(
        self, asked: Request, approvals: Iterable[Approval], save: Callable[[Token], None] | None = None
    ) -> Check | Healed | Renewal | Retirement:
        """What was requested of a token as a whole, with what people have approved."""
        token, settled = asked.token, ([approval.data for approval in approvals], [asked.salt])
        if asked.action == "open":
            return self.check(token, True, settled)
        if asked.action == "retire":
            return self.retire(token, settled)
        if asked.action == "repair":
            ((seat, holder),) = asked.seats.items()
            return self.repair(token, seat, _planned.name_of(self.agents, holder), asked.crowded, settled)
        order = Reshare(None, _planned.names(self.agents, asked.seats), None, True, None)
        if token.model != "regen":
            if save is None:
                raise error("bad-input", "new shares have a token that is saved before old ones go", "Give `save`.")
            with once(self.home.root, asked) as mint:

                def save_dealt(new: Token) -> None:
                    mint.dealt = True
                    save(new)

                return self._renew(token, save_dealt, None, order, asked.content, settled)
        token.require_pinned("mint anew")
        with once(self.home.root, asked):
            return self._reshare(token, order, asked.content, settled)

    def order(self, command: OrderCommand, tokens: Sequence[Token]) -> OrderResult:
        try:
            settled, rows, others, receipts = self.core.order([token.core for token in tokens], command)
        except _core.CoreError as e:
            raise translate(e) from None
        return OrderResult(
            command,
            settled,
            tuple(OrderedSeat(*row) for row in rows),
            tuple(OrderedAgent(*row) for row in others),
            tuple(map(Receipt, receipts)),
        )

    def serving(self) -> dict[str, Any]:
        if self.reconstructor is None:
            raise error(
                "not-found",
                "no reconstructor works for this home: its operations are done in this very process",
                "Put a [reconstructor] into the quorum file, as `evanesce reconstructor show` prints it.",
            )
        try:
            return self.core.serving()
        except _core.CoreError as e:
            raise translate(e) from None

    def grant(self, token: Token, delegate: str, actions: Iterable[str], expires: float, more: More) -> Grant:
        chosen = (actions,) if isinstance(actions, str) else tuple(actions)
        wanted = more.get("suites")
        return sign_grant(
            self._identity,
            token.id,
            parse_id(delegate),
            chosen,
            token.suites if wanted is None else tuple(wanted),
            expires,
            # Agents' clocks may be behind.
            not_before=more.get("not_before", time.time() - 60),
            count=more.get("count"),
            bounds=tuple(more.get("bounds", ())),
            further=more.get("further", False),
            under=more.get("under"),
        )

    def revoke_grant(self, grant: Grant) -> tuple[RevokedAt, ...]:
        try:
            own = next(
                (p for p, at in zip(grant.parts, grant.links, strict=True) if at.grantor == self.core.caller_id.hex()),
                None,
            )
            if own is None:
                raise error("grant-invalid", "this grant is not yours to revoke", "Its grantor revokes it.")
            rows = self.core.revoke_grant(_core.grant_revoke(self._identity, own))
        except _core.CoreError as e:
            raise translate(e) from None
        return tuple(RevokedAt(*row) for row in rows)

    def status(self) -> tuple[AgentStatus, ...]:
        try:
            return tuple(AgentStatus(*row) for row in self.core.status())
        except _core.CoreError as e:
            raise translate(e) from None


def _counts_begin(new: Token, old: Token) -> list[str]:
    """A warning where agents count the uses of a new token that have not counted those of the old one."""
    held = {seat.holder_id for seat in old.seats}
    fresh = ", ".join(seat.name for seat in new.seats if seat.holder_id not in held)
    if not fresh or not new.policy or not _core.Policy(new.policy).limits(None):
        return []
    return [f"{fresh}: did not hold the old token: limits begin at nothing there"]


def connect(
    home: Home,
    identity: str | os.PathLike[str] | None,
    agents: str | os.PathLike[str] | Sequence[Agent] | None,
    deadline: float | None,
    verify_before_release: bool,
    grant: Grant | None,
) -> Connection | EvanesceError:
    """A client's connection; or why there is none, for a home that has PKCS#11 tokens and no agents."""
    try:
        return Connection(home, identity, agents, deadline, verify_before_release, grant)
    except EvanesceError as e:
        # Whoever said who asks, or whom, is to hear of it.
        chosen = identity is not None or agents is not None
        if not chosen and lacks_agents_only(home, e):
            return e
        raise


def lacks_agents_only(home: Home, e: EvanesceError) -> bool:
    """Whether a home has no agents to connect to, and PKCS#11 tokens instead."""
    return home.modules.exists() and e.code in ("identity", "not-found")


def milliseconds(seconds: float) -> int:
    """A deadline, as the core takes it. Raises `bad-input` for less than a millisecond or more than ten
    minutes."""
    if not 0.001 <= seconds <= 600:
        raise error("bad-input", f"a deadline of {seconds} seconds makes no sense", "Use 0.001 to 600 seconds.")
    return max(1, round(seconds * 1000))
