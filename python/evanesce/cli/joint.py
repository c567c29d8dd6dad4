"""`evanesce key transport|hand-over`: what custodians of a joint backup need, so that a token alone has its key
(docs/custody.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from evanesce import _files
from evanesce._text import grouped, printable
from evanesce.cli import _io
from evanesce.cli._app import App, verb
from evanesce.cli._finish import check_free
from evanesce.custody import joint
from evanesce.errors import error


def register(group: click.Group) -> None:
    """Adds these verbs to `key`."""
    verb(group)(transport)
    verb(group)(hand_over)


def warn(app: App, ways: Sequence[str]) -> None:
    """Says what a module lets through."""
    if ways:
        app.warn([f"whoever has a session there can have the key all the same, in {len(ways)} ways:"])
        for way in ways:
            app.say(f"  {printable(way)}", "yellow")


@click.argument("key", metavar="KEY")
@click.option("--public", metavar="FILE", help="Write its public half there, for custodians. [default: stdout]")
def transport(app: App, key: str, public: str | None) -> None:
    """Make a transport KEY, as hsm:MODULE/LABEL: components of joint backups are sealed to it.

    It takes them in, and does nothing else. What the module lets whoever has a session do besides is tried, and said.
    """
    check_free([public], False)
    with app.working(f"making {key}"), app.client() as client:
        pem, ways = joint.make_transport(client, key)
    written = _io.write_public(app, pem, public, "raw", False)
    digest = joint.fingerprint(pem)
    app.emit({"key": key, "public": pem.decode(), "sha256": digest, "written": written, "weaknesses": ways})
    app.say(f"Made {printable(key)}. Custodians need its public half, from a hand that they trust.", "green")
    app.say(f"Its SHA-256, to be read aloud to them: {grouped(digest)}")
    warn(app, ways)


@click.argument("backup")
@click.option("--custodian", metavar="NAME=FILE", required=True, help="Who hands over, and that one's key file.")
@click.option("--transport", metavar="FILE", required=True, help="The transport key's public half, PEM or DER.")
@click.option("--to", metavar="FILE", required=True, help="A new file, which is public.")
def hand_over(app: App, backup: str, custodian: str, transport: str, to: str) -> None:
    """Hand a custodian's component of a joint BACKUP over to a token.

    On the custodian's own machine: the component is opened in the core's locked memory and sealed to the token's
    transport key, which alone opens it again. Needs no module and no agents.
    """
    name, equals, key_file = custodian.partition("=")
    if not equals or not name or not key_file:
        raise error("usage", f"--custodian {printable(custodian)} is not NAME=FILE", "As in alice=alice.key.")
    check_free([to], False)
    public = _files.read(Path(transport), limit=1 << 16)
    joint.hand_over(backup, name, key_file, public, to)
    digest = joint.fingerprint(public)
    app.emit({"backup": backup, "custodian": name, "sha256": digest, "written": to})
    app.say(f"{printable(name)}'s component, sealed to that token: {printable(to)}", "green")
    app.say(f"The transport key's SHA-256: {grouped(digest)}")
    app.say("Part with that file only if whoever made the transport key reads out the same.", "yellow")
