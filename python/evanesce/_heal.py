"""What a reshare needs to be told, from what people say. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

from evanesce._mint import parse_quorum, seat_holders
from evanesce._text import printable
from evanesce.errors import EvanesceError, error
from evanesce.home import Agent
from evanesce.policy import Policy
from evanesce.results import Renewal
from evanesce.tokens import Seat, Token

FINISHED = "a renewal that was stopped is finished"

STAYED = f"{FINISHED}: old shares may still be at their holders, until the old token is dead"
"""Of keys whose holders keep shares: what nobody here knows must not be taken for done."""


SITS_ONCE = "a holder of a key that is never put together sits once"


class Changes(TypedDict, total=False):
    """What is to be different about a key that is minted anew; what is left out stays as the token has it. Name, suites
    and public keys never change."""

    quorum: str
    """As in `Terms`."""
    seats: Mapping[str, str]
    """Seat → agent name. A seat that is not named keeps its holder, or is held by its namesake where it is new."""
    policy: str
    """Cedar policies; they must let whoever reshares open (`Action::"open"`)."""
    expires: int | None
    """Unix seconds, or None for never."""


class Reshare(NamedTuple):
    """The core's arguments after the token, in its order."""

    quorum: str | None
    seats: dict[str, str]
    policy: str | None
    keep_expires: bool
    expires: int | None


def reshare(agents: Sequence[Agent], token: Token, changes: Changes) -> Reshare:
    """Raises `bad-input` with what is wrong and with the words that exist, before any agent is asked."""
    expires = _end(changes)
    text, names = parse_quorum(changes.get("quorum") or token.quorum)
    named = {agent.id: agent.name for agent in agents}
    # A holder that the quorum file does not have is named by its id, and refused as nobody's name.
    stays = {seat.name: named.get(seat.holder_id, seat.holder_id) for seat in token.seats if seat.name in names}
    seats = seat_holders(names, stays | dict(changes.get("seats") or {}), agents)
    return Reshare(text, seats, changes.get("policy"), "expires" not in changes, expires)


def new_shares(agents: Sequence[Agent], token: Token, changes: Changes) -> Reshare:
    """The same for a key that is never put together; with neither quorum nor seats, whoever its rows say keeps its
    seat. Who may hold shares of such a key, `check_seating` says, and the core."""
    if changes.get("quorum") or changes.get("seats"):
        if not agents:
            raise error("bad-input", "nothing says which agents there are to sit", "Give the quorum file's: agents=….")
        return reshare(agents, token, changes)
    return Reshare(None, {}, changes.get("policy"), "expires" not in changes, _end(changes))


def _end(changes: Changes) -> int | None:
    expires = changes.get("expires")
    if expires is not None and expires <= time.time():
        raise error("bad-input", "the key would have expired already", "Choose a later time.")
    return expires


def check_put_together(token: Token) -> None:
    """Raises `unfit-operation` for a key that no quorum can mint anew, since none ever has it."""
    if token.model != "regen":
        raise error(
            "unfit-operation",
            f"a token of kind {token.model} cannot be reshared this way: its key is never put together",
            "Use `refresh_shares(token, path)`: with `quorum` and `seats` it gives the key to another quorum and other "
            "holders, with neither it refreshes the shares.",
        )


def check_seating(token: Token, holders: Sequence[str]) -> None:
    """Raises `bad-input` unless these (agent ids, by seat) can be given new shares of a key that is never put together:
    each once, and enough of those who have shares now among them."""
    if len(set(holders)) < len(holders):
        raise error("bad-input", SITS_ONCE, "Give each seat to another agent.")
    staying = [number for number, seat in enumerate(token.seats) if seat.holder_id in holders]
    if not token.core.sufficient(staying):
        names = ", ".join(printable(token.seats[number].name) for number in staying) or "nobody"
        raise error(
            "bad-input",
            "as many of those who hold shares as sign with the key must sit in the new quorum; "
            f"of {token.quorum} that would be {names}",
            "Replace fewer at once.",
        )


def check_sits_once(token: Token, even_if_it_sits: bool) -> None:
    """Raises `bad-input` for a repair that would seat a holder of a key that is never put together twice."""
    if even_if_it_sits and token.model != "regen":
        raise error(
            "bad-input",
            SITS_ONCE,
            "Give the seat to an agent that has none.",
        )


def finished(new: Token, old: Token) -> Renewal:
    """What is known of a renewal that was stopped once its new token was saved, whatever it had done by then."""
    told = old.model != "mpc"
    warnings = [FINISHED if told else STAYED, *left_alone(new, old)]
    return Renewal(new, (), tuple(warnings), (), 0, told=told, left_out=left_out(new, old))


def left_out(new: Token, old: Token) -> tuple[Seat, ...]:
    """Seats of the old token whose holders have none in the new one."""
    sit = {seat.holder_id for seat in new.seats}
    return tuple(seat for seat in old.seats if seat.holder_id not in sit)


def left_alone(new: Token, old: Token) -> list[str]:
    """A warning where those who are left out need nobody else."""
    gone = left_out(new, old)
    if not old.core.sufficient([number for number, seat in enumerate(old.seats) if seat in gone]):
        return []
    return [f"{len(gone)} holders are left out at once: between them they have the key until they obey its revocation"]


def is_successor(new: Token, old: Token) -> bool:
    """Whether a token that a run which was stopped has left is of the same key, in the old one's place, and as believed
    as that one: whoever could write here could have the old one retired for a new one of their own."""
    believed = new.pinned is not None or old.pinned in (None, "trusted")
    return believed and has_same_key(new, old) and new.replaces == old.id


def has_same_key(new: Token, old: Token) -> bool:
    """Whether two tokens say that they are of one key."""
    return new.key_id == old.key_id and new.core.public == old.core.public


def asking(token: Token) -> str:
    """What to do where the token's policy may wait for approvals; empty where it does not look at them
    (docs/approvals.md)."""
    if not token.policy or not Policy(token.policy).looks_at_approvals:
        return ""
    return "If its policy waits for approvals, the same command with --ask asks people for them."


def refusal(e: EvanesceError, token: Token) -> EvanesceError:
    """The same error, with `asking` as well where it may be for want of approvals."""
    more = asking(token) if e.code in ("refused", "quorum-not-met") else ""
    return type(e)(e.code, e.message, f"{e.hint} {more}".strip(), e.culprits) if more else e
