"""What every verb of the command line shares: where it runs, how it speaks, how it fails.

Results go to stdout; words for people, progress and warnings to stderr, so pipes stay clean. With `--json`,
stdout carries one JSON document and nothing else, errors included. Both consoles are built with markup off,
so foreign text cannot style anything; what it could still do to a terminal, `printable` removes.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from evanesce import Client, Culprit, Key, Token
from evanesce._connect import Connection
from evanesce._text import printable, short
from evanesce.custody import Custodian, Reference, is_reference
from evanesce.custody.tokens import require_model, token_path
from evanesce.errors import EvanesceError, error
from evanesce.grant import Grant
from evanesce.home import Home
from evanesce.results import Receipt

PIPE_WIDTH = 160
"""Columns of tables where no terminal says how many it has."""


def console(stderr: bool = False) -> Console:
    """A console that takes text as text."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=width)


@dataclass(frozen=True)
class App:
    """One run of one verb."""

    home: Home
    json: bool
    out: Console
    err: Console
    _stdin: list[str] = field(default_factory=list)

    def say(self, text: str, style: str = "") -> None:
        """Words for a person, on stderr; silent under `--json`."""
        if not self.json:
            self.err.print(Text(printable(text, lines=True, limit=None), style=style), soft_wrap=True)

    def remark(self, text: str) -> None:
        """Words that only a person at a terminal wants."""
        if self.err.is_terminal:
            self.say(text, "dim")

    def warn(self, warnings: Iterable[str]) -> None:
        for warning in warnings:
            self.say(f"warning: {warning}", "yellow")

    def blame(self, faults: Iterable[Culprit]) -> None:
        """Who failed, though it went on without them."""
        self.warn(f"went on without {fault}" for fault in faults)

    def emit(self, document: dict[str, Any]) -> None:
        """The machine form; only under `--json`."""
        if self.json:
            click.echo(json.dumps(document, indent=2))

    @contextlib.contextmanager
    def working(self, text: str, asks: bool = False) -> Iterator[None]:
        """Shows that something takes its time; not while the core `asks` for a secret at the terminal."""
        if asks or self.json or not self.err.is_terminal:
            yield
            return
        with self.err.status(Text(printable(text))):
            yield

    def client(
        self, deadline: int | None = None, grant: str | Path | Grant | None = None, token: Token | Key | None = None
    ) -> Client:
        """The client of this home folder; `deadline` in milliseconds, `grant` one, or its file, for this `token`."""
        if grant is not None and isinstance(token, Key):
            raise error("usage", f"{token.uri} is no token, and nobody grants its use", "Leave --grant out.")
        under = grant if grant is None or isinstance(grant, Grant) else self.grant(grant, token)
        return Client(self.home.root, deadline=None if deadline is None else deadline / 1000, grant=under)

    def grant(self, path: str | Path, token: Token | Key | None = None) -> Grant:
        """A grant in a file. Raises `grant-invalid` where it is not for this `token`: that would be asked for
        without it, in the caller's own right."""
        found = Grant.load(path)
        if isinstance(token, Token) and found.token != token.id:
            raise error(
                "grant-invalid",
                f"the grant is for the token {found.token}, not for {printable(token.name)}, {token.id}",
                "Ask its grantor for one of this token; a reshare makes another token.",
            )
        return found

    def token(self, reference: str, pin: str | None = None, trust_token: bool = False) -> Token:
        """A token by path, by name in the home folder, or `-` for stdin."""
        if reference == "-":
            self.take_stdin("token")
            data = sys.stdin.buffer.read(1 << 20)
            return Token.decode(data, pin=pin, trust_token=trust_token, home=self.home.root)
        if is_reference(reference) and not Path(reference).exists():
            named = Reference.parse(reference)
            if named.model == "hsm":
                raise error(
                    "unsupported",
                    f"{printable(reference)} is no token, which this verb is about",
                    "`evanesce key describe` shows what it is; docs/custody.md says which model does what.",
                )
            path = token_path(self.home, named)
            token = Token.load(path, pin=pin, trust_token=trust_token, home=self.home.root)
            require_model(token, named)
            return token
        path = self.token_path(reference)
        return Token.load(path, pin=pin, trust_token=trust_token, home=self.home.root)

    def key(
        self, reference: str, pin: str | None = None, trust_token: bool = False, receipts: str | None = None
    ) -> Token | Key:
        """As `token`, or a key of another model by its reference (docs/custody.md)."""
        if not reference.startswith("hsm:") or Path(reference).exists():
            return self.token(reference, pin, trust_token)
        if pin is not None or trust_token:
            raise error(
                "usage",
                f"{printable(reference)} is no token: it has no id to pin",
                "Leave --pin and --trust-token out.",
            )
        if receipts is not None:
            raise error(
                "usage", f"{printable(reference)} is used without agents: there are no receipts", "Leave it out."
            )
        return Custodian(self.home, self._none).key(reference)

    def _none(self) -> Connection:
        raise error("usage", "no agent is asked here")

    def take_stdin(self, what: str) -> None:
        """Says what stdin is. Raises `usage` when it is something else already: the second would come
        out empty."""
        if self._stdin:
            raise error(
                "usage", f"stdin cannot be both the {self._stdin[0]} and the {what}", "Give one of them as a file."
            )
        self._stdin.append(what)

    def token_path(self, reference: str) -> Path:
        """A plain word is a name in the home folder, where there is one; anything else is a path."""
        if "/" not in reference and not reference.startswith("."):
            kept = self.home.token(reference)
            if kept.exists():
                return kept
            if not Path(reference).exists():
                raise error(
                    "not-found",
                    f"there is no token {reference!r}, neither here nor in {self.home.tokens}",
                    "`evanesce key list` shows those there are; a path to a token file works too.",
                )
        return Path(reference)


def verb(group: click.Group, name: str | None = None) -> Callable[[Callable[..., None]], click.Command]:
    """Makes a function a verb: it gets an `App` first, and `--json` and `--home` of its own."""

    def wrap(function: Callable[..., None]) -> click.Command:
        @click.option("--json", "as_json", is_flag=True, help="Machine form on stdout, errors too.")
        @click.option("--home", metavar="DIR", help="Home folder. [default: $EVANESCE_HOME or ~/.config/evanesce]")
        @functools.wraps(function)
        def run(as_json: bool, home: str | None, **arguments: Any) -> None:
            common = click.get_current_context().find_root().params
            as_json = as_json or bool(common.get("as_json"))
            at = Home.at(home if home is not None else common.get("home"))
            function(App(at, as_json, console(), console(stderr=True)), **arguments)

        return group.command(name)(run)

    return wrap


def named(key: Token | Key) -> dict[str, str]:
    """What a document calls it."""
    return {"token": key.id} if isinstance(key, Token) else {"key": key.uri}


def receipts_json(receipts: Iterable[Receipt]) -> list[dict[str, Any]]:
    """Receipts as JSON: whose, where in its log, what it decided, and the bytes to keep."""
    return [
        {"agent": r.agent, "index": r.index, "code": decision(r), "receipt": base64_text(r.encode())} for r in receipts
    ]


def decision(receipt: Receipt) -> str | None:
    """What the agent says that it decided: `done`, or why it refused. None where it says nothing
    readable."""
    try:
        return str(receipt.entry()["code"])
    except EvanesceError:
        return None


def base64_text(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def name_of(client_agents: Iterable[Any], identifier: str) -> str:
    """An agent's name in the quorum file, else the start of its id."""
    return next((agent.name for agent in client_agents if agent.id == identifier), short(identifier))


class Stopwatch:
    """Milliseconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def __str__(self) -> str:
        return f"{self.milliseconds:.1f} ms"

    @property
    def milliseconds(self) -> float:
        return (time.perf_counter() - self._start) * 1000
