"""`evanesce agent peers`: whom an agent compares with (docs/revocation.md)."""

from __future__ import annotations

from pathlib import Path

import click

from evanesce import _files, _toml
from evanesce._agentdir import AgentFolder
from evanesce._text import printable
from evanesce.cli._app import App, verb
from evanesce.cli.agent import agent
from evanesce.home import read_agents

KEPT = ("every_ms", "former_logs")
"""What the operator has set by hand."""


def register(root: click.Group) -> None:
    """The verb is in the group `agent`."""


@verb(agent)
@click.argument("folder", metavar="DIR")
@click.option("--quorum", metavar="FILE", help="The quorum file that names them. [default: this home's]")
@click.option("--needed", type=click.IntRange(1), metavar="N", help="How many must be heard. [default: a majority]")
def peers(app: App, folder: str, quorum: str | None, needed: int | None) -> None:
    """Have the agent of DIR compare with the other agents of a quorum.

    Writes DIR/peers.toml. From its next start on the agent answers nothing before it has heard from so many of them:
    what was revoked while it was away, and whether its own state is an old copy. Each of them must name this agent
    among its own peers.
    """
    at = AgentFolder(Path(folder).absolute())
    at.require()
    agents = read_agents(Path(quorum) if quorum is not None else app.home.quorum)
    path = at.root / "peers.toml"
    before = _toml.load(path) if path.exists() else {}
    top: dict[str, _toml.Value] = {field: before[field] for field in KEPT if field in before}
    if needed is not None:
        top["needed"] = needed
    text = _toml.dumps(top) + "\n" + "\n".join(entry.stanza() for entry in agents)
    _files.write(path, text.encode(), mode=0o600, overwrite=True)
    app.emit({"file": str(path), "agents": [entry.name for entry in agents], "needed": needed})
    names = ", ".join(printable(entry.name) for entry in agents)
    app.say(f"From its next start on the agent of {at.root} compares with the others among {names}.")
