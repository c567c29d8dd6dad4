"""`evanesce reconstructor`: a reconstructor that works for callers who are only callers."""

from __future__ import annotations

from pathlib import Path

import click

from evanesce import _core, _files, _toml
from evanesce._agentdir import NAME, known_identity
from evanesce._servicedir import Caller, ServiceFolder
from evanesce._text import printable
from evanesce.cli import _options
from evanesce.cli._app import App, verb
from evanesce.errors import error, translate
from evanesce.home import Reconstructor, read_agents, valid_address


def register(root: click.Group) -> None:
    """Adds this group."""
    root.add_command(reconstructor)


@click.group()
def reconstructor() -> None:
    """Run a reconstructor of its own for callers who hold no key at any moment."""


@verb(reconstructor)
@click.argument("folder", metavar="DIR")
@click.option("--name", required=True, help="What callers and agents will call it.")
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where it listens.")
@click.option("--address", metavar="HOST:PORT", help="Where callers reach it. [default: as --listen]")
@click.option("--agents", metavar="FILE", help="The quorum file of the agents it asks. [default: the home's]")
@click.option("--verify-before-release", is_flag=True, help="Verify each signature, against computing faults.")
def init(
    app: App,
    folder: str,
    name: str,
    listen: str,
    address: str | None,
    agents: str | None,
    verify_before_release: bool,
) -> None:
    """Set up a reconstructor in DIR.

    Makes its identity, and copies the quorum file: it asks those agents and no others. Prints what the agents'
    operators, and callers, need to know of it.
    """
    if not NAME.fullmatch(name):
        raise error("usage", f"{name!r} cannot be a name", "Use 1 to 64 of A-Z a-z 0-9 . _ @ -")
    for given in (listen, address):
        if given is not None and not valid_address(given):
            raise error("usage", f"{given!r} is not HOST:PORT", "Give both, as in 127.0.0.1:7500.")
    at = ServiceFolder(Path(folder).absolute())
    if at.config.exists():
        raise error("exists", f"there is a reconstructor in {at.root} already", "Choose another folder.")
    asked = read_agents(Path(agents) if agents else app.home.quorum)
    _files.folder(at.root)
    try:
        _core.create_identity(str(at.identity))
    except _core.CoreError as e:
        raise translate(e) from None
    _files.write(at.quorum, "\n".join(agent.stanza() for agent in asked).encode(), mode=0o600, overwrite=True)
    if not at.callers.exists():
        at.write_callers(())
    top: dict[str, _toml.Value] = {"name": name, "listen": listen, "identity": "identity.key"}
    if address is not None and address != listen:
        top["address"] = address
    if verify_before_release:
        top["verify_before_release"] = True
    _files.write(at.config, _toml.dumps(top).encode(), mode=0o600)
    _show(app, at)


@verb(reconstructor)
@click.argument("folder", metavar="DIR")
@click.option("--name", required=True, help="What the reconstructor calls it.")
@click.option("--id", "identifier", metavar="ID", help="The caller id: `evanesce identity show`, over there.")
@click.option("--remove", is_flag=True, help="Work for it no more.")
def allow(app: App, folder: str, name: str, identifier: str | None, remove: bool) -> None:
    """Have the reconstructor of DIR work for a caller. What the caller may do is the agents' to say."""
    at = ServiceFolder(Path(folder).absolute())
    at.require()
    before = at.read_callers()
    if remove:
        after = tuple(caller for caller in before if caller.name != name)
        if after == before:
            raise error("not-found", f"it works for nobody called {printable(name)}", "See `reconstructor show`.")
    else:
        if identifier is None:
            raise error("usage", "--id is missing", "Give the caller's id: `evanesce identity show`, over there.")
        known = known_identity(name, identifier, (), ())
        new = Caller(known.name, known.id)
        if any(caller.name == new.name and caller.id != new.id for caller in before):
            raise error("exists", f"it works for another {printable(name)}", "Choose another name, or --remove that.")
        after = (*(caller for caller in before if caller.id != new.id), new)
    at.write_callers(after)
    pid = at.reload()
    app.emit({"callers": [{"name": caller.name, "id": caller.id} for caller in after], "running": pid is not None})
    app.say(f"It works for {len(after)} caller(s){'' if pid is None else ', and has read so'}.")


@verb(reconstructor)
@click.argument("folder", metavar="DIR")
def show(app: App, folder: str) -> None:
    """Show the ids of the reconstructor of DIR, whom it works for, and what others need to know of it."""
    at = ServiceFolder(Path(folder).absolute())
    at.require()
    _show(app, at)


@verb(reconstructor)
@click.argument("folder", metavar="DIR")
def run(app: App, folder: str) -> None:  # noqa: ARG001
    """Run the reconstructor of DIR until SIGTERM or SIGINT.

    This process becomes the program: same process id, and nothing of Python is left in it. It prints one JSON
    line when it listens.
    """
    at = ServiceFolder(Path(folder).absolute())
    at.require()
    at.become()


@verb(reconstructor)
@_options.deadline_option
def status(app: App, deadline: int | None) -> None:
    """Ask the reconstructor that works for this home what shuts it in. Exits 1 if something is missing."""
    with app.client(deadline) as client:
        found = client.reconstructor_status()
    app.emit({"reconstructor": found})
    if not app.json:
        for field in ("name", "version", "caller", "agents", "memory"):
            click.echo(f"{field:<8} {printable(str(found[field]))}")
        for words in found["applied"]:
            click.echo(f"applied  {printable(words)}")
    app.warn(f"missing: {printable(words)}" for words in found["missing"])
    if found["missing"]:
        raise click.exceptions.Exit(1)


def _show(app: App, at: ServiceFolder) -> None:
    said = at.read()
    try:
        _, service_id, caller_id = _core.show_identity(str(at.identity))
    except _core.CoreError as e:
        raise translate(e) from None
    address = said.get("address", said["listen"])
    running = at.running()
    if running is not None and address.endswith(":0") and at.address.exists():
        address = _files.read(at.address).decode().strip()
    entry = Reconstructor(said["name"], service_id.hex(), address)
    callers = at.read_callers()
    app.emit(
        {
            "folder": str(at.root),
            "name": entry.name,
            "caller_id": caller_id.hex(),
            "service_id": entry.id,
            "stanza": entry.stanza(),
            "callers": [{"name": caller.name, "id": caller.id} for caller in callers],
            "running": running,
        }
    )
    if app.json:
        return
    app.say("Each agent's operator lets it have shares, and ask for nothing itself:")
    click.echo(f"evanesce agent allow DIR --name {entry.name} --id {caller_id.hex()} --role reconstructor")
    app.say("Each caller puts this into its quorum file:")
    click.echo(entry.stanza(), nl=False)
    for caller in callers:
        app.say(f"It works for {printable(caller.name)} ({caller.id}).")
