"""`evanesce key`: minting, importing, listing and retiring keys. Healing them is in `heal`."""

from __future__ import annotations

import datetime
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import click
from rich.table import Table

from evanesce import Client, EvanesceError, Policy, Terms, Token, _files, suites
from evanesce._mint import Model, Source, Terminal
from evanesce._text import printable, short
from evanesce.approvals import Request
from evanesce.cli import _io, _options, custody
from evanesce.cli import _own as own
from evanesce.cli._app import App, Stopwatch, receipts_json, verb
from evanesce.cli._ask import ask_options, check_asked, publish
from evanesce.cli._finish import check_free
from evanesce.cli._keep import keep, openings
from evanesce.cli._report import report_retirement
from evanesce.cli.identity import own_id
from evanesce.custody import is_reference
from evanesce.errors import error

_SPAN = re.compile(r"([0-9]{1,6})([smhdwy])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def register(root: click.Group) -> None:
    """Adds this group."""
    custody.register(key)
    root.add_command(key)


@click.group()
def key() -> None:
    """Mint, import, heal, list and retire keys. A key is stored nowhere; its token is public.

    Keys that are kept otherwise are named by reference, as hsm:MODULE/LABEL.
    """


def _terms(function: _options.F) -> _options.F:
    for decorator in (
        _options.mint_deadline_option,
        _options.receipts_option,
        _options.force_option,
        click.option("--armor", is_flag=True, help="Write the token as text."),
        click.option("--out", metavar="FILE", help="The token file. [default: NAME.regen in the home's tokens]"),
        click.option("--replaces", metavar="ID", help="The token id that it supersedes; for people."),
        click.option("--expires", metavar="WHEN", help="90d, 2y, 2030-01-31, or Unix seconds."),
        click.option("--known", metavar="FILE", help="An agent's known.toml, as for `evanesce policy check`."),
        click.option("--policy", metavar="FILE", help="Cedar policies that every agent enforces (- for stdin)."),
        click.option("--seat", "seats", metavar="SEAT=AGENT", multiple=True, help="Who sits where."),
        click.option("--quorum", metavar="TEXT", help='"3 of (a, b, c, d)". [default: a majority of all agents]'),
        click.option("--kind", metavar="KIND", help="Of an hsm: key, such as rsa-4096, where a suite has several."),
        click.option("--for-backup", is_flag=True, help="Of an hsm: key: let it be backed up. Said now or never."),
        click.option("--suite", "wanted", metavar="SUITE", multiple=True, help="May be repeated."),
        click.argument("name"),
    ):
        function = decorator(function)
    return function


@verb(key)
@_terms
@click.option(
    "--model",
    type=click.Choice(["regen", "regen-mpc", "mpc"]),
    default="regen",
    help="How it is used: put together for one operation; or never, by shares that are regenerated, or kept. [regen]",
)
def create(
    app: App,
    name: str,
    model: str,
    wanted: tuple[str, ...],
    kind: str | None,
    for_backup: bool,
    quorum: str | None,
    seats: tuple[str, ...],
    policy: str | None,
    known: str | None,
    expires: str | None,
    replaces: str | None,
    out: str | None,
    armor: bool,
    force: bool,
    receipts: str | None,
    deadline: int | None,
) -> None:
    """Mint a new key NAME and write its token. Its pin is kept in the home folder.

    NAME may be a reference to a key that is kept elsewhere, as hsm:MODULE/LABEL (docs/custody.md).
    """
    terms = _gather(app, quorum, seats, policy, expires, replaces)
    if is_reference(name):
        if model != "regen":
            raise error("usage", "--model is of keys that agents hold", "Leave it out: the reference says the model.")
        return _elsewhere(app, name, wanted, (kind, for_backup), terms, None, (out, receipts, known, deadline))
    _a_token(kind, for_backup)
    if model != "regen" and len(wanted) > 1:
        raise error("usage", f"a key of model {model} has one suite", f"Choose among {', '.join(suites.THRESHOLD)}.")
    return _make(app, name, wanted, terms, None, known, out, armor, force, receipts, deadline, model)


@verb(key, "import")
@_terms
@click.option("--from", "file", metavar="FILE", help="PKCS#8 (PEM or DER), or a raw symmetric key; mode 0600.")
@click.option("--from-descriptor", "descriptor", type=int, metavar="N", help="An open descriptor to read it from.")
@click.option("--from-terminal", "terminal", is_flag=True, help="Ask for it.")
def import_(
    app: App,
    name: str,
    wanted: tuple[str, ...],
    kind: str | None,
    for_backup: bool,
    quorum: str | None,
    seats: tuple[str, ...],
    policy: str | None,
    known: str | None,
    expires: str | None,
    replaces: str | None,
    out: str | None,
    armor: bool,
    force: bool,
    receipts: str | None,
    deadline: int | None,
    file: str | None,
    descriptor: int | None,
    terminal: bool,
) -> None:
    """Mint a token NAME around an existing key. Destroying the original is yours to do."""
    if (file is not None) + (descriptor is not None) + terminal != 1:
        raise error(
            "usage", "the key to import is missing", "Give --from FILE, --from-descriptor N or --from-terminal."
        )
    source: Source
    if file is not None:
        if not Path(file).exists():
            raise error("not-found", f"there is no key file {printable(file)}", "Check the path.")
        source = file
    elif descriptor is not None:
        source = descriptor
    else:
        source = Terminal(f"Key to import as {printable(name)}: ")
    terms = _gather(app, quorum, seats, policy, expires, replaces)
    if is_reference(name):
        return _elsewhere(app, name, wanted, (kind, for_backup), terms, source, (out, receipts, known, deadline))
    _a_token(kind, for_backup)
    _make(app, name, wanted, terms, source, known, out, armor, force, receipts, deadline)
    if file is not None:
        app.say(f"The original is still in {printable(file)}: destroy it, and its backups, when this token is safe.")
    return None


def _elsewhere(
    app: App,
    name: str,
    wanted: tuple[str, ...],
    of_a_module: tuple[str | None, bool],
    terms: Terms,
    source: Source | None,
    of_a_mint: tuple[object, ...],
) -> None:
    if any(option is not None for option in of_a_mint):
        raise error(
            "usage",
            "--out, --receipts, --known and --deadline are for a token that is minted by its name",
            "Leave them out, or give a name instead of a reference.",
        )
    more = {name: term for name, term in zip(("kind", "for_backup"), of_a_module, strict=True) if term}
    custody.create(app, name, wanted, {**terms, **more}, source)


def _a_token(kind: str | None, for_backup: bool) -> None:
    if kind is not None or for_backup:
        raise error("usage", "--kind and --for-backup are for keys in a PKCS#11 token", "Name one: hsm:MODULE/LABEL.")


def _gather(
    app: App, quorum: str | None, seats: Sequence[str], policy: str | None, expires: str | None, replaces: str | None
) -> Terms:
    terms = Terms()
    if quorum is not None:
        terms["quorum"] = quorum
    if seats:
        terms["seats"] = seats_of(seats)
    if policy is not None:
        terms["policy"] = policy_text(app, policy)
    if expires is not None:
        terms["expires"] = moment(expires, time.time())
    if replaces is not None:
        terms["replaces"] = replaces
    return terms


def seats_of(given: Sequence[str]) -> dict[str, str]:
    """Seat → agent name, from SEAT=AGENT. Raises `usage`."""
    seats: dict[str, str] = {}
    for text in given:
        seat, equals, name = text.partition("=")
        if not equals or not seat or not name:
            raise error("usage", f"--seat {printable(text)} is not SEAT=AGENT", "As in --seat board-1=agent-7.")
        if seat in seats:
            raise error("usage", f"--seat names {printable(seat)} twice", "Name it once.")
        seats[seat] = name
    return seats


def policy_text(app: App, reference: str) -> str:
    """A policy from a file or stdin. Raises `policy` where it is not text."""
    try:
        return _io.read_input(app, reference, "policy").decode()
    except UnicodeDecodeError:
        raise error("policy", f"{printable(reference)} is not UTF-8 text", "Give Cedar policies.") from None


def moment(text: str, now: float) -> int:
    """Unix seconds, from a span (90d), a day (UTC) or the number itself. Raises `usage`."""
    if text.isdigit() and text.isascii() and len(text) > 6:
        return int(text)
    span = _SPAN.fullmatch(text)
    if span:
        return int(now) + int(span[1]) * _SECONDS[span[2]]
    try:
        day = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise error(
            "usage", f"{printable(text)!r} is no time to expire", "Say 90d, 2y, 2030-01-31 or Unix seconds."
        ) from None
    if day.tzinfo is None:
        day = day.replace(tzinfo=datetime.UTC)
    return int(day.timestamp())


def _make(
    app: App,
    name: str,
    wanted: tuple[str, ...],
    terms: Terms,
    source: Source | None,
    known: str | None,
    out: str | None,
    armor: bool,
    force: bool,
    receipts: str | None,
    deadline: int | None,
    model: str = "regen",
) -> None:
    if not wanted:
        known_suites = ", ".join(suites.ALL if model == "regen" else suites.THRESHOLD)
        raise error("usage", "--suite is missing", f"Choose among {known_suites}.")
    path = app.home.token(name) if out is None else Path(out)
    if out is None:
        _files.folder(path.parent)
    check_free([str(path), receipts], force)
    watch = Stopwatch()
    asks = isinstance(source, Terminal)
    with app.working(f"minting {name}", asks), app.client(deadline) as client:
        if model != "regen":
            token = client.create_threshold(name, wanted[0], cast("Model", model), **terms)
        elif source is None:
            token = client.create(name, wanted, **terms)
        else:
            token = client.import_key(name, wanted, source, **terms)
        took = watch.milliseconds
        warnings = [*map(printable, token.warnings), *_permitted(client, token, known)]
    with _io.sink(str(path)) as descriptor:
        # Under --json the document carries it: stdout holds one document and nothing else.
        inline = {"armor": token.armor()} if app.json and descriptor == 1 else {}
        if descriptor is None:
            token.save(path, armored=armor, force=force)
        elif not inline:
            armored = armor or os.isatty(descriptor)
            _io.write_descriptor(descriptor, token.armor().encode() if armored else token.encode())
    written = str(path) if descriptor is None else None
    if receipts:
        keep(app, receipts, {"openings": openings(token.receipts)}, force)
    app.emit(
        {
            "token": token.id,
            "name": token.name,
            "file": written,
            **inline,
            "bytes": len(token.encode()),
            "model": token.model,
            "suites": list(token.suites),
            "quorum": token.quorum,
            "milliseconds": round(took, 3),
            "warnings": warnings,
            "receipts": receipts_json(token.receipts),
        }
    )
    app.warn(warnings)
    app.say(f"Minted {printable(name)}: {token.quorum}, {', '.join(token.suites)}.", "green")
    app.say(f"Token id {token.id}: whoever else relies on this key pins it by this id.")
    if written:
        app.say(f"Written to {written} ({len(token.encode())} bytes, public). Nothing else of the key exists.")


def _permitted(client: Client, token: Token, known: str | None) -> list[str]:
    """What `evanesce policy check` would say of whom the token's policy permits. The key exists: nothing is raised."""
    if not token.policy:
        return []
    policy = Policy(token.policy)
    try:
        if known is not None:
            return own.warnings(*own.in_directory(policy, Path(known)))
        return own.warnings(own.here(policy, client.status()))
    except EvanesceError as e:
        return [f"who of the permitted is its own reconstructor could not be looked at: {printable(e.message)}"]


@verb(key)
@_options.token_argument
@click.option("--yes", is_flag=True, help="Do not ask back.")
@ask_options
@_options.receipts_option
@_options.force_option
@_options.deadline_option
def retire(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    yes: bool,
    ask: bool,
    word: str,
    folder: str | None,
    receipts: str | None,
    force: bool,
    deadline: int | None,
) -> None:
    """Have every holder tombstone the token, for good. Exits 0 once it is dead, 1 while seats are missing."""
    check_asked(ask, word, folder, {"--yes": yes, "--receipts": receipts, "--force": force, "--deadline": deadline})
    check_free([receipts], force)
    loaded = app.token(token, pin, trust_token)
    if ask:
        made = Request.to_retire(loaded, own_id(app), word=word)
        app.emit(publish(app, made, folder, place=None if token == "-" else app.token_path(token)))
        return
    if not yes:
        if app.json or not sys.stdin.isatty():
            raise error("usage", "retiring cannot be undone", "Say --yes.")
        app.say(f"Token {loaded.id} ({printable(loaded.name)}) will never be opened again.")
        if not click.confirm("Retire it?", err=True):
            raise click.exceptions.Exit(1)
    with app.working("asking the holders to retire it"), app.client(deadline) as client:
        result = client.retire(loaded)
    if receipts:
        keep(app, receipts, {"openings": openings(result.receipts, result.salt)}, force)
    report_retirement(app, loaded, result)


@verb(key, "list")
def list_(app: App) -> None:
    """List the tokens in the home folder."""
    found: list[tuple[Path, Token | EvanesceError]] = []
    for path in sorted(app.home.tokens.glob("*.regen")):
        try:
            found.append((path, Token.load(path, home=app.home.root)))
        except EvanesceError as e:
            found.append((path, e))
    app.emit({"tokens": [_listed(path, token) for path, token in found]})
    if app.json:
        return
    if not found:
        app.say(f"No tokens in {app.home.tokens}.")
        return
    table = Table("file", "name", "id", "suites", "quorum", "expires", "pinned")
    for path, token in found:
        if isinstance(token, Token):
            row = [path.name, token.name, short(token.id), ", ".join(token.suites), token.quorum]
            row += [day(token.expires) if token.expires is not None else "never", token.pinned or "no"]
            table.add_row(*map(printable, row))
        else:
            table.add_row(printable(path.name), "", "", "", printable(token.message), "", "", style="red")
    app.out.print(table)


def _listed(path: Path, token: Token | EvanesceError) -> dict[str, object]:
    if isinstance(token, EvanesceError):
        return {"file": str(path), "error": token.as_dict()}
    return {
        "file": str(path),
        "name": token.name,
        "token": token.id,
        "suites": list(token.suites),
        "quorum": token.quorum,
        "created": token.created,
        "expires": token.expires,
        "pinned": token.pinned,
    }


def day(seconds: int) -> str:
    """Unix seconds as people read them, in UTC; as they are when no calendar has them."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
