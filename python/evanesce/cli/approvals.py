"""`evanesce request`, `approve`, `requests` and `wait`: operations that people must approve first."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from evanesce import Mac, Secret, Signature, _files, _requests
from evanesce._requests import Given, Kept
from evanesce._text import printable, short
from evanesce.approvals import ACTIONS, OF_TOKEN, Approval, Request, Site, approvers, from_assertion
from evanesce.approvals import challenge as challenge_of
from evanesce.cli import _io, _options
from evanesce.cli._app import App, Stopwatch, base64_text, verb
from evanesce.cli._ask import folder_option, publish
from evanesce.cli._finish import check_free, finish
from evanesce.cli._planned import complete, show_plan
from evanesce.cli._waiting import clock, perform, who
from evanesce.cli.identity import own_id, public_key_bytes
from evanesce.cli.sign import one_message
from evanesce.errors import error

LONGEST = 4000
"""Characters of a message that an approver is shown."""

_FOLDER = folder_option


def register(root: click.Group) -> None:
    """Adds these verbs."""
    verb(root)(request)
    verb(root)(approve)
    verb(root)(requests)
    verb(root)(wait)


@_options.token_argument
@_options.message_argument
@_options.payload_option
@click.option("--action", type=click.Choice(ACTIONS), default="sign", show_default=True)
@_options.suite_option
@_options.aad_options
@click.option("--length", type=click.IntRange(1, 8160), default=32, help="Bytes to derive; FILE is the context.")
@_options.grant_option
@click.option("--word", default="", metavar="TEXT", help="What it is about, where agents see no payload; unchecked.")
@_FOLDER
def request(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    message: str | None,
    text: str | None,
    payload: str | None,
    action: str,
    suite: str | None,
    aad: str | None,
    aad_file: str | None,
    length: int,
    grant: str | None,
    word: str,
    folder: str | None,
) -> None:
    """Ask people to approve an operation. Prints its id, and asks no agent.

    What is signed, MACed, decrypted or derived is FILE, stdin (-), --message TEXT or --payload FILE. Then
    `evanesce wait ID` performs it, once enough have approved; under the --grant, if there is one.
    What is done to a token as a whole is asked for with --ask of its own verb: key reshare, refresh, repair, retire,
    check --open.
    """
    one_message(message is not None, text, payload)
    loaded = app.token(token, pin, trust_token)
    caller = own_id(app)
    under = None if grant is None else app.grant(grant, loaded)
    if payload is not None:
        shown = bytes(_io.read_input(app, payload, "payload"))
        if action not in ("sign", "mac"):
            raise error("usage", f"{action} has no payload", "Give a FILE.")
        make = Request.to_sign if action == "sign" else Request.to_mac
        made = make(loaded, caller, payload=shown, suite=suite, word=word)
    else:
        content = _io.text_bytes(text) if text is not None else bytes(_io.read_input(app, message or "-", "message"))
        if action == "decrypt":
            extra = _additional(app, aad, aad_file)
            made = Request.to_decrypt(loaded, caller, content, extra, suite=suite, word=word)
        elif action == "derive":
            loaded.require_pinned("derive a working key from", trust_token)
            made = Request.to_derive(loaded, caller, content, length, suite=suite, word=word)
        else:
            make = Request.to_sign if action == "sign" else Request.to_mac
            made = make(loaded, caller, content, suite=suite, word=word)
    app.emit(publish(app, made, folder, under))


def _additional(app: App, aad: str | None, aad_file: str | None) -> bytes:
    if aad is not None and aad_file is not None:
        raise error("usage", "the additional data was given twice", "Give --aad or --aad-file.")
    if aad_file is not None:
        return bytes(_io.read_input(app, aad_file, "additional data"))
    return _io.text_bytes(aad or "")


@click.argument("reference", metavar="REQUEST")
@click.option("--identity", metavar="KEY", help="The approver's key file. [default: the home's own identity]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--out", metavar="FILE", help="Write the approval there instead of beside the request.")
@click.option("--challenge", metavar="FILE", help="For an authenticator: write what it is to sign there, or read it.")
@click.option("--webauthn", metavar="FILE", help="The browser's assertion over that challenge (toJSON()).")
@click.option("--public-key", metavar="FILE", help="The authenticator's, PEM or DER.")
@click.option("--site", metavar="DOMAIN", help="Its relying party. [default: as the token's policy names it]")
@_FOLDER
def approve(
    app: App,
    reference: str,
    identity: str | None,
    yes: bool,
    out: str | None,
    challenge: str | None,
    webauthn: str | None,
    public_key: str | None,
    site: str | None,
    folder: str | None,
) -> None:
    """Show what a REQUEST asks for, and approve it: with a key file, or an authenticator.

    REQUEST is an id, a folder or a request.json. The approval lasts 14 minutes and permits one performance.
    With an authenticator in two steps: --challenge FILE writes what a page gives to navigator.credentials.get;
    --webauthn ASSERTION --challenge FILE --public-key KEY takes what came of it.
    """
    if webauthn is not None and (challenge is None or public_key is None):
        raise error(
            "usage", "--webauthn needs --challenge and --public-key", "Give the file that the first step wrote."
        )
    check_free([out], False)
    kept = _requests.root(app.home.root, folder).find(reference, app.home.root)
    asked = kept.request
    if webauthn is not None and challenge is not None and public_key is not None:
        made = _from_browser(kept, challenge, webauthn, public_key, site)
        return _given(app, kept, made, out)
    _show(app, asked)
    if challenge is not None:
        return _write_challenge(app, asked, challenge, site)
    if not yes:
        _confirm(app)
    made = asked.approve(identity if identity is not None else app.home.identity)
    if made.approver == asked.caller:
        raise error("usage", "whoever asks cannot approve it", "Approve it with another key (--identity KEY).")
    return _given(app, kept, made, out)


def _show(app: App, asked: Request) -> None:
    app.say(asked.text)
    # All that the digest covers and the text does not say.
    if asked.action in OF_TOKEN:
        show_plan(app, asked)
    elif not asked.shown:
        app.say("What follows is what this machine has computed that digest from.")
        _show_bytes(app, "Content", asked.content)
        if asked.action == "decrypt":
            _show_bytes(app, "Additional data", asked.aad)
        elif asked.action == "derive":
            app.say(f"Length of the derived key: {asked.length} bytes")
    if asked.token.pinned is None:
        app.warn(["nothing here says that this token is the right one: compare its id with whoever created the key"])


def _show_bytes(app: App, what: str, data: bytes) -> None:
    if not data:
        return app.say(f"{what}: none")
    app.say(f"{what}: {len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")
    if len(data) > 4 * LONGEST:
        return None
    try:
        words = data.decode()
    except UnicodeDecodeError:
        return None
    if len(words) <= LONGEST:
        # Marked, since its lines are the requester's and could read like these.
        app.say("\n".join(f"| {line}" for line in words.split("\n")))
    return None


def _confirm(app: App) -> None:
    if app.json or not sys.stdin.isatty():
        raise error("usage", "nobody is there to be asked", "Read what is approved, and say --yes.")
    if not click.confirm("Approve this?", err=True):
        raise error("interrupted", "nothing was approved", "")


def _given(app: App, kept: Kept, made: Approval, out: str | None) -> None:
    if out is not None:
        _files.write(Path(out), made.data)
        written = Path(out)
    else:
        written = kept.add(made)
    problem = kept.request.judge(made)
    app.emit(
        {
            "request": kept.request.id,
            "approval": made.id,
            "approver": made.approver,
            "expires": made.expires,
            "written": str(written),
            "text": made.text,
        }
    )
    if problem:
        app.warn([f"agents will not count it: {problem}"])
    app.say(f"Approved until {clock(made.expires)}, by {short(made.approver)}: {written}", "green")


def _write_challenge(app: App, asked: Request, target: str, site: str | None) -> None:
    named = {one.site.domain for one in approvers(asked.token) or () if one.site is not None}
    domain = site or (named.pop() if len(named) == 1 else None)
    if domain is None:
        raise error("usage", "--site is missing", "Name the domain that the authenticator's key belongs to.")
    statement = asked.statement()
    document = {
        "statement": base64_text(statement),
        "text": asked.text,
        "publicKey": {
            "challenge": base64.urlsafe_b64encode(challenge_of(statement)).decode().rstrip("="),
            "rpId": domain,
            "userVerification": "required",
        },
    }
    _files.write(Path(target), (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
    app.emit({"request": asked.id, "written": target, **document})
    app.say(f"What the authenticator is to sign, within 14 minutes: {target}")


def _from_browser(kept: Kept, challenge: str, webauthn: str, public_key: str, site: str | None) -> Approval:
    try:
        written = json.loads(_files.read(Path(challenge), limit=1 << 20))
        statement, domain = base64.b64decode(written["statement"], validate=True), written["publicKey"]["rpId"]
        assertion: dict[str, Any] = json.loads(_files.read(Path(webauthn), limit=1 << 20))
    except (ValueError, KeyError, TypeError):
        raise error("bad-input", "the challenge or the assertion is not JSON as it should be", "Begin anew.") from None
    spki = public_key_bytes(_files.read(Path(public_key), limit=1 << 16))
    named = {one.site.domain: one.site for one in approvers(kept.request.token) or () if one.site is not None}
    at = named.get(site or domain, Site(site or domain))
    return from_assertion(statement, spki, assertion, at)


@_FOLDER
@click.option("--all", "everything", is_flag=True, help="Those that were performed, too.")
def requests(app: App, folder: str | None, everything: bool) -> None:
    """List requests, and who has approved them. Asks no agent."""
    found = _requests.root(app.home.root, folder).all(app.home.root)
    rows = [(kept, kept.given()) for kept in found if everything or not kept.done]
    app.emit({"requests": [_row(kept, given) for kept, given in rows]})
    if app.json:
        return
    table = Table("id", "operation", "key", "asked", "approved by", "")
    for kept, given in rows:
        asked = kept.request
        people = ", ".join(who(one) for one in given) or "nobody"
        table.add_row(
            asked.id,
            f"{asked.action} {asked.suite}".rstrip(),
            printable(asked.token.name),
            clock(asked.made),
            people,
            "done" if kept.done else "",
        )
    app.out.print(table)


def _row(kept: Kept, given: list[Given]) -> dict[str, Any]:
    asked = kept.request
    return {
        "id": asked.id,
        "action": asked.action,
        "suite": asked.suite,
        "token": asked.token.id,
        "key": asked.token.name,
        "caller": asked.caller,
        "made": asked.made,
        "done": kept.done,
        "folder": str(kept.folder),
        "approvals": [
            {
                "approval": one.approval.id,
                "approver": one.approval.approver,
                "name": one.name,
                "expires": one.approval.expires,
                "problem": one.problem,
            }
            for one in given
        ],
    }


@click.argument("reference", metavar="REQUEST")
@click.option("--approval", "given", metavar="FILE", multiple=True, help="One that came some other way; repeatable.")
@click.option("--timeout", type=click.FloatRange(0, 86_400), default=900, show_default=True, metavar="SECONDS")
@_options.out_options
@click.option("--show", is_flag=True, help="Print even a secret to a terminal.")
@_options.receipts_option
@click.option("--grant", metavar="FILE", help="Ask in its grantor's place. [default: as the request was made]")
@_options.deadline_option
@_FOLDER
def wait(
    app: App,
    reference: str,
    given: tuple[str, ...],
    timeout: float,
    out: str | None,
    form: str | None,
    force: bool,
    show: bool,
    receipts: str | None,
    grant: str | None,
    deadline: int | None,
    folder: str | None,
) -> None:
    """Perform a REQUEST as soon as enough people have approved it, and write what comes of it.

    Whenever there is a new approval the agents are asked, and now and then without one: those that are away may come
    back, and an approver be allowed. They alone decide what is enough. Exits 1 when that takes longer than --timeout.
    What was asked for of a token as a whole (--ask of key reshare, refresh, repair and retire, and of check --open) is
    written to the token's own file, or to --out. Stopped, the same command goes on; but what agents have done and was
    not written yet is lost with the approvals, and people are asked anew. Nothing then has changed, but that a new
    holder may have been seated in vain.
    """
    kept = _requests.root(app.home.root, folder).find(reference, app.home.root)
    asked = kept.request
    if asked.action not in OF_TOKEN:
        check_free([out, receipts], force)
    elif form is not None or show:
        raise error("usage", "what comes of this request is no bytes to print", "Leave out --format and --show.")
    elif out is not None and asked.action in ("open", "retire"):
        raise error("usage", f"a request to {asked.action} leaves nothing to write", "Leave out --out.")
    if asked.caller != own_id(app):
        raise error("usage", "this request is another caller's", "Whoever asked for it performs it.")
    if not _requests.asked_here(reference, asked, app.home.root):
        app.warn(["this home did not ask for it: that it is what you want done, nothing here can tell. It reads:"])
        app.say(asked.text)
    secret = asked.action in ("decrypt", "derive")
    if secret:
        _io.check_secret_sink(app, out, show)
    for path in given:
        kept.add(Approval.decode(_files.read(Path(path), limit=8 << 10)))
    file = grant if grant is not None else _requests.grant_of(app.home.root, asked)
    under = None if file is None else app.grant(file, asked.token)
    grantors = frozenset(link.grantor for link in under.links) if under is not None else frozenset()
    until = time.monotonic() + timeout
    if asked.action in OF_TOKEN:
        with app.client(deadline, under) as client:
            complete(app, client, kept, grantors, until, out, force, receipts)
        return
    watch = Stopwatch()
    with app.client(deadline, under) as client:
        done, people = perform(app, client, kept, grantors, until)
    assert isinstance(done, Secret | Signature | Mac)
    kept.finish()
    document: dict[str, object] = {"request": asked.id, "suite": asked.suite, "approved_by": people}
    if isinstance(done, Secret):
        with done:
            document["written"] = _io.write_secret(app, done, out, show, force)
    else:
        document["written"] = _io.write_public(app, done.value, out, form, force)
        document["signature" if isinstance(done, Signature) else "mac"] = base64_text(done.value)
    finish(app, asked.token, [done], receipts, force, document, str(watch))
