"""What people can be asked to approve of a token as a whole: that it be opened, minted anew, repaired or retired.

The input digest covers of a reshare the new token's header (quorum, policy, suites, end, and what it replaces) and of a
repair the seat and the new holder's id (PROTOCOL §6). Who sits where in a new token is no part of a header: it stands
in the requester's words, which an approver signs and no agent can check; but of a key that is never put together the
digest covers that too. Pure: no I/O.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evanesce import _core
from evanesce._heal import Changes, Reshare, check_seating, check_sits_once, new_shares, reshare
from evanesce._mint import shared_seats, spent_twice
from evanesce._text import printable
from evanesce.errors import EvanesceError, error, translate
from evanesce.home import Agent
from evanesce.policy import Policy
from evanesce.tokens import Token

if TYPE_CHECKING:
    from evanesce.approvals import Request

ACTIONS = ("open", "reshare", "repair", "retire")
"""These have no suite, and no input but the plan."""

_LINE = 400
"""Bytes that quorum and list of holders may each take up in the requester's words; a longer one is named by digest."""

_HOLDER = re.compile(r"[0-9a-f]{64}")
"""One spelling: ids are compared as they are written."""


def header(agents: Sequence[Agent], token: Token, changes: Changes) -> tuple[bytes, dict[str, str], list[str]]:
    """The settled header of a new token, its seats (seat → agent id) and warnings. Raises `bad-input`, `policy`."""
    order = reshare(agents, token, changes)
    made, warnings = _settled(token, order)
    return made, _ids(agents, order), warnings


def renewal(
    agents: Sequence[Agent], token: Token, model: str | None, changes: Changes
) -> tuple[bytes, dict[str, str], list[str]]:
    """The same where the shares of a key that is never put together are renewed; its holders stay where nothing else is
    said."""
    order = new_shares(agents, token, changes)
    made, warnings = _settled(token, order, model)
    return made, _ids(agents, order) or {seat.name: seat.holder_id for seat in token.seats}, warnings


def _ids(agents: Sequence[Agent], order: Reshare) -> dict[str, str]:
    ids = {agent.name: agent.id for agent in agents}
    return {seat: ids[name] for seat, name in order.seats.items()}


def _settled(token: Token, order: Reshare, model: str | None = None) -> tuple[bytes, list[str]]:
    try:
        made, warnings = _core.settle_header(token.core, *order, int(time.time()), model)
    except _core.CoreError as e:
        raise translate(e) from None
    new = _core.read_header(made)
    return made, [*warnings, *shared_seats(order.seats), *spent_twice(Policy(new["policy"]), new["quorum"])]


def read(asked: Request) -> dict[str, Any]:
    """What the new token's header says (see `_core.read_header`). Raises `malformed`."""
    try:
        return _core.read_header(asked.content)
    except _core.CoreError as e:
        raise translate(e) from None


def parts(asked: Request) -> list[bytes]:
    """The inputs of its digest, in their order."""
    if asked.action == "reshare":
        holders = asked.seats.values() if asked.token.model != "regen" else ()
        return [read(asked)["deal"], *map(bytes.fromhex, holders)]
    if asked.action == "repair":
        ((seat, holder),) = asked.seats.items()
        number = [at.name for at in asked.token.seats].index(seat)
        return [number.to_bytes(4, "big"), bytes.fromhex(holder)]
    return []


def gives_away(asked: Request) -> bool:
    """Whether it gives a key that is never put together to another quorum, or to other holders: all else renews the
    shares of those who have some (PROTOCOL §11)."""
    token = asked.token
    if asked.action != "reshare" or token.model == "regen":
        return False
    stay = dict(asked.seats) == {seat.name: seat.holder_id for seat in token.seats}
    return not stay or read(asked)["quorum"] != token.quorum


def words(asked: Request) -> str:
    """What is to happen, on one line, and the requester's own word."""
    if asked.action == "reshare":
        said = _anew(asked)
    elif asked.action == "repair":
        ((seat, holder),) = asked.seats.items()
        lost = next(at.holder_id for at in asked.token.seats if at.name == seat)
        said = f"give seat {seat}, lost by {lost[:16]}, to {holder}"
    elif asked.action == "retire":
        said = "have every holder tombstone it, for good"
    else:
        said = "regenerate the key once, and do nothing with it"
    return f"{said}. {asked.word}" if asked.word else said


def _anew(asked: Request) -> str:
    new, token = read(asked), asked.token
    end = "never expires" if new["expires"] is None else f"expires {new['expires']}"
    policy = f"policy SHA-256 {digest(new['policy'])}" if new["policy"] else "no policy"
    holders = ", ".join(f"{seat} {holder[:16]}" for seat, holder in asked.seats.items())
    how = "mint it anew"
    if token.model != "regen":
        how = f"give it new shares, model {new['model']} ({_same(new['model'] == token.model)})"
    return (
        f"{how}: quorum {_short(new['quorum'])} ({_same(new['quorum'] == token.quorum)}); "
        f"{policy} ({_same(new['policy'] == token.policy)}); {end} ({_same(new['expires'] == token.expires)}); "
        f"held by {_short(holders)}"
    )


def digest(text: str) -> str:
    """SHA-256 of a policy's or quorum's text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def _same(same: bool) -> str:
    return "as it is" if same else "another"


def _short(text: str) -> str:
    return text if len(text.encode()) <= _LINE else f"SHA-256 {digest(text)}"


def check(asked: Request) -> None:
    """Raises `bad-input` for what is no plan for this token, `unsupported` for what is not done so with a key that is
    never put together."""
    if asked.token.model != "regen" and asked.action not in ("reshare", "repair"):
        raise error(
            "unsupported",
            f"people cannot be asked to {asked.action} a token of model {asked.token.model}",
            "To end it is an order, which carries no approvals: `evanesce key revoke`.",
        )
    if asked.suite or asked.aad or asked.length or asked.shown:
        raise _wrong(f"to {asked.action} has no suite and no content of its own")
    if not all(_HOLDER.fullmatch(holder) for holder in asked.seats.values()):
        raise _wrong("a holder's id is 64 hex digits")
    if asked.crowded and asked.action != "repair":
        raise _wrong(f"to {asked.action} takes nobody a second time")
    token = asked.token
    if asked.action == "reshare":
        new = read(asked)
        theirs = (new["key"], new["name"], tuple(new["suites"]), new["replaces"])
        if theirs != (token.key_id, token.name, token.suites, token.id):
            raise _wrong("its new token is not one of this key that replaces this token")
        if (new["model"] == "regen") != (token.model == "regen"):
            raise _wrong("whether a key is ever put together does not change")
        if list(asked.seats) != new["seats"]:
            raise _wrong("it does not say who holds each seat of the new quorum")
        if token.model != "regen":
            check_seating(token, [*asked.seats.values()])
    elif asked.content:
        raise _wrong(f"to {asked.action} has no content")
    elif asked.action == "repair":
        if len(asked.seats) != 1 or not set(asked.seats) <= {at.name for at in token.seats}:
            names = ", ".join(printable(at.name) for at in token.seats)
            raise error("bad-input", "a request to repair is about one seat of its token", f"Its seats are {names}.")
        check_sits_once(token, asked.crowded)
    elif asked.seats:
        raise _wrong(f"to {asked.action} seats nobody")


def _wrong(why: str) -> EvanesceError:
    return error("bad-input", f"this request makes no sense: {why}", "Get it again from whoever made it.")


def name_of(agents: Sequence[Agent], holder: str) -> str:
    """What the quorum file calls an agent; its id where it does not, which is then refused as nobody's name."""
    return next((agent.name for agent in agents if agent.id == holder), holder)


def names(agents: Sequence[Agent], seats: Mapping[str, str]) -> dict[str, str]:
    """Seat → agent name."""
    return {seat: name_of(agents, holder) for seat, holder in seats.items()}
