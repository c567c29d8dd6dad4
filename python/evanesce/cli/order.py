"""`evanesce key revoke`, `freeze` and `thaw`: orders to every agent (docs/revocation.md)."""

from __future__ import annotations

import sys

import click
from rich.table import Table

from evanesce import OrderResult, Token
from evanesce._text import printable
from evanesce.cli import _options
from evanesce.cli._app import App, receipts_json, verb
from evanesce.cli._finish import check_free
from evanesce.cli._keep import keep, openings
from evanesce.cli.key import key
from evanesce.errors import error


def register(root: click.Group) -> None:
    """The verbs are in the group `key`."""


def _order_options(function: _options.F) -> _options.F:
    for decorator in (
        _options.deadline_option,
        _options.force_option,
        _options.receipts_option,
        click.option(
            "--also", "versions", metavar="FILE", multiple=True, help="An older copy of the token; may be repeated."
        ),
        _options.token_argument,
    ):
        function = decorator(function)
    return function


@verb(key)
@_order_options
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    versions: tuple[str, ...],
    yes: bool,
    receipts: str | None,
    force: bool,
    deadline: int | None,
) -> None:
    """Revoke a token, for good, at every agent that can be reached.

    By a signed order that each agent judges by the token's policy (the action is retire) and hands on to its peers, so
    that those that are away learn it when they return. Give older copies of the token with --also: every agent that
    holds a row in any of them counts. Exits 0 once the token is dead, 1 while agents are missing.
    """
    check_free([receipts], force)
    tokens = _read(app, token, pin, trust_token, versions)
    if not yes:
        if app.json or not sys.stdin.isatty():
            raise error("usage", "revoking cannot be undone", "Say --yes.")
        app.say(f"Token {tokens[0].id} ({printable(tokens[0].name)}) will never be opened again.")
        if not click.confirm("Revoke it?", err=True):
            raise click.exceptions.Exit(1)
    with app.working("asking the agents to revoke it"), app.client(deadline) as client:
        result = client.revoke(*tokens)
    _keep(app, result, receipts, force)
    _report(app, tokens[0], result, "It is dead: no sufficient set of seats remains.", "It is not dead yet")


@verb(key)
@_order_options
def freeze(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    versions: tuple[str, ...],
    receipts: str | None,
    force: bool,
    deadline: int | None,
) -> None:
    """Freeze a token at every agent that can be reached, until it is thawed.

    Judged and handed on as a revocation is. Exits 0 once no sufficient set of seats remains, 1 while agents are
    missing.
    """
    check_free([receipts], force)
    tokens = _read(app, token, pin, trust_token, versions)
    with app.working("asking the agents to freeze it"), app.client(deadline) as client:
        result = client.freeze(*tokens)
    _keep(app, result, receipts, force)
    _report(app, tokens[0], result, "It is frozen: no sufficient set of seats answers.", "It is not frozen yet")


@verb(key)
@_order_options
def thaw(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    versions: tuple[str, ...],
    receipts: str | None,
    force: bool,
    deadline: int | None,
) -> None:
    """Take back a freeze, at every agent that can be reached.

    Exits 0 once a sufficient set of seats answers again, 1 while agents are missing. What was revoked stays so.
    """
    check_free([receipts], force)
    tokens = _read(app, token, pin, trust_token, versions)
    with app.working("asking the agents to thaw it"), app.client(deadline) as client:
        result = client.thaw(*tokens)
    _keep(app, result, receipts, force)
    _report(app, tokens[0], result, "It is thawed: a sufficient set of seats answers.", "It is not thawed yet")


def _read(app: App, token: str, pin: str | None, trust_token: bool, versions: tuple[str, ...]) -> list[Token]:
    loaded = app.token(token, pin, trust_token)
    # The same id is the same token: whoever believes one believes all.
    return [loaded, *(app.token(version, loaded.id) for version in versions)]


def _keep(app: App, result: OrderResult, receipts: str | None, force: bool) -> None:
    if receipts:
        keep(app, receipts, {"openings": openings(result.receipts)}, force)


def _report(app: App, token: Token, result: OrderResult, settled: str, not_yet: str) -> None:
    fields = ("holder", "verdict", "detail")
    seats = [{"seat": seat.seat} | {field: getattr(seat, field) for field in fields} for seat in result.seats]
    others = [{field: getattr(other, field) for field in fields} for other in result.others]
    app.emit(
        {
            "token": token.id,
            "command": result.command,
            "settled": result.settled,
            "seats": seats,
            "others": others,
            "receipts": receipts_json(result.receipts),
        }
    )
    if not app.json:
        table = Table("seat", "holder", "answer")
        for seat in seats:
            answer = f"{seat['verdict']}: {seat['detail']}" if seat["detail"] else seat["verdict"]
            table.add_row(*map(printable, (seat["seat"], seat["holder"], answer)))
        app.out.print(table)
    for other in result.others:
        what = f"{printable(other.verdict)} {printable(other.detail)}"
        app.say(f"{printable(other.holder)}, which holds no seat, has not heard it: {what}", "yellow")
    if result.settled:
        app.say(settled, "green")
        return
    missing = ", ".join(dict.fromkeys(printable(seat.holder) for seat in result.missing))
    again = "Agents that name those that obeyed among their peers learn it from them when they return; or ask again."
    app.say(f"{not_yet}: {missing} did not obey. {again}", "yellow")
    raise click.exceptions.Exit(1)
