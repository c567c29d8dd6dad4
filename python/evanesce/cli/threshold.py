"""`evanesce key refresh-shares`: new shares of a key that is never put together (docs/threshold-api.md)."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from evanesce import Token
from evanesce._heal import Changes
from evanesce._mint import Model
from evanesce._text import printable
from evanesce.approvals import Request
from evanesce.cli import _options
from evanesce.cli._app import App, verb
from evanesce.cli._ask import ask_options, check_asked, publish
from evanesce.cli._finish import check_free
from evanesce.cli._keep import keep, openings
from evanesce.cli._report import brought_json, exit_if_shares_stayed, warn_of
from evanesce.cli.identity import own_id
from evanesce.cli.key import key, policy_text
from evanesce.errors import error


def register(root: click.Group) -> None:
    """The verb is in the group `key`."""


@verb(key)
@_options.token_argument
@click.option("--out", metavar="FILE", help="Where the new token is written, before old shares go. Not with --ask.")
@click.option(
    "--model", type=click.Choice(["regen-mpc", "mpc"]), help="Where the new shares are to be. [default: as it is]"
)
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
    policy: str | None,
    revoke_old: bool,
    ask: bool,
    word: str,
    folder: str | None,
    receipts: str | None,
    force: bool,
    deadline: int | None,
) -> None:
    """New shares of a key of model mpc or regen-mpc, for the same holders.

    The public key stays. With --model regen-mpc shares that are kept become shares that are not: the old ones are
    removed once all holders have signed that they have the new ones, and the new token is on disk. With --ask,
    `evanesce wait` does it, and the new token takes the old one's place.
    """
    old = app.token(token, pin, trust_token)
    changes, chosen = Changes(), cast("Model | None", model)
    if policy is not None:
        changes["policy"] = policy_text(app, policy)
    doing = {"--out": out, "--revoke-old": revoke_old, "--receipts": receipts, "--force": force, "--deadline": deadline}
    check_asked(ask, word, folder, doing)
    if ask:
        old.require_pinned("refresh the shares of", trust_token)
        made = Request.to_refresh_shares(old, own_id(app), chosen, word=word, **changes)
        app.emit(publish(app, made, folder, place=None if token == "-" else app.token_path(token)))
        return
    if out is None:
        raise error("usage", "the new token needs a place before old shares go", "Give --out FILE.")
    check_free([out, receipts], force)
    with app.working(f"refreshing the shares of {printable(old.name)}"), app.client(deadline) as client:
        renewed = client.refresh_shares(old, Path(out), chosen, force=force, **changes)
        revoked = client.revoke(old).settled if revoke_old else None
    new: Token = renewed.token
    if receipts:
        keep(app, receipts, {"openings": openings(renewed.receipts, renewed.salt)}, force)
    brought = brought_json(renewed)
    app.emit(
        {
            "token": new.id,
            "replaces": old.id,
            "model": new.model,
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
    if revoked is not True:
        app.say(f"The old token {old.id} is not dead: evanesce key revoke it when nothing uses it any more.")
    exit_if_shares_stayed(renewed)
    if revoked is False:
        raise click.exceptions.Exit(1)
