"""Verbs that make a request of what they would do, for people to approve (`--ask`): no agent is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from evanesce import _requests
from evanesce._text import printable
from evanesce.approvals import Request
from evanesce.cli import _options
from evanesce.cli._app import App
from evanesce.errors import error
from evanesce.grant import Grant

folder_option = click.option(
    "--folder", metavar="DIR", help="Where requests are, such as a shared one. [default: the home's]"
)


def ask_options(function: _options.F) -> _options.F:
    """`--ask`, and what goes with it."""
    for decorator in (
        folder_option,
        click.option("--word", default="", metavar="TEXT", help="With --ask: what it is about; unchecked."),
        click.option("--ask", is_flag=True, help="Ask people to approve it instead; `evanesce wait` then does it."),
    ):
        function = decorator(function)
    return function


def check_asked(ask: bool, word: str, folder: str | None, doing: Mapping[str, object]) -> None:
    """Raises `usage` for what would go with a request, where none is made; and where one is, for what would only go
    with `doing` it: options, by name, and what was given for them."""
    if not ask and (word or folder is not None):
        raise error("usage", "a word and a folder are a request's", "Say --ask as well, or leave them out.")
    given = ", ".join(name for name, value in doing.items() if value)
    if ask and given:
        raise error(
            "usage",
            f"to ask does nothing yet, and has no use for {given}",
            "Leave it out: `evanesce wait` takes --out, --force, --receipts and --deadline; and the old token's end is "
            "asked for by itself, with `evanesce key retire --ask`.",
        )


def publish(
    app: App, made: Request, folder: str | None, under: Grant | None = None, place: Path | None = None
) -> dict[str, object]:
    """Keeps a request where people find it, and at home what it is to be done under and to. Says what to do next."""
    home = app.home.root
    kept = _requests.root(home, folder).keep(made, home)
    if under is not None:
        _requests.keep_grant(home, made, under)
    if place is not None:
        _requests.keep_place(home, made, place)
    if not app.json:
        click.echo(made.id)
    app.say(f"Those who are asked need {kept.folder}/request.json:\n  evanesce approve {kept.folder} --identity KEY")
    app.warn(map(printable, made.warnings))
    return {"id": made.id, "folder": str(kept.folder), "text": made.text, "warnings": list(made.warnings)}


def publish_all(
    app: App, made: Iterable[tuple[Request, Path]], folder: str | None, grants: Mapping[str, Grant] | None = None
) -> None:
    """The same of several, each with its token's file; and under the grant, if any, for its token's id."""
    under = grants or {}
    rows = [publish(app, request, folder, under.get(request.token.id), path) for request, path in made]
    app.emit({"requests": rows})
