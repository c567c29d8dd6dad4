"""`evanesce key refresh`, `reshare` and `repair`: keys that outlive their holders (docs/healing.md)."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from evanesce import Client, EvanesceError, Healed, Retirement, Token, _files
from evanesce._heal import Changes, asking
from evanesce._text import printable
from evanesce.approvals import Request
from evanesce.cli import _options, custody
from evanesce.cli._app import App, Stopwatch, receipts_json, verb
from evanesce.cli._ask import ask_options, check_asked, publish, publish_all
from evanesce.cli._healing import Healing
from evanesce.cli._keep import keep, kept_before, openings
from evanesce.cli._progress import counting, token_files
from evanesce.cli._report import healed_json, warn_of
from evanesce.cli.identity import own_id
from evanesce.cli.key import key
from evanesce.cli.threshold import changes_of, renew
from evanesce.custody import is_reference
from evanesce.errors import error, exit_status
from evanesce.home import read_agents

AT_ONCE = 64
"""Tokens repaired at the same time."""


def register(root: click.Group) -> None:
    """The verbs are in the group `key`."""


def _healing_options(function: _options.F) -> _options.F:
    for decorator in (
        click.option("--deadline", type=click.IntRange(1, 600_000), metavar="MS", help="[default: 10000]"),
        _options.receipts_option,
        _options.force_option,
        ask_options,
        click.option("--revoke-old", is_flag=True, help="The same, of a key of model mpc or regen-mpc."),
        click.option("--retire-old", is_flag=True, help="Then have the old token tombstoned, for good."),
        click.option("--armor", is_flag=True, help="Write the token as text."),
        click.option("--out", metavar="FILE", help="[default: in place of TOKEN, which is kept beside it as .old]"),
        _options.token_argument,
    ):
        function = decorator(function)
    return function


@verb(key)
@_healing_options
def refresh(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    out: str | None,
    armor: bool,
    retire_old: bool,
    revoke_old: bool,
    force: bool,
    receipts: str | None,
    deadline: int | None,
    ask: bool,
    word: str,
    folder: str | None,
) -> None:
    """Mint the same key anew for the same holders.

    New shares and a new token id; the public keys stay. Stopped at any point, the same command goes on; the old
    token works until it is retired (of mpc and regen-mpc docs/healing.md says what holds). Exits 1 while the old
    one is not dead, if that was asked for. With --ask, `evanesce wait` writes the new token. TOKEN may be a reference,
    as mpc:NAME: the new token then takes its place, the old one is NAME@1 (docs/custody.md), and no options go with
    that; it exits 1 where old shares may still be kept.
    A token of model mpc or regen-mpc is renewed as by refresh-shares, with --out and --revoke-old.
    """
    doing = _doing(out, armor, retire_old, revoke_old, force, receipts, deadline)
    if is_reference(token):
        asked = {"--pin": pin, "--trust-token": trust_token, "--ask": ask, "--word": word, "--folder": folder}
        return _by_reference(app, token, asked | doing, Changes())
    check_asked(ask, word, folder, doing)
    old = app.token(token, pin, trust_token)
    if ask:
        return _ask(app, token, old, trust_token, Changes(), word, folder)
    _check_model(old, armor, retire_old, revoke_old)
    if old.model != "regen":
        return renew(app, old, out, None, Changes(), revoke_old, receipts, force, deadline)
    return _anew(app, "refresh", token, old, trust_token, Changes(), out, armor, retire_old, force, receipts, deadline)


@verb(key)
@_healing_options
@_options.quorum_options
@click.option("--policy", metavar="FILE", help="Other policies (- for stdin). [default: as they are]")
@click.option("--expires", metavar="WHEN", help="90d, 2y, 2030-01-31, Unix seconds, or never. [default: as it is]")
def reshare(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    out: str | None,
    armor: bool,
    retire_old: bool,
    revoke_old: bool,
    force: bool,
    receipts: str | None,
    deadline: int | None,
    ask: bool,
    word: str,
    folder: str | None,
    quorum: str | None,
    seats: tuple[str, ...],
    policy: str | None,
    expires: str | None,
) -> None:
    """Mint the same key anew under another quorum, other holders, another policy or another end.

    As refresh in all else. A reference, as mpc:NAME, takes no other options, unless --out makes another file.
    """
    changes = changes_of(app, quorum, seats, policy, expires)
    if not changes:
        raise error("usage", "nothing is to be different", "Say what, or use `evanesce key refresh`.")
    doing = _doing(out, armor, retire_old, revoke_old, force, receipts, deadline)
    if is_reference(token) and out is None:
        asked = {"--pin": pin, "--trust-token": trust_token, "--ask": ask, "--word": word, "--folder": folder}
        return _by_reference(app, token, asked | doing, changes)
    check_asked(ask, word, folder, doing)
    old = app.token(token, pin, trust_token)
    if ask:
        return _ask(app, token, old, trust_token, changes, word, folder)
    _check_model(old, armor, retire_old, revoke_old)
    if old.model != "regen":
        return renew(app, old, out, None, changes, revoke_old, receipts, force, deadline)
    return _anew(app, "reshare", token, old, trust_token, changes, out, armor, retire_old, force, receipts, deadline)


def _by_reference(app: App, reference: str, options: Mapping[str, object], changes: Changes) -> None:
    _refuse("a key that is named by a reference has no use for", options, "Name its token's file.")
    custody.refresh(app, reference, changes)


def _check_model(old: Token, armor: bool, retire_old: bool, revoke_old: bool) -> None:
    """Raises `usage` for options that are for keys of another model."""
    if old.model == "regen":
        given: dict[str, object] = {"--revoke-old": revoke_old}
        return _refuse("a key that is put together has no use for", given, "Retire its old token: --retire-old.")
    given = {"--armor": armor, "--retire-old": retire_old}
    return _refuse("a key that is never put together has no use for", given, "Its old token is revoked: --revoke-old.")


def _refuse(what: str, given: Mapping[str, object], instead: str) -> None:
    """Raises `usage` for options that were given, by name."""
    unfit = ", ".join(option for option, value in given.items() if value)
    if unfit:
        raise error("usage", f"{what} {unfit}", instead)


def _doing(
    out: str | None,
    armor: bool,
    retire_old: bool,
    revoke_old: bool,
    force: bool,
    receipts: str | None,
    deadline: int | None,
) -> dict[str, object]:
    return {
        "--out": out,
        "--armor": armor,
        "--retire-old": retire_old,
        "--revoke-old": revoke_old,
        "--force": force,
        "--receipts": receipts,
        "--deadline": deadline,
    }


def _ask(
    app: App,
    reference: str,
    old: Token,
    trust_token: bool,
    changes: Changes,
    word: str,
    folder: str | None,
) -> None:
    old.require_pinned("mint anew", trust_token)
    made = Request.to_reshare(old, own_id(app), read_agents(app.home.quorum), word=word, **changes)
    app.emit(publish(app, made, folder, place=None if reference == "-" else app.token_path(reference)))


def _anew(
    app: App,
    name: str,
    reference: str,
    found: Token,
    trust_token: bool,
    changes: Changes,
    out: str | None,
    armor: bool,
    retire_old: bool,
    force: bool,
    receipts: str | None,
    deadline: int | None,
) -> None:
    if reference == "-" and out is None:
        raise error("usage", "a token from stdin has no place to be replaced in", "Give --out FILE.")
    if out == "-":
        raise error("usage", "a healed token is written to a file, so that it is durable", "Give --out FILE.")
    kept = kept_before(receipts)
    source = None if reference == "-" or is_reference(reference) else app.token_path(reference)
    path = Path(out) if out is not None else source
    assert path is not None
    in_place = source is not None and path.absolute() == source.absolute()
    old, healing, new = _begun(app, name, found, path, in_place, trust_token, changes)
    if new is None and not in_place and not force and path.exists():
        raise _files.exists(path)
    watch = Stopwatch()
    healed: Healed | None = None
    with app.client(deadline) as client:
        resumed = new is not None
        if new is None:
            with app.working(f"minting {old.name} anew"):
                healed = client.reshare(old, trust_token=trust_token, **changes)
            new = healed.token
            healing.note(new)
            kept += openings(healed.receipts, healed.salt)
            if receipts:
                keep(app, receipts, {"openings": kept}, force=True)
        healing.place(new, armor, in_place, force)
        retirement = _retire(app, client, old) if retire_old else None
        dead = None if retirement is None else retirement.dead
        if receipts and retirement is not None:
            keep(app, receipts, {"openings": [*kept, *openings(retirement.receipts, retirement.salt)]}, force=True)
    if dead is not False:
        healing.done()
    more = {"name": new.name, "kept": str(healing.kept) if in_place else None, "old_dead": dead}
    app.emit(healed_json(new, old.id, path, healed, resumed, watch.milliseconds, more))
    if healed:
        warn_of(app, healed)
    app.say(f"{'Went on with' if resumed else 'Minted'} {printable(new.name)} anew: {new.quorum}.", "green")
    app.say(f"Token id {new.id}: whoever relies on this key by its old token pins this one instead.")
    app.say(f"Written to {path}." + (f" The old token is kept as {healing.kept}." if in_place else ""))
    if dead is None:
        app.say("The old token opens the key as well: retire it when nobody needs it (--retire-old).", "yellow")
    elif dead:
        app.say("The old token is dead.", "green")
    else:
        todo = f"Run this again when the missing holders can be reached. {asking(old)}".rstrip()
        app.say(f"The old token is not dead yet. {todo}", "yellow")
        raise click.exceptions.Exit(1)


def _begun(
    app: App,
    name: str,
    old: Token,
    path: Path,
    in_place: bool,
    trust_token: bool,
    changes: Changes,
) -> tuple[Token, Healing, Token | None]:
    """The old token, which may not be the one that was found; the healing; and its new token, if an earlier run got so
    far."""
    terms = {key: dict(value) if key == "seats" else value for key, value in dict(changes).items()}  # type: ignore[call-overload]
    terms.pop("expires", None)  # a span is another moment at each run
    healing = Healing.of(path, old, name, terms)
    if in_place and healing.state.exists():
        # The file may hold the new token already; the old one is then beside it.
        for kept in path.parent.glob(f"{path.name}.*.old"):
            earlier = Token.load(kept, pin=None, trust_token=trust_token, home=app.home.root)
            before = Healing.of(path, earlier, name, terms)
            try:
                new = before.resume(app.home.root)
            except EvanesceError:
                continue
            if new is not None and new.id == old.id:
                return earlier, before, new
    return old, healing, healing.resume(app.home.root)


def _retire(app: App, client: Client, old: Token) -> Retirement:
    with app.working("asking the holders to retire the old token"):
        retirement = client.retire(old)
    for seat in retirement.missing:
        app.say(
            f"{printable(seat.seat)} has not retired it: {printable(seat.verdict)} {printable(seat.detail)}", "yellow"
        )
    return retirement


@verb(key)
@click.argument("tokens", metavar="TOKEN…", nargs=-1, required=True)
@click.option(
    "--lost", metavar="AGENT", required=True, help="Whose seats were lost: its name in the quorum file, or its id."
)
@click.option("--to", "holder", metavar="AGENT", required=True, help="Who gets them.")
@click.option("--seat", metavar="SEAT", help="Only this seat. [default: every seat that it held]")
@click.option("--even-if-it-sits", is_flag=True, help="Though the new holder sits in the token already.")
@click.option("--trust-token", is_flag=True, help="Believe that these tokens are the right ones, unproven.")
@ask_options
@_options.receipts_option
@click.option("--deadline", type=click.IntRange(1, 600_000), metavar="MS", help="For each token. [default: 10000]")
def repair(
    app: App,
    tokens: tuple[str, ...],
    lost: str,
    holder: str,
    seat: str | None,
    even_if_it_sits: bool,
    trust_token: bool,
    ask: bool,
    word: str,
    folder: str | None,
    receipts: str | None,
    deadline: int | None,
) -> None:
    """Give the seats of a destroyed element to another agent.

    TOKEN is a token, or a folder of them. Each file is replaced as a whole, and those that were repaired already are
    passed over: stopped at any point, the same command goes on. (For an element that was stolen: refresh, then
    retire.) Exits 1 or 2 when some could not be repaired.
    """
    check_asked(ask, word, folder, {"--receipts": receipts, "--deadline": deadline})
    kept = kept_before(receipts)
    identifiers = {agent.name: agent.id for agent in read_agents(app.home.quorum)}
    gone = identifiers.get(lost, lost.lower())
    if len(gone) != 64:
        raise error(
            "usage", f"{printable(lost)!r} is no agent of the quorum file, nor an id", "Give its 64 hex digits."
        )
    files = [path for reference in tokens for path in token_files(app, reference)]
    if ask:
        new = identifiers.get(holder)
        if new is None:
            raise error(
                "usage", f"{printable(holder)!r} is no agent of the quorum file", "Add it there, or name another."
            )
        made = [_ask_for_seats(app, path, gone, new, seat, even_if_it_sits, trust_token, word) for path in files]
        publish_all(app, [one for each in made for one in each], folder)
        return
    watch = Stopwatch()
    repaired: list[dict[str, Any]] = []
    failed: list[tuple[Path, EvanesceError]] = []
    passed = 0
    with (
        app.client(deadline) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
        counting(app, "repairing", len(files)) as step,
    ):

        def one(path: Path) -> list[dict[str, Any]]:
            return _repair_one(app, client, path, gone, holder, seat, even_if_it_sits, trust_token, kept)

        waiting = {pool.submit(one, path): path for path in files}
        for future in as_completed(waiting):
            try:
                done = future.result()
                repaired += done
                passed += not done
            except EvanesceError as e:
                failed.append((waiting[future], e))
            step()
    if receipts:
        keep(app, receipts, {"openings": kept}, force=True)
    rate = round(len(repaired) / max(watch.milliseconds / 1000, 1e-9), 1)
    app.emit(
        {
            "repaired": repaired,
            "passed_over": passed,
            "failed": [{"file": str(path), "error": why.as_dict()} for path, why in failed],
            "milliseconds": round(watch.milliseconds, 3),
            "per_second": rate,
        }
    )
    for path, why in failed:
        app.say(f"{path}: {why}", "red")
    app.warn(sorted({warning for item in repaired for warning in item["warnings"]}))
    app.say(f"{len(repaired)} seats repaired, {rate} a second; {passed} tokens had nothing to repair.", "green")
    if failed:
        raise click.exceptions.Exit(max(exit_status(why) for _, why in failed))


def _ask_for_seats(
    app: App, path: Path, gone: str, new: str, seat: str | None, even: bool, trust_token: bool, word: str
) -> list[tuple[Request, Path]]:
    """One request for each lost seat of a token: an approval is good for one performance."""
    token = Token.load(path, trust_token=trust_token, home=app.home.root)
    token.require_pinned("repair", trust_token)
    lost = [at.name for at in token.seats if at.holder_id == gone and seat in (None, at.name)]
    caller = own_id(app)
    return [(Request.to_repair(token, caller, at, new, even_if_it_sits=even, word=word), path) for at in lost]


def _repair_one(
    app: App,
    client: Client,
    path: Path,
    gone: str,
    holder: str,
    seat: str | None,
    even: bool,
    trust_token: bool,
    kept: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    token = Token.load(path, trust_token=trust_token, home=app.home.root)
    token.require_pinned("repair", trust_token)
    armored = _files.read(path).lstrip().startswith(b"-----BEGIN")
    done = []
    for place in token.seats:
        if place.holder_id != gone or (seat is not None and place.name != seat):
            continue
        healed = client.repair(token, place.name, holder, even_if_it_sits=even)
        kept.extend(openings(healed.receipts, healed.salt))
        # Seat by seat: what was achieved is on disk before the next is tried.
        token = healed.token
        token.save(path, armored=armored, force=True)
        done.append(
            {
                "file": str(path),
                "token": token.id,
                "seat": place.name,
                "holder": holder,
                "warnings": list(map(printable, healed.warnings)),
                "faults": [asdict(fault) for fault in healed.faults],
                "salt": healed.salt.hex(),
                "receipts": receipts_json(healed.receipts),
            }
        )
    return done
