"""`evanesce policy`: what a policy would decide, before it is in a token and after."""

from __future__ import annotations

import datetime
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from evanesce import Decision, Policy, Question, Token, _cases, policy_schema
from evanesce._mint import spent_twice
from evanesce._text import printable
from evanesce.cli import _io, _own
from evanesce.cli._app import App, verb
from evanesce.cli.key import moment
from evanesce.errors import error

WITHOUT_SUITE = ("open", "reshare", "repair", "retire")
"""Actions that use no suite (PROTOCOL §6)."""


def register(root: click.Group) -> None:
    """Adds this group."""
    root.add_command(policy)


@click.group()
def policy() -> None:
    """Check, test and explain the policies that agents enforce. Offline, by the code that agents run.

    POLICY is a file of Cedar policies, a token (a file, or a name in the home folder) or - for stdin.
    """


@verb(policy)
@click.argument("reference", metavar="POLICY")
@click.option("--quorum", metavar="TEXT", help='"3 of (a, b, c, d, e)". [default: the token\'s]')
@click.option(
    "--known", metavar="FILE", help="An agent's known.toml: names permitted callers who are reconstructors too."
)
def check(app: App, reference: str, quorum: str | None, known: str | None) -> None:
    """Say whether POLICY may go into a token, and what is said of it at a mint. Exits 2 if it may not."""
    given, token = _policy(app, reference)
    if quorum is None and token is not None:
        quorum = token.quorum
    limits = given.limits(quorum)
    warnings = [*given.warnings, *(spent_twice(given, quorum) if quorum is not None else ())]
    own, granted = ([], []) if known is None else _own.in_directory(given, Path(known))
    named = None if given.approvers is None else {name: identifier for name, identifier, _ in given.approvers}
    app.emit(
        {
            "valid": True,
            "warnings": warnings,
            "payload": given.payload,
            "limits": [asdict(limit) for limit in limits],
            "approvers": named,
            "own_reconstructors": None if known is None else own,
            "could_be_granted": None if known is None else granted,
        }
    )
    app.warn(map(printable, warnings))
    app.warn(_own.warnings(own, granted))
    if known is None:
        app.say("Who of the permitted is its own reconstructor, is not looked at: --known known.toml.")
    if not given.text:
        app.say("There is no policy: every caller that the agents know may use the key.", "yellow")
        return
    if given.payload:
        app.say(f"It looks at the payload, so that no bare digest is signed: {printable(given.payload)}")
    for limit in limits:
        app.say(f"Limit: {limit.explanation or limit.text}.")
    if limits and quorum is None:
        app.say("What each agent permits follows from the quorum: say --quorum.", "yellow")
    if named:
        app.say(f"It names who may approve: {', '.join(map(printable, named))}.")
    app.say("It may go into a token.", "green")


@verb(policy)
@click.argument("reference", metavar="POLICY")
@click.argument("cases", metavar="CASES")
def test(app: App, reference: str, cases: str) -> None:
    """Decide every request in CASES (TOML or JSON) and compare with what it expects. Exits 1 if one differs."""
    given, token = _policy(app, reference)
    data = bytes(_io.read_input(app, cases, "cases"))
    name, suite = (token.name, _only_suite(token)) if token else (None, None)
    verdicts = _cases.run(given, _cases.read(data, cases, name, suite))
    wrong = [verdict for verdict in verdicts if not verdict.right]
    rows = [
        {
            "name": verdict.case.name,
            "expected": _word(verdict.case.allow),
            "decided": _word(verdict.decision.permitted),
            "right": verdict.right,
            "reason": verdict.decision.reason,
            "by": list(verdict.deciding),
        }
        for verdict in verdicts
    ]
    app.emit({"cases": rows, "wrong": len(wrong)})
    if not app.json:
        table = Table("", "case", "expected", "decided", "by", "why not")
        for verdict in verdicts:
            case, decision = verdict.case, verdict.decision
            row = [
                case.name,
                _word(case.allow),
                _word(decision.permitted),
                ", ".join(verdict.deciding),
                decision.reason,
            ]
            style = "" if verdict.right else "red"
            table.add_row("ok" if verdict.right else "WRONG", *map(printable, row), style=style)
        app.out.print(table)
    if wrong:
        app.say(f"{len(wrong)} of {len(verdicts)} cases came out otherwise than expected.", "red")
        raise click.exceptions.Exit(1)
    app.say(f"All {len(verdicts)} cases came out as expected.", "green")


@verb(policy)
@click.argument("reference", metavar="POLICY")
@click.option("--action", metavar="ACTION", required=True, help="sign, mac, encrypt, … open, reshare, repair, retire.")
@click.option("--caller", metavar="NAME", required=True, help="As the agents' directories name it.")
@click.option("--group", "groups", metavar="NAME", multiple=True, help="Of the caller's groups; may be repeated.")
@click.option("--suite", metavar="SUITE", help="[default: the token's, if it has one]")
@click.option("--key", metavar="NAME", help="The key's name. [default: the token's]")
@click.option("--now", metavar="WHEN", help="2030-01-31T12:00Z, or Unix seconds. [default: now]")
@click.option("--minter", is_flag=True, help="The caller is a minter.")
@click.option("--payload", metavar="FILE", help="A JSON object (- for stdin).")
@click.option("--uses", nargs=2, type=int, default=(0, 0), metavar="KEY CALLER", help="How often it was used before.")
@click.option("--approval", "approvals", metavar="NAME", multiple=True, help="Somebody who has approved; repeatable.")
def explain(
    app: App,
    reference: str,
    action: str,
    caller: str,
    groups: tuple[str, ...],
    suite: str | None,
    key: str | None,
    now: str | None,
    minter: bool,
    payload: str | None,
    uses: tuple[int, int],
    approvals: tuple[str, ...],
) -> None:
    """Say what POLICY decides about one request, and which of its statements decide."""
    given, token = _policy(app, reference)
    if key is None:
        if token is None:
            raise error("usage", "--key is missing", "Name the key, as the token's header would.")
        key = token.name
    if suite is None and token is not None and action not in WITHOUT_SUITE:
        suite = _only_suite(token)
    shown = None if payload is None else bytes(_io.read_input(app, payload, "payload"))
    when = None if now is None else moment(now, datetime.datetime.now(datetime.UTC).timestamp())
    question = Question(action, caller, key, groups, suite or "", None, when, minter, shown, uses, approvals)
    decision = given.decide(question)
    app.emit(asdict(decision))
    if not app.json:
        _print(app, decision)


def _print(app: App, decision: Decision) -> None:
    app.say(
        "Permitted." if decision.permitted else f"Refused: {decision.reason}.", "green" if decision.permitted else "red"
    )
    for statement in decision.statements:
        words = {"permit": "permits it", "forbid": "forbids it", "error": "cannot be evaluated, which is a refusal"}
        app.say(f"{statement.label} {words[statement.effect]}:")
        click.echo(printable(statement.text, lines=True, limit=None))


@verb(policy)
def schema(app: App) -> None:
    """Print the schema that every policy must fit (Cedar)."""
    app.emit({"schema": policy_schema()})
    if not app.json:
        click.echo(policy_schema(), nl=False)


def _policy(app: App, reference: str) -> tuple[Policy, Token | None]:
    """A policy by its own file, by a token that has it, or `-` for stdin."""
    at = reference if _io.descriptor_of(reference, 0) is not None else str(app.token_path(reference))
    data = bytes(_io.read_input(app, at, "policy"))
    # A token is armoured, or CBOR, which begins as no text does.
    if b"-----BEGIN EVANESCE REGEN TOKEN-----" in data or data[:1] >= b"\x80":
        token = Token.decode(data, home=app.home.root)
        return Policy(token.policy), token
    try:
        return Policy(data.decode()), None
    except UnicodeDecodeError:
        raise error("policy", f"{printable(reference)} is not UTF-8 text", "Give Cedar policies, or a token.") from None


def _only_suite(token: Token) -> str | None:
    return token.suites[0] if len(token.suites) == 1 else None


def _word(allowed: bool) -> str:
    return "allow" if allowed else "deny"
