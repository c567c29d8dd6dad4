"""`evanesce quorum drill`: every seat of every token asked, and how much can still be lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from evanesce import Check, Client, EvanesceError, Token, _requests
from evanesce._margins import Group, Margins, margins
from evanesce._text import printable, short
from evanesce.approvals import Request
from evanesce.cli import _options
from evanesce.cli._app import App, Stopwatch, verb
from evanesce.cli._ask import ask_options, check_asked, publish_all
from evanesce.cli._progress import counting, token_files
from evanesce.cli._ways import Ways
from evanesce.cli.identity import own_id
from evanesce.errors import error
from evanesce.home import Agent
from evanesce.results import SeatCheck

AT_ONCE = 16
"""Tokens asked about at the same time."""
OK, WARNING, UNOPENABLE = 0, 1, 2
"""Exit statuses, each also a token's verdict by its place in `VERDICTS`."""
VERDICTS = ("ok", "warning", "unopenable")


def register(root: click.Group) -> None:
    """Adds the group."""
    root.add_command(quorum)


@click.group()
def quorum() -> None:
    """Look after quorums."""


@dataclass(frozen=True, slots=True)
class Drilled:
    """One token, drilled."""

    path: Path
    status: int
    token: Token | None = None
    check: Check | None = None
    margins: Margins | None = None
    remarks: tuple[str, ...] = ()


@verb(quorum)
@click.argument("tokens", metavar="TOKEN…", nargs=-1, required=True)
@click.option("--open", "opening", is_flag=True, help="Also regenerate each once and check its anchor.")
@click.option("--trust-token", is_flag=True, help="Believe that these tokens are the right ones, unproven.")
@click.option("--grant", "grants", metavar="FILE", multiple=True, help="With --open: for its token; may be repeated.")
@click.option("--approved", is_flag=True, help="With --open: as people have approved of what --ask asked for.")
@ask_options
@_options.deadline_option
def drill(
    app: App,
    tokens: tuple[str, ...],
    opening: bool,
    trust_token: bool,
    grants: tuple[str, ...],
    approved: bool,
    ask: bool,
    word: str,
    folder: str | None,
    deadline: int | None,
) -> None:
    """Ask every seat of every TOKEN whether it can do its part, and say how much can still be lost.

    TOKEN is a token, or a folder of them. Nothing is released unless --open is given. Where policies wait for approvals
    of that, --ask asks for all of them, and the drill with --approved takes what people have approved by then.

    For monitoring: exits 0 when all is well; 1 when a seat is missing, or the loss of one more would be the last
    (warning); 2 when a token cannot be opened.
    """
    if (grants or approved or ask) and not opening:
        raise error("usage", "only an opening is asked for, granted or approved", "Say --open.")
    if ask and approved:
        raise error("usage", "what is asked for now is not approved yet", "Say --ask, and --approved once people have.")
    check_asked(ask, word, None if approved else folder, {"--deadline": deadline})
    files = [path for reference in tokens for path in token_files(app, reference)]
    if ask:
        granted = Ways.of(app, files, grants, None).grants
        return publish_all(app, _requests_for(app, files, trust_token, word), folder, granted)
    ways = Ways.of(app, files, grants, _requests.root(app.home.root, folder) if approved else None)
    watch = Stopwatch()
    drilled: list[Drilled] = []
    with (
        ways.clients(app, deadline) as clients,
        ThreadPoolExecutor(AT_ONCE) as pool,
        counting(app, "drilling", len(files)) as step,
    ):
        agents = {agent.id: agent for agent in clients[None].agents}

        def one(path: Path) -> Drilled:
            return _drill_one(app, clients, ways, agents, path, opening, trust_token)

        for future in as_completed([pool.submit(one, path) for path in files]):
            drilled.append(future.result())
            step()
    drilled.sort(key=lambda result: (-result.status, result.path))
    status = max(result.status for result in drilled)
    counts = {word: sum(result.status == number for result in drilled) for number, word in enumerate(VERDICTS)}
    app.emit(
        {
            "verdict": VERDICTS[status],
            "counts": counts,
            "opened": opening,
            "milliseconds": round(watch.milliseconds, 3),
            "tokens": [_document(result) for result in drilled],
        }
    )
    if not app.json:
        app.out.print(_table(drilled))
        for result in drilled:
            for remark in result.remarks:
                app.say(f"{result.path}: {remark}", "red" if result.status == UNOPENABLE else "yellow")
        words = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        app.say(f"{len(drilled)} tokens: {words}; {watch}.", "green" if status == OK else "yellow")
    if status:
        raise click.exceptions.Exit(status)
    return None


def _requests_for(app: App, files: Sequence[Path], trust_token: bool, word: str) -> list[tuple[Request, Path]]:
    caller = own_id(app)
    loaded = [(Token.load(path, trust_token=trust_token, home=app.home.root), path) for path in files]
    return [(Request.to_open(token, caller, word=word), path) for token, path in loaded]


def _drill_one(
    app: App,
    clients: Mapping[str | None, Client],
    ways: Ways,
    agents: dict[str, Agent],
    path: Path,
    opening: bool,
    trust_token: bool,
) -> Drilled:
    failure = None
    try:
        token = Token.load(path, trust_token=trust_token, home=app.home.root)
    except EvanesceError as e:
        return Drilled(path, UNOPENABLE, remarks=(str(e),))
    try:
        found = ways.check(clients, token, opening)
    except EvanesceError as e:
        if e.check is None:
            return Drilled(path, UNOPENABLE, token, remarks=(str(e),))
        found, failure = e.check, e
    margin = margins(token.core, [seat.ok for seat in found.seats], [s.holder_id for s in token.seats], agents)
    remarks = [_remark(seat) for seat in found.seats if not seat.ok]
    status = OK if found.ok else WARNING
    if margin.losses == 1:
        remarks.append("margin 1: without one more seat it cannot be opened")
        status = WARNING
    if token.pinned is None:
        remarks.append("nothing here says that this token is the right one (not pinned)")
        status = max(status, WARNING)
    if margin.losses == 0:
        remarks.append("too few seats are left: it cannot be opened")
        status = UNOPENABLE
    if failure is not None:
        remarks.append(f"it was not opened: {failure}")
        status = UNOPENABLE
    return Drilled(path, status, token, found, margin, tuple(remarks))


def _remark(seat: SeatCheck) -> str:
    verdict = seat.verdict.replace("-", " ")
    return f"seat {printable(seat.seat)} ({printable(seat.holder)}): {verdict} {printable(seat.detail)}".rstrip()


def _document(result: Drilled) -> dict[str, Any]:
    token, check, margin = result.token, result.check, result.margins
    return {
        "file": str(result.path),
        "verdict": VERDICTS[result.status],
        "token": token.id if token else None,
        "name": token.name if token else None,
        "quorum": token.quorum if token else None,
        "opened": check.opened if check else False,
        "margins": asdict(margin) if margin else None,
        "seats": [asdict(seat) for seat in check.seats] if check else [],
        "remarks": list(result.remarks),
    }


def _table(drilled: Sequence[Drilled]) -> Table:
    table = Table(
        "token", "id", "quorum", "live", "losses left", "agents", "sites", "vendors", "administrators", "verdict"
    )
    for result in drilled:
        token, margin = result.token, result.margins
        row = [result.path.name, short(token.id) if token else "", token.quorum if token else ""]
        if margin is None:
            row += [""] * 6
        else:
            row += [f"{margin.live} of {margin.seats}", str(margin.losses)]
            groups = (margin.agents, margin.sites, margin.vendors, margin.administrators)
            row += [_pair(group) for group in groups]
        style = (None, "yellow", "red")[result.status]
        table.add_row(*map(printable, [*row, VERDICTS[result.status]]), style=style)
    table.caption = "losses left: seats, the last of which makes it unopenable; of each kind: fewest to block / to open"
    return table


def _pair(group: Group) -> str:
    if group == Group(None, None):
        return "not known"
    return " / ".join("?" if number is None else str(number) for number in (group.to_block, group.to_open))
