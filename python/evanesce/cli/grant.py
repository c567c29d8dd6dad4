"""`evanesce grant`: letting another caller ask in one's place, within bounds, and taking it back."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from evanesce import Bound, EvanesceError, Grant, Policy, Token
from evanesce._grants import Grants
from evanesce._text import printable, short
from evanesce.cli import _options
from evanesce.cli._app import App, verb
from evanesce.cli._finish import check_free
from evanesce.cli.key import day, moment
from evanesce.errors import error

_RANGE = re.compile(r"([^<>=]+)(<=|>=)([0-9]{1,16})")
_AMONG = re.compile(r"([^<>=]+)=(.+)", re.DOTALL)
_MOST = 2**53 - 1


def register(root: click.Group) -> None:
    """Adds this group."""
    root.add_command(grant)


@click.group()
def grant() -> None:
    """Let another caller ask in your place, for one key and within bounds; and take it back.

    The token's policy must say that it may be delegated. Whoever is granted something holds no key material.
    """


@verb(grant)
@_options.token_argument
@click.option("--to", "delegate", metavar="ID", required=True, help="The caller that may ask: its caller id.")
@click.option(
    "--action", "actions", metavar="ACTION", multiple=True, required=True, help="sign, mac, …; may be repeated."
)
@click.option(
    "--suite", "suites", metavar="SUITE", multiple=True, help="May be repeated. [default: all of the token's]"
)
@click.option("--bound", "bounds", metavar="BOUND", multiple=True, help="amount<=100, amount>=1, to.name=alice|bob")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Operations that each agent permits under it.")
@click.option("--expires", metavar="WHEN", required=True, help="8h, 90d, 2030-01-31T12:00Z, or Unix seconds.")
@click.option("--not-before", metavar="WHEN", help="[default: now]")
@click.option("--further", is_flag=True, help="It may be passed on, once.")
@click.option("--under", metavar="FILE", help="Pass on this grant.")
@click.option("--out", metavar="FILE", required=True, help="The grant's file. It is public.")
@_options.force_option
def create(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    delegate: str,
    actions: tuple[str, ...],
    suites: tuple[str, ...],
    bounds: tuple[str, ...],
    count: int | None,
    expires: str,
    not_before: str | None,
    further: bool,
    under: str | None,
    out: str,
    force: bool,
) -> None:
    """Grant, in a file for the delegate. No agent is asked; each judges it when it is used.

    A copy is kept in the home folder, by which it can be revoked.
    """
    check_free([out], force)
    loaded = app.token(token, pin, trust_token)
    now = time.time()
    with app.client() as client:
        made = client.grant(
            loaded,
            delegate,
            actions,
            moment(expires, now),
            suites=suites or loaded.suites,
            bounds=_bounds(bounds),
            count=count,
            not_before=now - 60 if not_before is None else moment(not_before, now),
            further=further,
            under=None if under is None else Grant.load(under),
        )
    # First: what is given can be taken back.
    Grants(app.home.grants).keep(made)
    made.save(out, force=force)
    app.emit({"file": out, "grant": made.last.id, "links": [asdict(link) for link in made.links]})
    app.say(f"Granted, in {printable(out)}: id {made.last.id}.", "green")
    if not Policy(loaded.policy).delegable:
        app.say("The token's policy lets nobody delegate (@delegable): no agent will take this.", "yellow")


@verb(grant, "list")
def list_(app: App) -> None:
    """List the grants that were given from this home folder. Asks no agent: it does not say which were revoked."""
    found = Grants(app.home.grants).all()
    app.emit({"grants": [_listed(path, one) for path, one in found]})
    if app.json:
        return
    if not found:
        app.say(f"No grants in {app.home.grants}.")
        return
    table = Table("id", "token", "to", "actions", "until")
    now = time.time()
    for path, one in found:
        if isinstance(one, Grant):
            last = one.last
            ended = " (ended)" if last.expires <= now else ""
            row = (short(last.id), short(last.token), short(last.delegate), ", ".join(last.actions))
            table.add_row(*map(printable, row), day(last.expires) + ended)
        else:
            table.add_row(printable(short(path.stem)), "", "", printable(one.message), "", style="red")
    app.out.print(table)


def _listed(path: Path, found: Grant | EvanesceError) -> dict[str, object]:
    if isinstance(found, EvanesceError):
        return {"file": str(path), "error": found.as_dict()}
    return {"file": str(path), **asdict(found.last)}


@verb(grant)
@click.argument("reference", metavar="FILE-OR-ID")
def show(app: App, reference: str) -> None:
    """Say what the grant in a file, or one given here by its id, lets whom do.

    Offline; who the people are is yours to know.
    """
    found = Grants(app.home.grants).find(reference)
    app.emit({"links": [asdict(link) for link in found.links]})
    if app.json:
        return
    table = Table("", *(f"grant {place}" for place in range(1, len(found.links) + 1)))
    rows = {
        "id": [short(link.id) for link in found.links],
        "token": [short(link.token) for link in found.links],
        "from": [short(link.grantor) for link in found.links],
        "to": [short(link.delegate) for link in found.links],
        "actions": [", ".join(link.actions) for link in found.links],
        "suites": [", ".join(link.suites) for link in found.links],
        "payload": [", ".join(map(str, link.bounds)) or "any" for link in found.links],
        "count": ["unbounded" if link.count is None else f"{link.count} at each agent" for link in found.links],
        "from when": [day(link.not_before) for link in found.links],
        "until": [day(link.expires) for link in found.links],
        "may be passed on": ["yes" if link.further else "no" for link in found.links],
    }
    for name, cells in rows.items():
        table.add_row(name, *map(printable, cells))
    app.out.print(table)


@verb(grant)
@click.argument("reference", metavar="FILE-OR-ID")
@_options.deadline_option
def revoke(app: App, reference: str, deadline: int | None) -> None:
    """Have every agent refuse a grant that you gave. Exits 0 once it is dead, 1 while too few have heard.

    It is named by its file, or by its id or 8 hex digits or more of that, where `evanesce grant list` shows it.
    What was passed on under it ends with it.
    """
    found = Grants(app.home.grants).find(reference)
    with app.working("telling the agents"), app.client(deadline) as client:
        answers = client.revoke_grant(found)
        # Of a chain it is the caller's own link that ends, and with it what was passed on.
        own = next(link.id for link in found.links if link.grantor == client.caller_id)
    token = _token(app, found.token)
    revoked = {answer.agent_id for answer in answers if not answer.reason}
    dead = None if token is None else _blocked(token, revoked)
    app.emit({"grant": own, "dead": dead, "agents": [asdict(answer) for answer in answers]})
    if not app.json:
        table = Table("agent", "answer")
        for answer in answers:
            table.add_row(*map(printable, (answer.agent, answer.reason or "revoked")))
        app.out.print(table)
    if dead:
        app.say("It is dead: no sufficient set of seats takes it any more.", "green")
        return
    if dead is None and len(revoked) == len(answers):
        app.say("Every agent of the quorum file has revoked it.", "green")
        return
    why = "the token is not in the home folder" if dead is None else "other agents could still suffice"
    app.say(f"It may not be dead yet: {why}. Those that have peers learn it from them; else ask again.", "yellow")
    raise click.exceptions.Exit(1)


def _token(app: App, wanted: str) -> Token | None:
    """The token of that id in the home folder."""
    for path in sorted(app.home.tokens.glob("*.regen")):
        try:
            token = Token.load(path, home=app.home.root)
        except EvanesceError:
            continue
        if token.id == wanted:
            return token
    return None


def _blocked(token: Token, revoked: set[str]) -> bool:
    """Whether no sufficient set remains without the agents that have revoked."""
    live = [seat.holder_id not in revoked for seat in token.seats]
    losses, _ = token.core.margins(live, [])
    return losses == 0


def _bounds(given: Sequence[str]) -> list[Bound]:
    """From amount<=100, amount>=1, to.name=alice|bob. Raises `usage`."""
    ranges: dict[tuple[str, ...], tuple[int, int]] = {}
    bounds: list[Bound] = []
    for text in given:
        found = _RANGE.fullmatch(text)
        if found:
            at = tuple(found[1].strip().split("."))
            least, most = ranges.get(at, (0, _MOST))
            number = int(found[3])
            ranges[at] = (least, min(most, number)) if found[2] == "<=" else (max(least, number), most)
            continue
        listed = _AMONG.fullmatch(text)
        if not listed:
            raise error(
                "usage", f"--bound {printable(text)} is none", "As in amount<=100, amount>=1, to.name=alice|bob."
            )
        bounds.append(Bound(tuple(listed[1].strip().split(".")), among=tuple(listed[2].split("|"))))
    return [*(Bound(at, least, most) for at, (least, most) in ranges.items()), *bounds]
