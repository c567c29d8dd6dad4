"""Waiting for a request's people and agents, until it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from evanesce import Check, Healed, Mac, Renewal, Retirement, Secret, Signature, Token, _planned
from evanesce._requests import Given, Kept
from evanesce._text import printable, short
from evanesce.approvals import Request
from evanesce.cli._app import App
from evanesce.client import Client
from evanesce.errors import EvanesceError, error, exit_status
from evanesce.results import SeatCheck

LOOK = 0.5
"""Seconds between two looks at a request's folder."""

AGAIN = 2.0
"""Seconds until agents that were away are asked again; and those that refused, at first."""

SELDOM = 60.0
"""Seconds, at most, between two times that agents are asked which refuse: they log it each time."""

Done = Signature | Mac | Secret | Check | Healed | Renewal | Retirement


def perform(
    app: App,
    client: Client,
    kept: Kept,
    grantors: frozenset[str],
    until: float,
    newest: Callable[[Kept], Kept] = lambda kept: kept,
    save: Callable[[Token], None] | None = None,
) -> tuple[Done, list[str]]:
    """Does what was requested as soon as the agents let it, and says who had approved. Whenever there is a new approval
    they are asked, and now and then without one; each time about what `newest` makes of the request. Raises
    `not-approved` at `until` (monotonic), and what `newest` does."""
    tried: frozenset[str] = frozenset()
    due, pause, said = time.monotonic(), AGAIN, ""
    while True:
        counting = kept.counting(grantors)
        ids = frozenset(one.approval.id for one in counting)
        if ids - tried:
            due, pause = time.monotonic(), AGAIN
        if time.monotonic() >= due:
            tried, kept = ids, newest(kept)
            people = ", ".join(map(who, counting)) or "nobody"
            try:
                # To retire takes no sufficient set: each holder that does it counts.
                if kept.request.action != "retire":
                    _enough_agents(client, kept.request)
                done = client.perform(kept.request, [one.approval for one in counting], save=save)
                return done, [one.name or one.approval.approver for one in counting]
            except EvanesceError as e:
                # Asking again takes nothing away: an agent takes an approval once, whatever became of its answer.
                if e.code not in _NOT_YET:
                    raise
                refusal = e
            missing = exit_status(refusal) == 2
            why = _why(refusal)
            word = f"Not yet: approved by {people}{_granted(kept, grantors)}{why}."
            if word != said:
                app.say(word)
            said = word
            due = time.monotonic() + pause
            pause = min(2 * pause, SELDOM) if missing else AGAIN
        if time.monotonic() >= until:
            if not missing:
                raise refusal
            raise error(
                "not-approved",
                f"not enough people have approved request {kept.request.id} in time{why}",
                "`evanesce requests` shows who has; wait again.",
                refusal.culprits,
            )
        time.sleep(LOOK)


_NOT_YET = frozenset({"refused", "quorum-not-met", "overloaded", "reconstructor"})
"""What may be otherwise later: people, agents or the reconstructor are missing."""


def _granted(kept: Kept, grantors: frozenset[str]) -> str:
    given = [one for one in kept.given() if one.approval.approver in grantors]
    names = sorted({printable(one.name) or short(one.approval.approver) for one in given})
    return f", without {', '.join(names)}: whoever grants this cannot approve it" if names else ""


def _why(refusal: EvanesceError) -> str:
    # Where every agent that failed has said no, it is people who are missing, and an agent's words say what for.
    if exit_status(refusal) == 2:
        return f": {printable(refusal.culprits[0].detail)}" if refusal.culprits else ""
    return f": {printable(refusal.message)}"


def _enough_agents(client: Client, asked: Request) -> None:
    """Raises `quorum-not-met` before any approval is spent, where too few agents are there to make use of it."""
    token, seats = asked.token, client.check(asked.token).seats
    failed = {number: seat for number, seat in enumerate(seats) if not seat.ok}
    if asked.action == "reshare" and token.model != "regen":
        missing = _holders_missing(client, asked, failed)
    else:
        live = [number for number in range(len(seats)) if number not in failed]
        missing = [] if token.core.sufficient(live) else [*map(_words, failed.values())]
    if missing:
        raise error(
            "quorum-not-met",
            f"too few agents are there: {', '.join(missing)}; no approval was spent",
            "Start or reach them, then wait again.",
        )


def _holders_missing(client: Client, asked: Request, failed: Mapping[int, SeatCheck]) -> list[str]:
    """Whom new shares wait for: all take part who are to hold them, and nobody else."""
    token, to_hold = asked.token, set(asked.seats.values())
    staying = {number for number, seat in enumerate(token.seats) if seat.holder_id in to_hold}
    # Of those that give a key away enough need their shares; where all renew theirs, each does.
    if not _planned.gives_away(asked) or not token.core.sufficient([*staying - failed.keys()]):
        return [_words(seat) for number, seat in failed.items() if number in staying]
    silent = [agent for agent in client.status() if agent.id in to_hold and agent.report is None]
    return [f"{printable(agent.name)} ({printable(agent.problem)})" for agent in silent]


def _words(seat: SeatCheck) -> str:
    return f"{printable(seat.seat)} ({seat.verdict})"


def who(one: Given) -> str:
    """An approver, and until when or why not."""
    name = printable(one.name) or short(one.approval.approver)
    return f"{name} ({printable(one.problem)})" if one.problem else f"{name} until {clock(one.approval.expires)}"


def clock(seconds: int) -> str:
    """Unix seconds, as people here read them."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
