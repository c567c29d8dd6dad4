"""`evanesce identity`: who this caller is, to agents."""

from __future__ import annotations

import base64
from pathlib import Path

import click

from evanesce import _core, _files
from evanesce._text import printable
from evanesce.cli._app import App, verb
from evanesce.errors import error, translate


def register(root: click.Group) -> None:
    """Adds this group."""
    root.add_command(identity)


@click.group()
def identity() -> None:
    """Make and show the key that agents know this caller by."""


@verb(identity)
def init(app: App) -> None:
    """Make a new identity (Ed25519) in the home folder. An existing one stays."""
    path = app.home.identity
    if path.exists():
        raise error(
            "exists",
            f"there is an identity at {path} already",
            "Use it (`evanesce identity show`), or move it away: agents know callers by their keys.",
        )
    _files.folder(path.parent)
    try:
        made = _core.create_identity(str(path))
    except _core.CoreError as e:
        raise translate(e) from None
    _show(app, path, *made)
    app.say(
        "Now let the agents know it, on each agent's machine:\n"
        f"  evanesce agent allow DIR --name NAME --id {made[2].hex()} --role caller --role reconstructor",
    )


@verb(identity)
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--public-key", metavar="KEY", help="Of a public key instead, PEM or DER: an authenticator's, say.")
def show(app: App, file: str | None, public_key: str | None) -> None:
    """Show the ids and public key of the home's identity, or of FILE. Never the private key."""
    if public_key is not None:
        if file is not None:
            raise error("usage", "FILE and --public-key name two keys", "Give one of them.")
        spki = public_key_bytes(_files.read(Path(public_key), limit=1 << 16))
        agent, caller = _core.key_ids(spki)
        return _show(app, Path(public_key), spki, agent, caller)
    path = Path(file) if file else app.home.identity
    return _show(app, path, *_read(path))


def public_key_bytes(data: bytes) -> bytes:
    """SubjectPublicKeyInfo DER, of PEM or of itself. Raises `bad-input`."""
    if b"-----BEGIN PUBLIC KEY-----" not in data:
        return data
    body = data.split(b"-----BEGIN PUBLIC KEY-----")[1].split(b"-----END PUBLIC KEY-----")[0]
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except ValueError:
        raise error("bad-input", "the public key is not PEM", "Give SubjectPublicKeyInfo, PEM or DER.") from None


def own_id(app: App) -> str:
    """The caller id of the home's identity, in hex."""
    return _read(app.home.identity)[2].hex()


def _read(path: Path) -> tuple[bytes, bytes, bytes]:
    if not path.exists():
        raise error("identity", f"there is no identity at {path}", "Make one: `evanesce identity init`.")
    try:
        return _core.show_identity(str(path))
    except _core.CoreError as e:
        raise translate(e) from None


def _show(app: App, path: Path, spki: bytes, agent_id: bytes, caller_id: bytes) -> None:
    app.emit(
        {
            "file": str(path),
            "caller_id": caller_id.hex(),
            "agent_id": agent_id.hex(),
            "public_key": base64.b64encode(spki).decode(),
        }
    )
    if not app.json:
        click.echo(f"file       {printable(str(path))}")
        click.echo(f"caller id  {caller_id.hex()}")
        click.echo(f"agent id   {agent_id.hex()}")
        click.echo(f"public key {base64.b64encode(spki).decode()}")
