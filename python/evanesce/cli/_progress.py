"""Verbs over many tokens: which files are meant, and how far it has got."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evanesce.cli._app import App
from evanesce.errors import error


def token_files(app: App, reference: str) -> Sequence[Path]:
    """The token files that a word on the command line stands for. Raises `not-found` where there is none."""
    path = Path(reference)
    if not path.is_dir():
        return [app.token_path(reference)]
    found = sorted(path.rglob("*.regen"))
    if not found:
        raise error("not-found", f"there is no token file (*.regen) in {path}", "Name another folder.")
    return found


@contextmanager
def counting(app: App, text: str, total: int) -> Iterator[Callable[..., None]]:
    """A bar for a person at a terminal; gives what is called for each step, or with how many of all."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=app.err, disable=app.json or not app.err.is_terminal, transient=True) as progress:
        task = progress.add_task(text, total=total)

        def step(done: int | None = None, all_: int | None = None) -> None:
            if done is None:
                progress.advance(task)
            else:
                progress.update(task, completed=done, total=all_)

        yield step
