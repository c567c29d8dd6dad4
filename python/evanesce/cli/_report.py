"""What seats answered, for people and programs: to a check, and to a retirement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import click
from rich.table import Table

from evanesce import Check, Healed, Renewal, Retirement, Token
from evanesce._heal import asking
from evanesce._text import printable, short
from evanesce.cli._app import App, Stopwatch, name_of, receipts_json
from evanesce.errors import UNANSWERED, EvanesceError, exit_status
from evanesce.home import Agent
from evanesce.tokens import Seat


def report_check(
    app: App,
    token: Token,
    found: Check,
    failure: EvanesceError | None,
    watch: Stopwatch,
    more: Mapping[str, object] | None = None,
) -> None:
    """A check, and why it was not opened, if it was to be. Exits as `check` says."""
    document: dict[str, object] = {
        "token": token.id,
        "ok": found.ok and failure is None,
        "opened": found.opened,
        "seats": [asdict(seat) for seat in found.seats],
        "milliseconds": round(watch.milliseconds, 3),
        **(more or {}),
    }
    if failure is not None:
        document["error"] = failure.as_dict()
    app.emit(document)
    if not app.json:
        table = Table("seat", "holder", "id", "answer", "detail", "ms")
        for seat in found.seats:
            took = "" if seat.milliseconds is None else f"{seat.milliseconds:.1f}"
            row = (seat.seat, seat.holder, short(seat.holder_id), seat.verdict.replace("-", " "), seat.detail, took)
            table.add_row(*map(printable, row), style=None if seat.ok else "red")
        app.out.print(table)
        live = sum(seat.ok for seat in found.seats)
        opened = " A quorum opened it, and its anchor is right." if found.opened else ""
        app.say(f"{live} of {len(found.seats)} seats can regenerate their shares ({token.quorum}).{opened}")
    if failure is not None:
        if app.json:
            raise click.exceptions.Exit(exit_status(failure))
        raise failure
    if not found.ok:
        lost = {seat.verdict for seat in found.seats if not seat.ok}
        raise click.exceptions.Exit(1 if lost <= UNANSWERED else 2)


def healed_json(
    new: Token,
    old: str,
    path: object,
    healed: Healed | Renewal | None,
    resumed: bool,
    milliseconds: float,
    more: Mapping[str, object],
) -> dict[str, object]:
    """What a healing brought, or what is known of one that was `resumed`: nothing, where it is None; `more` as well."""
    return {
        "token": new.id,
        "old": old,
        "file": str(path),
        "quorum": new.quorum,
        "resumed": resumed,
        "milliseconds": round(milliseconds, 3),
        **brought_json(healed),
        **more,
    }


def brought_json(healed: Healed | Renewal | None) -> dict[str, object]:
    """What it brought besides the token."""
    return {
        "warnings": list(healed.warnings) if healed else [],
        "faults": [asdict(fault) for fault in healed.faults] if healed else [],
        "salt": healed.salt.hex() if healed and healed.salt is not None else None,
        "receipts": receipts_json(healed.receipts) if healed else [],
        **({"left_out": [asdict(seat) for seat in healed.left_out]} if isinstance(healed, Renewal) else {}),
    }


def warn_of(app: App, healed: Healed | Renewal) -> None:
    """What it warns of, and who failed on the way."""
    app.warn(map(printable, healed.warnings))
    if isinstance(healed, Renewal):
        app.warn(f"old shares may still be there: {fault}" for fault in healed.faults)
    else:
        app.blame(healed.faults)


def warn_of_left_out(app: App, seats: Iterable[Seat], agents: Sequence[Agent]) -> None:
    """Whose old shares are of use until they know that the old token is revoked, though it went on without them."""
    app.warn(
        f"{printable(name_of(agents, seat.holder_id))} (seat {printable(seat.name)}) is left out: until it obeys a "
        "revocation of the old token it has its old share, which with enough others signs"
        for seat in seats
    )


def when_to_revoke(renewed: Renewal | None) -> str:
    """When the old token of a renewal is to be revoked."""
    return "now" if renewed is not None and renewed.left_out else "when nothing uses it any more"


def exit_if_shares_stayed(healed: Healed | Renewal | None) -> None:
    """Exits 1 where old shares may still be at holders that were to remove them."""
    if isinstance(healed, Renewal) and (healed.faults or not healed.told):
        raise click.exceptions.Exit(1)


def report_retirement(app: App, token: Token, result: Retirement, more: Mapping[str, object] | None = None) -> None:
    """How far a retirement got. Exits 1 while the token is not dead."""
    seats = [
        {"seat": seat.seat, "holder": seat.holder, "verdict": seat.verdict, "detail": seat.detail}
        for seat in result.seats
    ]
    app.emit(
        {
            "token": token.id,
            "dead": result.dead,
            "seats": seats,
            "salt": result.salt.hex() if result.salt is not None else None,
            "receipts": receipts_json(result.receipts),
            **(more or {}),
        }
    )
    if not app.json:
        table = Table("seat", "holder", "answer")
        for seat in result.seats:
            answer = f"{seat.verdict}: {seat.detail}" if seat.detail else seat.verdict
            table.add_row(*map(printable, (seat.seat, seat.holder, answer)))
        app.out.print(table)
    if result.dead:
        app.say("It is dead: no sufficient set of seats remains.", "green")
        return
    missing = ", ".join(printable(seat.seat) for seat in result.missing)
    todo = f"Ask again when they can be reached. {asking(token)}".rstrip()
    app.say(f"It is not dead yet: {missing} did not retire it. {todo}", "yellow")
    raise click.exceptions.Exit(1)
