"""`evanesce key refresh-shares`: new shares of a key that is never put together (docs/healing.md)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import click

from evanesce import Client, EvanesceError, OrderResult, Renewal, Token
from evanesce._heal import Changes
from evanesce._mint import Model
from evanesce._text import printable
from evanesce.approvals import Request
from evanesce.cli import _options
from evanesce.cli._app import App, verb
from evanesce.cli._ask import ask_options, check_asked, publish
from evanesce.cli._finish import check_free
from evanesce.cli._keep import keep, openings
from evanesce.cli._report import brought_json, exit_if_shares_stayed, warn_of, warn_of_left_out, when_to_revoke
from evanesce.cli.identity import own_id
from evanesce.cli.key import key, moment, policy_text, seats_of
from evanesce.errors import error
from evanesce.home import read_agents
from evanesce.tokens import Seat


def register(root: click.Group) -> None:
    """The verb is in the group `key`."""


@verb(key)
@_options.token_argument
@click.option("--out", metavar="FILE", help="Where the new token is written, before old shares go. Not with --ask.")
@click.option(
    "--model", type=click.Choice(["regen-mpc", "mpc"]), help="Where the new shares are to be. [default: as it is]"
)
@_options.quorum_options
@click.option("--policy", metavar="FILE", help="Other policies (- for stdin). [default: as they are]")
@click.option("--revoke-old", is_flag=True, help="Then have the old token revoked, for good.")
@ask_options
@_options.receipts_option
@_options.force_option
@_options.mint_deadline_option
def refresh_shares(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    out: str | None,
    model: str | None,
    quorum: str | None,
    seats: tuple[str, ...],
    policy: str | None,
    revoke_old: bool,
    ask: bool,
    word: str,
    folder: str | None,
    receipts: str | None,
    force: bool,
    deadline: int | None,
) -> None:
    """New shares of a key of model mpc or regen-mpc, for the same holders or others.

    The public key stays. With --model regen-mpc shares that are kept become shares that are not: the old ones are
    removed once all holders have signed that they have the new ones, and the new token is on disk. As many must sit in
    another quorum that hold shares as sign with the key; whoever does not sit there need not be there, and has a part
    in the key until the old token is revoked. With --ask, `evanesce wait` does it, and the new token takes the old
    one's place.
    """
    doing = {"--out": out, "--revoke-old": revoke_old, "--receipts": receipts, "--force": force, "--deadline": deadline}
    check_asked(ask, word, folder, doing)
    old = app.token(token, pin, trust_token)
    changes, chosen = changes_of(app, quorum, seats, policy), cast("Model | None", model)
    if ask:
        old.require_pinned("refresh the shares of", trust_token)
        agents = read_agents(app.home.quorum) if quorum or seats else ()
        made = Request.to_refresh_shares(old, own_id(app), chosen, agents=agents, word=word, **changes)
        app.emit(publish(app, made, folder, place=None if token == "-" else app.token_path(token)))
        return
    renew(app, old, out, chosen, changes, revoke_old, receipts, force, deadline)


def changes_of(
    app: App, quorum: str | None, seats: Sequence[str], policy: str | None, expires: str | None = None
) -> Changes:
    """What is to be different, from the options that say so."""
    changes = Changes()
    if quorum is not None:
        changes["quorum"] = quorum
    if seats:
        changes["seats"] = seats_of(seats)
    if policy is not None:
        changes["policy"] = policy_text(app, policy)
    if expires is not None:
        changes["expires"] = None if expires == "never" else moment(expires, time.time())
    return changes


def _revoked(app: App, client: Client, old: Token) -> OrderResult | None:
    """None, with a warning, where it is refused: what was renewed is to be reported all the same."""
    try:
        return client.revoke(old)
    except EvanesceError as e:
        app.warn([f"the old token was not revoked: {e.message}"])
        return None


def renew(
    app: App,
    old: Token,
    out: str | None,
    model: Model | None,
    changes: Changes,
    revoke_old: bool,
    receipts: str | None,
    force: bool,
    deadline: int | None,
) -> None:
    """Renews its shares, and says what came of it. Exits 1 while old shares may be kept, or the old token is not dead
    though it was to be."""
    if out is None:
        raise error("usage", "the new token needs a place before old shares go", "Give --out FILE.")
    check_free([out, receipts], force)
    with app.working(f"refreshing the shares of {printable(old.name)}"), app.client(deadline) as client:
        renewed = client.refresh_shares(old, Path(out), model, force=force, **changes)
        if receipts:
            keep(app, receipts, {"openings": openings(renewed.receipts, renewed.salt)}, force)
        order = _revoked(app, client, old) if revoke_old else None
        agents = client.agents
    new: Token = renewed.token
    revoked = order is not None and order.settled if revoke_old else None
    brought = brought_json(renewed)
    app.emit(
        {
            "token": new.id,
            "replaces": old.id,
            "model": new.model,
            "quorum": new.quorum,
            "file": out,
            "removed": renewed.removed,
            "revoked": revoked,
            "culprits": brought.pop("faults"),
            **brought,
        }
    )
    warn_of(app, renewed)
    app.say(f"Renewed {printable(new.name)}: {new.quorum}, {new.model}, the same public key.", "green")
    app.say(f"Token id {new.id}, written to {printable(out)}; {renewed.removed} old shares were removed.")
    warn_of_left_out(app, renewed.left_out if order is None else _not_told(old, renewed, order), agents)
    if revoked is not True:
        app.say(f"The old token {old.id} is not dead: evanesce key revoke it {when_to_revoke(renewed)}.")
    exit_if_shares_stayed(renewed)
    if revoked is False:
        raise click.exceptions.Exit(1)


def _not_told(old: Token, renewed: Renewal, order: OrderResult) -> list[Seat]:
    """Those left out whose old shares are of use yet: nobody's that is regenerated, once the old token is dead."""
    if order.settled and old.model != "mpc":
        return []
    missing = {seat.seat for seat in order.missing}
    return [seat for seat in renewed.left_out if seat.name in missing]
