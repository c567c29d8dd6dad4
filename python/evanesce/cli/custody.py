"""`evanesce key rotate|back-up|restore|destroy|describe`: the lifecycle of keys by reference, whatever keeps them
(docs/custody.md). Creating and importing them is in `key`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from rich.table import Table

from evanesce import Key, Renewal, Token, _core, _pem
from evanesce._heal import Changes
from evanesce._mint import Source, Terminal
from evanesce._text import printable
from evanesce.cli import _io, _options
from evanesce.cli import joint as joint_cli
from evanesce.cli._app import App, base64_text, named, verb
from evanesce.cli._finish import check_free
from evanesce.cli._report import brought_json, exit_if_shares_stayed, warn_of, warn_of_left_out
from evanesce.custody import joint
from evanesce.custody import renew as renew_keys
from evanesce.errors import error, translate


def register(group: click.Group) -> None:
    """Adds these verbs to `key`."""
    verb(group)(rotate)
    verb(group, "back-up")(back_up)
    verb(group)(restore)
    verb(group)(destroy)
    verb(group)(custodian)
    joint_cli.register(group)
    verb(group)(renew)
    verb(group)(describe)


def create(app: App, reference: str, suites: Sequence[str], terms: dict[str, Any], source: Source | None) -> None:
    """Makes or imports a key that no token file is written for."""
    with app.working(f"making {reference}"), app.client() as client:
        if source is None:
            made = client.custody.create(reference, suites, **terms)
        else:
            made = client.custody.import_key(reference, suites, source, **terms)
    _said(app, made, "Made")


@click.argument("key", metavar="KEY")
def rotate(app: App, key: str) -> None:
    """Make a new key of the same kind, which KEY means from now on.

    The old one works on, by its version (KEY@1), until it is destroyed.
    """
    with app.working(f"rotating {key}"), app.client() as client:
        made = client.custody.rotate(key)
    _said(app, made, "Rotated to")


def refresh(app: App, key: str, changes: Changes) -> None:
    """The same key under fresh shares, which KEY means from now on. Exits 1 where old ones may still be kept."""
    with app.working(f"refreshing {key}"), app.client() as client:
        done = client.custody.refresh(key, **changes)
        agents = client.agents
    _said(app, done.token, "Refreshed to", brought_json(done))
    warn_of(app, done)
    if isinstance(done, Renewal):
        warn_of_left_out(app, done.left_out, agents)
    exit_if_shares_stayed(done)


def _said(app: App, made: Token | Key, how: str, more: Mapping[str, object] | None = None) -> None:
    app.emit({**named(made), "suites": list(made.suites), **(more or {})})
    name = made.uri if isinstance(made, Key) else f"{printable(made.name)}, token id {made.id}"
    app.say(f"{how} {name}: {', '.join(made.suites)}.", "green")


def _custodians(help: str) -> Callable[[_options.F], _options.F]:
    return click.option("--custodian", "custodians", metavar="NAME=FILE", multiple=True, help=help)


@click.argument("key", metavar="KEY")
@click.option("--to", metavar="FILE", required=True, help="A new file.")
@_custodians("Of an hsm: key: a custodian and the file of its public key.")
@click.option(
    "--quorum", metavar="TEXT", help='Whose are enough: "2 of (a, b, c)". [default: a majority, two at least]'
)
@click.option(
    "--officer-pin", metavar="FILE", help="The security officer's PIN, for a key that only a trusted KEK wraps."
)
@click.option("--officer-terminal", is_flag=True, help="Ask for it.")
@click.option("--joint", is_flag=True, help="All custodians are needed, and a token puts the KEK together, no machine.")
def back_up(
    app: App,
    key: str,
    to: str,
    custodians: tuple[str, ...],
    quorum: str | None,
    officer_pin: str | None,
    officer_terminal: bool,
    joint: bool,
) -> None:
    """Write what `evanesce key restore` needs to a new file.

    An hsm: key is wrapped under a KEK that is split among custodians at once and kept nowhere (docs/custody.md).
    """
    if officer_pin is not None and officer_terminal:
        raise error("usage", "the security officer's PIN was given twice", "Give one of them.")
    officer = Terminal("The security officer's PIN: ") if officer_terminal else officer_pin
    terms = {"custodians": _files_of(custodians), "quorum": quorum, "officer": officer, "joint": joint}
    with app.working(f"backing up {key}", officer_terminal), app.client() as client:
        written = client.custody.back_up(key, to, **{name: term for name, term in terms.items() if term})
    app.emit(written)
    app.say(f"Backed up to {printable(to)}: {written['holds']}.", "green")
    for component in written.get("components", ()):
        app.say(f"  {printable(component['custodian'])}: check value {component['check']}")


@click.argument("key", metavar="KEY")
@click.option("--from", "source", metavar="FILE", required=True, help="What `evanesce key back-up` wrote.")
@_custodians("Of an hsm: key: a custodian who is here, and its key file.")
@click.option("--for-backup", is_flag=True, help="Of an hsm: key: let it be backed up again from there.")
@click.option("--transport", metavar="KEY", help="Of a joint backup: the transport key in the same token.")
@click.option("--component", "components", metavar="FILE", multiple=True, help="One that was handed over to it.")
@click.option("--pin", metavar="ID", help="Of a regen token: the id it must have.")
def restore(
    app: App,
    key: str,
    source: str,
    custodians: tuple[str, ...],
    for_backup: bool,
    transport: str | None,
    components: tuple[str, ...],
    pin: str | None,
) -> None:
    """Put a key back from its backup.

    Of a backup that is joint the custodians' components come by --component, sealed to the --transport key of the
    same token; what else its module lets whoever has a session do is tried, and said.
    """
    terms = {
        "custodians": _files_of(custodians),
        "for_backup": for_backup,
        "transport": transport,
        "components": components,
        "pin": pin,
    }
    with app.client() as client:
        ways = None if transport is None else joint.weaknesses(client, transport)
        # Before the key is there for whoever has a session.
        joint_cli.warn(app, ways or ())
        with app.working(f"restoring {key}"):
            made = client.custody.restore(key, source, **{name: term for name, term in terms.items() if term})
    _said(app, made, "Restored", {} if ways is None else {"weaknesses": ways})


@click.argument("file")
@click.option("--public", metavar="FILE", help="Write the public key there. [default: stdout]")
def custodian(app: App, file: str, public: str | None) -> None:
    """Make a custodian's key FILE (0600), to which components of backups are sealed."""
    check_free([file, public], False)
    try:
        spki = _core.create_custodian(file)
    except _core.CoreError as e:
        raise translate(e) from None
    _io.write_public(app, _pem.public_key(spki), public, "raw", False)
    app.emit({"file": file, "public": base64_text(spki)})
    app.say(f"Written to {printable(file)}: keep it away from backups. Its public half goes to whoever makes them.")


@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.option("--root", metavar="TOKEN", required=True, help="The root, with the suite hkdf-sha256.")
@click.option("--suite", metavar="SUITE", default="hmac-sha256", show_default=True, help="Of the working key.")
@click.option("--keep", type=click.IntRange(1, 1000), default=2, show_default=True, help="Versions that stay.")
@_options.deadline_option
def renew(app: App, keys: tuple[str, ...], root: str, suite: str, keep: int, deadline: int | None) -> None:
    """Load the next version of a working key into every token named.

    KEY is hsm:MODULE/LABEL, the same label in each module. The version is derived from the root through its quorum;
    older ones than --keep are destroyed afterwards. Run it on a schedule: callers of KEY never find it missing.
    """
    loaded = app.key(root)
    with app.working("renewing the working key"), app.client(deadline) as client:
        result = renew_keys(client, keys, loaded, suite, keep=keep)
    app.emit({"version": result.version, "keys": list(result.keys), "destroyed": list(result.destroyed)})
    gone = f" Destroyed: {', '.join(result.destroyed)}." if result.destroyed else ""
    app.say(f"Version {result.version} is in {', '.join(result.keys)}.{gone}", "green")


def _files_of(given: Sequence[str]) -> dict[str, str]:
    files: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or not name or not path or name in files:
            raise error(
                "usage", f"--custodian {printable(text)} is not NAME=FILE, once for each", "As in alice=alice.pem."
            )
        files[name] = path
    return files


@click.argument("key", metavar="KEY")
@click.option("--yes", is_flag=True, help="Do not ask.")
def destroy(app: App, key: str, yes: bool) -> None:
    """End a key for good. Exits 0 once nothing can use it, 1 while something still could."""
    if not yes:
        if app.json or not sys.stdin.isatty():
            raise error("usage", "destroying a key cannot be undone", "Say --yes.")
        if not click.confirm(f"Destroy {printable(key)}?", err=True):
            raise click.exceptions.Exit(1)
    with app.working(f"destroying {key}"), app.client() as client:
        result = client.custody.destroy(key)
    app.emit({"key": key, "done": result.done, "detail": result.detail})
    app.say(f"{'Done' if result.done else 'Not done yet'}: {result.detail}.", "green" if result.done else "yellow")
    if not result.done:
        raise click.exceptions.Exit(1)


@click.argument("key", metavar="KEY")
def describe(app: App, key: str) -> None:
    """Show what is known of a key; of a module (hsm:MODULE), what it was found to do."""
    with app.working(f"asking about {key}"), app.client() as client:
        found = client.custody.describe(key)
    app.emit(found)
    if app.json:
        return
    tables = {name: value for name, value in found.items() if value and _rows(value)}
    for name, value in found.items():
        if name not in tables:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            click.echo(f"{name.replace('_', ' '):<18}{printable(str(shown))}")
    for rows in tables.values():
        table = Table(*(str(column).replace("_", " ") for column in rows[0]))
        for row in rows:
            table.add_row(*(printable(_cell(value)) for value in row.values()))
        app.out.print(table)


def _rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _cell(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    return str(value)
