"""`evanesce sign` and `evanesce verify`."""

from __future__ import annotations

from pathlib import Path

import click

from evanesce import Signature, canonical_payload
from evanesce import verify as verify_offline
from evanesce.cli import _io, _options
from evanesce.cli._app import App, Stopwatch, base64_text, named, verb
from evanesce.cli._finish import check_free, finish
from evanesce.errors import error


def register(root: click.Group) -> None:
    """Adds these verbs."""
    verb(root)(sign)
    verb(root)(verify)


@_options.token_argument
@click.argument("messages", metavar="[FILE]...", nargs=-1)
@click.option("-m", "--message", "text", metavar="TEXT", help="The message itself, instead of a file.")
@_options.payload_option
@click.option("--suite", "suites", metavar="SUITE", multiple=True, help="Twice for a hybrid signature.")
@_options.out_options
@click.option("--out-dir", metavar="DIR", help="For several messages: one FILE.sig each, there.")
@_options.receipts_option
@_options.grant_option
@_options.deadline_option
def sign(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    messages: tuple[str, ...],
    text: str | None,
    payload: str | None,
    suites: tuple[str, ...],
    out: str | None,
    form: str | None,
    force: bool,
    out_dir: str | None,
    receipts: str | None,
    grant: str | None,
    deadline: int | None,
) -> None:
    """Sign a FILE, stdin (-), --message TEXT or a --payload that the agents read.

    The signature goes to stdout or --out. Several FILEs are signed under one opening, each into --out-dir.
    Two --suite make two signatures from one opening: --out then names FILE.SUITE each.
    """
    one_message(bool(messages), text, payload)
    if len(messages) > 1:
        return _sign_many(
            app, token, pin, trust_token, messages, suites, form, force, out_dir, receipts, grant, deadline
        )
    if out_dir is not None:
        raise error("usage", "--out-dir is for several messages", "Use --out.")
    if len(suites) > 2:
        raise error("usage", "a hybrid signature takes two suites", "Name one suite, or two.")
    hybrid = len(suites) == 2
    if hybrid and payload is not None:
        raise error("usage", "a payload is signed with one suite", "Name one suite.")
    names = [f"{out}.{suite}" for suite in suites] if hybrid and out and out != "-" else [out]
    check_free([*names, receipts], force)
    loaded = app.key(token, pin, trust_token, receipts)
    message = message_bytes(app, messages[0] if messages else None, text, payload)
    watch = Stopwatch()
    with app.client(deadline, grant, loaded) as client:
        if hybrid:
            made = list(client.sign_hybrid(loaded, message, suites))
        elif payload is not None:
            made = [client.sign_payload(loaded, message, suites[0] if suites else None)]
        else:
            made = [client.sign(loaded, message, suites[0] if suites else None)]
    took = str(watch)
    if hybrid and names == [out]:
        for one in made:
            if not app.json:
                _io.write_descriptor(1, f"{one.suite} ".encode() + _io.encoded(one.value, form or "base64"))
        written: list[str | None] = [None, None]
    else:
        written = [_io.write_public(app, one.value, name, form, force) for one, name in zip(made, names, strict=True)]
    documents = [_document(one, path) for one, path in zip(made, written, strict=True)]
    finish(app, loaded, made, receipts, force, {"signatures": documents} if hybrid else documents[0], took)
    return None


def _sign_many(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    messages: tuple[str, ...],
    suites: tuple[str, ...],
    form: str | None,
    force: bool,
    out_dir: str | None,
    receipts: str | None,
    grant: str | None,
    deadline: int | None,
) -> None:
    if out_dir is None and not app.json:
        raise error("usage", "several messages make several signatures", "Say where: --out-dir DIR (or --json).")
    if len(suites) > 1:
        raise error("usage", "a batch is signed with one suite", "Name one suite.")
    names = [str(Path(out_dir) / f"{Path(name).name}.sig") if out_dir else None for name in messages]
    if out_dir and len(set(names)) != len(names):
        raise error("usage", "two of the messages have the same file name", "Sign them apart.")
    check_free([*names, receipts], force)
    loaded = app.key(token, pin, trust_token, receipts)
    contents = [_io.read_input(app, name, "message") for name in messages]
    watch = Stopwatch()
    with app.client(deadline, grant, loaded) as client:
        made = client.sign_many(loaded, contents, suites[0] if suites else None)
    took = str(watch)
    if out_dir:
        for one, name in zip(made, names, strict=True):
            _io.write_public(app, one.value, name, form, force)
    documents = [
        {"message": message, **_document(one, name)} for message, one, name in zip(messages, made, names, strict=True)
    ]
    finish(app, loaded, made, receipts, force, {"signatures": documents}, took)


def _document(made: Signature, written: str | None) -> dict[str, object]:
    document: dict[str, object] = {"suite": made.suite, "signature": base64_text(made.value), "written": written}
    if made.message is not None:
        document["payload"] = made.message.decode()
    return document


@_options.token_argument
@_options.message_argument
@_options.payload_option
@click.option("--signature", metavar="FILE", required=True, help="The signature (- for stdin).")
@_options.suite_option
@_options.input_format_option
def verify(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    message: str | None,
    text: str | None,
    payload: str | None,
    signature: str,
    suite: str | None,
    input_form: str | None,
) -> None:
    """Verify a signature.

    It is over a FILE, stdin (-), --message TEXT or --payload FILE. Offline. Exits 0 when it is right, 2 when it
    is not. The token must be pinned: created here, or named by --pin.
    """
    content = message_bytes(app, message, text, payload)
    given = _io.binary(_io.read_input(app, signature, "signature"), input_form, "signature")
    loaded = app.key(token, pin, trust_token)
    verify_offline(loaded, content, given, suite)
    app.emit({**named(loaded), "verified": True})
    app.say("The signature is right.", "green")


def message_bytes(app: App, message: str | None, text: str | None, payload: str | None) -> bytes | bytearray:
    """The message that was meant: of a payload its canonical form."""
    one_message(message is not None, text, payload)
    if payload is not None:
        return canonical_payload(_io.read_input(app, payload, "payload"))
    if text is not None:
        return _io.text_bytes(text)
    return _io.read_input(app, message or "-", "message")


def one_message(file: bool, text: str | None, payload: str | None) -> None:
    """Raises `usage` where the message was given in more than one way."""
    ways = {"FILE": file, "--message": text is not None, "--payload": payload is not None}
    given = [way for way, found in ways.items() if found]
    if len(given) > 1:
        raise error("usage", f"the message was given twice: {' and '.join(given)}", "Give one of them.")
