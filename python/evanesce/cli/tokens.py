"""`evanesce inspect`, `check` and `public-key`: looking at tokens."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict

import click
from rich.table import Table

from evanesce import EvanesceError, Token
from evanesce._text import grouped, printable
from evanesce.approvals import Request
from evanesce.cli import _io, _options
from evanesce.cli._app import App, Stopwatch, base64_text, name_of, named, verb
from evanesce.cli._ask import ask_options, check_asked, publish
from evanesce.cli._finish import check_free
from evanesce.cli._report import report_check
from evanesce.cli.identity import own_id
from evanesce.cli.key import day
from evanesce.errors import error
from evanesce.home import read_agents


def register(root: click.Group) -> None:
    """Adds these verbs."""
    verb(root)(inspect)
    verb(root)(check)
    verb(root, "public-key")(public_key)


@_options.token_argument
def inspect(app: App, token: str, pin: str | None, trust_token: bool) -> None:
    """Show all that a token says, with fingerprints.

    Offline. It proves nothing about whose the token is.
    """
    loaded = app.token(token, pin, trust_token)
    try:
        agents = read_agents(app.home.quorum)
    except EvanesceError:
        agents = ()
    fingerprints = {suite: hashlib.sha256(spki).hexdigest() for suite, spki in loaded.core.public.items()}
    expired = loaded.expires is not None and time.time() >= loaded.expires
    if app.json:
        app.emit(_document(loaded, fingerprints, expired))
        return
    seats = [(seat.name, name_of(agents, seat.holder_id), seat.epoch) for seat in loaded.seats]
    _print(app, loaded, fingerprints, expired, seats)


MODELS = {
    "regen": "regen: put together for one operation",
    "regen-mpc": "regen-mpc: never put together, its shares regenerated",
    "mpc": "mpc: never put together, its shares kept by their holders",
}


def _document(token: Token, fingerprints: dict[str, str], expired: bool) -> dict[str, object]:
    return {
        "token": token.id,
        "name": token.name,
        "key": token.key_id,
        "model": token.model,
        "suites": list(token.suites),
        "quorum": token.quorum,
        "policy": token.policy,
        "created": token.created,
        "expires": token.expires,
        "expired": expired,
        "replaces": token.replaces,
        "imported": token.imported,
        "pinned": token.pinned,
        "bytes": len(token.encode()),
        "public": {
            suite: {"spki": base64_text(token.core.public[suite]), "sha256": fingerprint}
            for suite, fingerprint in fingerprints.items()
        },
        "seats": [asdict(seat) for seat in token.seats],
    }


def _print(
    app: App, token: Token, fingerprints: dict[str, str], expired: bool, seats: list[tuple[str, str, int]]
) -> None:
    expires = "never" if token.expires is None else day(token.expires) + (" (expired)" if expired else "")
    why = {
        None: "no: nothing here says that it is the right one",
        "created": "created here",
        "kept": "yes, kept in this home folder",
        "given": "yes, by the id given",
        "trusted": "no, but trusted as told",
    }
    lines = [
        ("name", printable(token.name)),
        ("token id", grouped(token.id)),
        ("pinned", why[token.pinned]),
        ("key id", grouped(token.key_id)),
        ("model", MODELS[token.model]),
        ("suites", ", ".join(token.suites) + (" (imported key)" if token.imported else "")),
        ("quorum", token.quorum),
        ("created", day(token.created)),
        ("expires", expires),
    ]
    if token.replaces:
        lines.append(("replaces", grouped(token.replaces)))
    lines.append(("size", f"{len(token.encode())} bytes, public"))
    for suite, fingerprint in fingerprints.items():
        lines.append((f"{suite} public key", f"SHA-256 {grouped(fingerprint)}"))
    width = max(len(label) for label, _ in lines) + 2
    for label, value in lines:
        click.echo(f"{label:<{width}}{value}")
    click.echo("policy" + " " * (width - 6) + ("none: every caller the agents know" if not token.policy else ""))
    for line in printable(token.policy, lines=True, limit=None).splitlines():
        click.echo(f"  | {line}")
    table = Table("seat", "holder", "epoch")
    for seat, holder, epoch in seats:
        table.add_row(printable(seat), printable(holder), str(epoch))
    app.out.print(table)


@_options.token_argument
@click.option("--open", "opening", is_flag=True, help="Also regenerate once and check the anchor.")
@click.option("--grant", metavar="FILE", help="With --open: in its grantor's place.")
@ask_options
@_options.deadline_option
def check(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    opening: bool,
    grant: str | None,
    ask: bool,
    word: str,
    folder: str | None,
    deadline: int | None,
) -> None:
    """Ask every seat whether it can do its part.

    That is, regenerate its share; nothing is released.

    Exits 0 when all can, 1 when some cannot be reached, 2 when some cannot or will not. With --open and no
    opening, as any operation that fails so.
    """
    if (ask or grant is not None) and not opening:
        raise error("usage", "only an opening is asked for, or granted", "Say --open.")
    check_asked(ask, word, folder, {"--deadline": deadline})
    loaded = app.token(token, pin, trust_token)
    under = None if grant is None else app.grant(grant, loaded)
    if ask:
        made = Request.to_open(loaded, own_id(app), word=word)
        place = None if token == "-" else app.token_path(token)
        app.emit(publish(app, made, folder, under, place))
        return
    watch = Stopwatch()
    failure = None
    with app.working("asking every seat"), app.client(deadline, under) as client:
        try:
            found = client.check(loaded, open=opening)
        except EvanesceError as e:
            if e.check is None:
                raise
            found, failure = e.check, e
    report_check(app, loaded, found, failure, watch)


@_options.token_argument
@click.option("--suite", metavar="SUITE", help="Which of the token's suites, where several have a public key.")
@click.option("--form", type=click.Choice(["pem", "der"]), default="pem", show_default=True)
@click.option("--out", metavar="FILE", help="Write it there. [default: stdout]")
@_options.force_option
def public_key(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    suite: str | None,
    form: str,
    out: str | None,
    force: bool,
) -> None:
    """Print a public key (SubjectPublicKeyInfo). Offline; the token must be pinned."""
    check_free([out], force)
    loaded = app.key(token, pin, trust_token)
    chosen = suite or loaded.suite_for("public-key")
    der = loaded.public_key(chosen, form="der")
    value = der if form == "der" else loaded.public_key(chosen, form="pem")
    written = _io.write_public(app, value, out, "raw", force)
    app.emit(
        {
            **named(loaded),
            "suite": chosen,
            "spki": base64_text(der),
            "sha256": hashlib.sha256(der).hexdigest(),
            "written": written,
        }
    )
