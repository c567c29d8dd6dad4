"""Options that several verbs share, each described once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from evanesce._connect import DEADLINES

F = TypeVar("F", bound=Callable[..., Any])


def _all(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def token_argument(function: F) -> F:
    """TOKEN (or a reference to a key, where the verb takes one), its pin, and the words that do without one."""
    return _all(
        click.argument("token", metavar="TOKEN"),
        click.option("--pin", metavar="ID", help="The id this token must have: all 64 hex digits."),
        click.option("--trust-token", is_flag=True, help="Believe that this token is the right one, unproven."),
    )(function)


def suite_option(function: F) -> F:
    return click.option("--suite", metavar="SUITE", help="Which of the token's suites, where several fit.")(function)


def deadline_option(function: F) -> F:
    return _deadline("all else")(function)


def mint_deadline_option(function: F) -> F:
    return _deadline("mint")(function)


def _deadline(what: str) -> Callable[[F], F]:
    help = f"Give up after so long. [default: {DEADLINES[what]}]"
    return click.option("--deadline", type=click.IntRange(1, 600_000), metavar="MS", help=help)


def grant_option(function: F) -> F:
    """In whose place it is asked."""
    return click.option("--grant", metavar="FILE", help="Ask in its grantor's place, within its bounds.")(function)


def message_argument(function: F) -> F:
    """What is signed: a file, stdin, or a short text."""
    return _all(
        click.argument("message", metavar="[FILE]", required=False),
        click.option("-m", "--message", "text", metavar="TEXT", help="The message itself, instead of a file."),
    )(function)


def payload_option(function: F) -> F:
    """What is signed, shown to the agents."""
    return click.option(
        "--payload",
        metavar="FILE",
        help="A JSON object, for the agents to read (- for stdin); what is signed is its canonical form (RFC 8785).",
    )(function)


def out_options(function: F) -> F:
    """Where a public result goes, and how it is written."""
    return _all(
        click.option("--out", metavar="FILE", help="Write it there. [default: stdout]"),
        click.option(
            "--format",
            "form",
            type=click.Choice(["raw", "base64", "hex"]),
            help="[default: base64 on a terminal, else raw]",
        ),
        force_option,
    )(function)


def secret_out_options(function: F) -> F:
    """Where a secret result goes."""
    return _all(
        click.option("--out", metavar="FILE", help="Write it there (0600). [default: stdout, if that is a pipe]"),
        click.option("--show", is_flag=True, help="Print it even to a terminal."),
        force_option,
    )(function)


def force_option(function: F) -> F:
    return click.option("--force", is_flag=True, help="Replace a file that exists.")(function)


def quorum_options(function: F) -> F:
    """Another quorum, and who sits in it."""
    return _all(
        click.option("--quorum", metavar="TEXT", help="Another quorum. [default: as it is]"),
        click.option(
            "--seat", "seats", metavar="SEAT=AGENT", multiple=True, help="Who sits where. [default: as it is]"
        ),
    )(function)


def input_format_option(function: F) -> F:
    return click.option(
        "--input-format",
        "input_form",
        type=click.Choice(["raw", "base64", "hex"]),
        help="How the given signature, MAC or ciphertext is written. [default: by its looks]",
    )(function)


def receipts_option(function: F) -> F:
    return click.option(
        "--receipts",
        metavar="FILE",
        help="Keep the agents' receipts there, and the salts that go with them (JSON, 0600).",
    )(function)


def aad_options(function: F) -> F:
    """Data that is authenticated with a ciphertext, not encrypted."""
    return _all(
        click.option("--aad", metavar="TEXT", help="Authenticated along with it, not encrypted."),
        click.option("--aad-file", metavar="FILE", help="The same, from a file."),
    )(function)
