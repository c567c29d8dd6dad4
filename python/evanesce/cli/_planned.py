"""What was requested of a token as a whole: shown to those who are asked, and done once they have approved.

A reshare whose new policy waits for approvals of its first opening as well is a second request; until that is done
the new token is kept beside its file (`_healing`), and the old one is as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from evanesce import Check, Healed, Renewal, Retirement, Token, _files, _planned, _requests
from evanesce._heal import finished
from evanesce._requests import Kept
from evanesce._text import printable
from evanesce.approvals import Request
from evanesce.cli._app import App, Stopwatch
from evanesce.cli._finish import check_free
from evanesce.cli._healing import Healing
from evanesce.cli._keep import keep, kept_before, openings
from evanesce.cli._report import (
    exit_if_shares_stayed,
    healed_json,
    report_check,
    report_retirement,
    warn_of,
    warn_of_left_out,
    when_to_revoke,
)
from evanesce.cli._waiting import AGAIN, SELDOM, perform
from evanesce.cli.key import day
from evanesce.client import Client
from evanesce.errors import EvanesceError, error
from evanesce.home import Agent, read_agents


def show_plan(app: App, asked: Request) -> None:
    """All that is planned, as the request says it: of a new token what stays and what does not, its policy whole, and
    who is to hold it."""
    if not asked.seats:
        return
    try:
        agents: tuple[Agent, ...] = read_agents(app.home.quorum)
    except EvanesceError:
        agents = ()  # an approver needs no quorum file
    if asked.action == "reshare":
        new = _planned.read(asked)
        app.say("What follows is the new token's, as this machine has read it from what that digest is of.")
        app.say(f"Quorum: {printable(new['quorum'], limit=None)}")
        if new["quorum"] != asked.token.quorum:
            app.say(f"  instead of {printable(asked.token.quorum, limit=None)}")
        _show_policy(app, new["policy"], asked.token)
        app.say(f"Expires: {'never' if new['expires'] is None else day(new['expires'])}")
        covered = asked.token.model != "regen"
        app.say(
            "Who is to hold it, and has a share of the key then; the digest covers it:"
            if covered
            else "Who is to hold it; the digest does not cover that, and no agent can check it:"
        )
    else:
        app.say("Who is to hold the seat; the digest covers it:")
    for seat, holder in asked.seats.items():
        name = _planned.name_of(agents, holder)
        known = f", {printable(name)}" if name != holder else ", not in this quorum file"
        app.say(f"  {printable(seat)}: {holder}{known}")


def _show_policy(app: App, policy: str, old: Token) -> None:
    if not policy:
        return app.say("Policy: none. Every caller that the agents know may do everything but reshare and repair.")
    app.say(f"Policy, SHA-256 {_planned.digest(policy)}{', as it is' if policy == old.policy else ''}:")
    # Marked, since its lines are the requester's and could read like these.
    app.say("\n".join(f"| {line}" for line in policy.splitlines()))
    return None


def complete(
    app: App,
    client: Client,
    kept: Kept,
    grantors: frozenset[str],
    until: float,
    out: str | None,
    force: bool,
    receipts: str | None,
) -> None:
    """Does it, waiting until `until` (monotonic), and writes and reports what comes of it."""
    place = _requests.place_of(app.home.root, kept.request)
    waiting = _Waiting(app, client, kept, grantors, until, receipts, place)
    first, asked = kept.request.token, waiting.newest(kept).request
    if asked.action == "open":
        return _opened(waiting)
    if asked.action == "retire":
        return _retired(waiting)
    if out == "-":
        raise error("usage", "a healed token is written to a file, so that it is durable", "Give --out FILE.")
    target = Path(out) if out is not None else place
    if target is None:
        raise error("usage", "nothing here says which file the token is in", "Give --out FILE.")
    armored = place is not None and place.exists() and _files.read(place).lstrip().startswith(b"-----BEGIN")
    in_place = place is not None and target.absolute() == place.absolute()
    if asked.action == "repair":
        return _repaired(waiting, target, armored, in_place, force, first)
    return _reshared(waiting, target, armored, in_place, force)


class _Waiting:
    """One request being waited for."""

    def __init__(
        self,
        app: App,
        client: Client,
        kept: Kept,
        grantors: frozenset[str],
        until: float,
        receipts: str | None,
        place: Path | None,
    ) -> None:
        self.app, self.client, self.kept, self.grantors, self.until = app, client, kept, grantors, until
        self.place = place
        """The token's file, if this home knows it."""
        self.replacing = False
        """Whether the result is to take that file's place."""
        self.new: Token | None = None
        """What may lie there already, of a run that was stopped."""
        self.watch = Stopwatch()
        self.people: list[str] = []
        # Of a run that was stopped, too.
        self.kept_receipts = kept_before(receipts)
        self._receipts = receipts

    def perform(
        self, kept: Kept | None = None, save: Callable[[Token], None] | None = None
    ) -> Check | Healed | Renewal | Retirement:
        newest = self.newest if kept is None else _as_it_is
        done, people = perform(self.app, self.client, kept or self.kept, self.grantors, self.until, newest, save)
        assert isinstance(done, Check | Healed | Renewal | Retirement)
        self.people += [one for one in people if one not in self.people]
        self.kept_receipts += openings(done.receipts, done.salt)
        return done

    def keep(self) -> None:
        """Keeps the receipts of what was performed: once nothing is lost if they cannot be written, and before what may
        be stopped."""
        if self._receipts:
            keep(self.app, self._receipts, {"openings": self.kept_receipts}, force=True)

    def newest(self, kept: Kept) -> Kept:
        """The request of the token as its file has it now: seats may have been repaired or rerooted since. Where that
        file is to be replaced it must hold this token: raises `exists`, and what reading it does."""
        if self.place is None:
            return kept
        home, asked = self.app.home.root, kept.request
        try:
            now = Token.load(self.place, home=home)
        except EvanesceError as e:
            if self.replacing:
                raise error(e.code, e.message, f"Put token {asked.token.id} back there, or give --out FILE.") from None
            now = asked.token
        if now.id != asked.token.id:
            if self.replacing and (self.new is None or now.id != self.new.id):
                raise error(
                    "exists",
                    f"{self.place} holds another token by now ({now.id}), which this request is not about",
                    "Give --out FILE.",
                )
            now = asked.token
        if now.pinned is None and _requests.asked_here(asked.id, asked, home):
            # It was asked for from here, by that id, on somebody's word.
            now.pinned = "trusted"
        self.kept = replace(kept, request=replace(asked, token=now))
        return self.kept

    def document(self, token: Token) -> dict[str, object]:
        return {"request": self.kept.request.id, "token": token.id, "approved_by": self.people}


def _as_it_is(kept: Kept) -> Kept:
    return kept


def _opened(waiting: _Waiting) -> None:
    app, token = waiting.app, waiting.kept.request.token
    done = waiting.perform()
    assert isinstance(done, Check)
    waiting.kept.finish()
    waiting.keep()
    report_check(app, token, done, None, waiting.watch, waiting.document(token))


def _retired(waiting: _Waiting) -> None:
    app, token = waiting.app, waiting.kept.request.token
    pause, said = AGAIN, ""
    while True:
        done = waiting.perform()
        assert isinstance(done, Retirement)
        waiting.keep()
        if done.dead or time.monotonic() + pause >= waiting.until:
            break
        # Those that were away have not spent what people approved.
        missing = ", ".join(printable(seat.seat) for seat in done.missing)
        if missing != said:
            app.say(f"Not dead yet: {missing}.")
        said = missing
        time.sleep(pause)
        pause = min(2 * pause, SELDOM)
    if done.dead:
        waiting.kept.finish()
    report_retirement(app, token, done, waiting.document(token))


def _repaired(waiting: _Waiting, target: Path, armored: bool, in_place: bool, force: bool, as_asked: Token) -> None:
    app = waiting.app
    waiting.replacing = in_place
    waiting.newest(waiting.kept)
    ((seat, holder),) = waiting.kept.request.seats.items()
    token, done = _seated(target, as_asked, seat, holder), None
    if token is None:
        check_free([str(target)], force or in_place)
        _files.check_writable(target)
        healed = waiting.perform()
        assert isinstance(healed, Healed)
        token, done = healed.token, healed
        with _files.alone_in(target.parent):
            aside = _changed(waiting, target, in_place, force)
            token.save(aside or target, armored=armored, force=force or in_place or aside is not None)
        waiting.kept.finish()
        waiting.keep()
        if aside is not None:
            raise error(
                "exists",
                f"{target} was changed meanwhile, so the repaired token is in {aside}",
                "See which of the two has the holders that you want, and ask anew for the other's seat.",
            )
    waiting.kept.finish()
    _emit(waiting, token, target, done, done is None)
    name = printable(_planned.name_of(waiting.client.agents, holder))
    app.say(f"Seat {printable(seat)} is {name}'s. Written to {target}.", "green")


def _seated(target: Path, as_asked: Token, seat: str, holder: str) -> Token | None:
    """The token that lies there, if a run that was stopped has given the seat away. Of an agent that takes its own
    seat back nothing can be told."""
    try:
        now = Token.load(target)
    except EvanesceError:
        return None
    if now.id != as_asked.id:
        return None
    was, held = ({at.name: at.holder_id for at in token.seats}[seat] for token in (as_asked, now))
    return now if held == holder != was else None


def _changed(waiting: _Waiting, target: Path, in_place: bool, force: bool) -> Path | None:
    """Where to put a repaired token instead, if its file is no longer what was repaired: it is the only copy."""
    if in_place:
        try:
            same = Token.load(target) == waiting.kept.request.token
        except EvanesceError:
            same = False
    else:
        same = force or not target.exists()
    return None if same else target.with_name(f"{target.name}.{waiting.kept.request.id}.repaired")


def _reshared(waiting: _Waiting, target: Path, armored: bool, in_place: bool, force: bool) -> None:
    app, asked = waiting.app, waiting.kept.request
    healing = Healing.of(target, asked.token, "request", {"input": asked.input.hex()})
    if not healing.state.exists() and replace(healing, beside=waiting.place).holds():
        # It was to go there when it was begun.
        healing = replace(healing, beside=waiting.place)
    new, healed, unproven, opening = healing.resume(app.home.root), None, None, None
    resumed = new is not None
    if new is None and waiting.kept.done:
        raise error(
            "spent",
            f"request {asked.id} was performed before, and its new token written",
            "It is where that `wait` put it: in place of the old one, or in its --out.",
        )
    waiting.replacing, waiting.new = in_place, new
    waiting.newest(waiting.kept)
    if new is None:
        check_free([str(target)], force or in_place)
        _files.check_writable(healing.state)
        # Of a key that is never put together, before old shares go.
        done = waiting.perform(save=healing.note)
        assert isinstance(done, Healed | Renewal)
        healed, new = done, done.token
        if isinstance(done, Healed):
            unproven = done.unproven
            opening = None if unproven is None else Request.to_open(new, asked.caller)
            healing.note(new, opening)
        waiting.keep()
    else:
        opening = healing.opening(new, asked.caller, app.home.root)
        healed = None if asked.token.model == "regen" else finished(new, asked.token)
    if opening is not None:
        first = _first_opening(waiting, opening, unproven)
        healing.note(new)
        first.finish()
        waiting.keep()
    healing.place(new, armored, in_place, force)
    # In this order: a state that is left is gone on with, and without one a new token would be taken for another.
    waiting.kept.finish()
    healing.done()
    _emit(waiting, new, target, healed, resumed)
    app.say(f"Minted {printable(new.name)} anew: {new.quorum}.", "green")
    app.say(f"Token id {new.id}: whoever relies on this key by its old token pins this one instead.")
    app.say(f"Written to {target}." + (f" The old token is kept as {healing.kept}." if in_place else ""))
    if asked.token.model == "regen":
        app.say("The old token opens the key as well: retire it when nobody needs it (evanesce key retire).", "yellow")
    else:
        renewed = healed if isinstance(healed, Renewal) else None
        app.say(f"The old token is not dead: evanesce key revoke it {when_to_revoke(renewed)}.", "yellow")
    exit_if_shares_stayed(healed)


def _first_opening(waiting: _Waiting, opening: Request, why: EvanesceError | None) -> Kept:
    app = waiting.app
    root = _requests.root(app.home.root, waiting.kept.folder.parent)
    first = Kept(root.root / opening.id, opening)
    if not first.folder.exists():
        first = root.keep(opening, app.home.root)
    app.say(f"The new token is seated, and could not be opened yet{f': {printable(why.message)}' if why else ''}.")
    app.say(
        f"If its policy waits for approvals of that, those who are asked need {first.folder}/request.json:\n"
        f"  evanesce approve {first.folder} --identity KEY"
    )
    waiting.perform(first)
    return first


def _emit(waiting: _Waiting, token: Token, target: Path, healed: Healed | Renewal | None, resumed: bool) -> None:
    app = waiting.app
    old, more = waiting.kept.request.token.id, waiting.document(token)
    app.emit(healed_json(token, old, target, healed, resumed, waiting.watch.milliseconds, more))
    if healed:
        warn_of(app, healed)
    if isinstance(healed, Renewal):
        warn_of_left_out(app, healed.left_out, waiting.client.agents)
