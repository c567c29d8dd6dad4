"""`evanesce mac` and `evanesce verify-mac`."""

from __future__ import annotations

import click

from evanesce.cli import _io, _options
from evanesce.cli._app import App, Stopwatch, base64_text, verb
from evanesce.cli._finish import check_free, finish
from evanesce.cli.sign import message_bytes


def register(root: click.Group) -> None:
    """Adds these verbs."""
    verb(root)(mac)
    verb(root, "verify-mac")(verify_mac)


@_options.token_argument
@_options.message_argument
@_options.payload_option
@_options.suite_option
@_options.out_options
@_options.receipts_option
@_options.grant_option
@_options.deadline_option
def mac(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    message: str | None,
    text: str | None,
    payload: str | None,
    suite: str | None,
    out: str | None,
    form: str | None,
    force: bool,
    receipts: str | None,
    grant: str | None,
    deadline: int | None,
) -> None:
    """MAC a FILE, stdin (-), --message TEXT or a --payload that the agents read."""
    check_free([out, receipts], force)
    loaded = app.key(token, pin, trust_token, receipts)
    content = message_bytes(app, message, text, payload)
    watch = Stopwatch()
    with app.client(deadline, grant, loaded) as client:
        made = (client.mac if payload is None else client.mac_payload)(loaded, content, suite)
    took = str(watch)
    written = _io.write_public(app, made.value, out, form, force)
    document = {"suite": made.suite, "mac": base64_text(made.value), "written": written}
    if made.message is not None:
        document["payload"] = made.message.decode()
    finish(app, loaded, [made], receipts, force, document, took)


@_options.token_argument
@_options.message_argument
@_options.payload_option
@click.option("--mac", "given", metavar="FILE", required=True, help="The MAC (- for stdin).")
@_options.suite_option
@_options.input_format_option
@_options.receipts_option
@_options.force_option
@_options.grant_option
@_options.deadline_option
def verify_mac(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    message: str | None,
    text: str | None,
    payload: str | None,
    given: str,
    suite: str | None,
    input_form: str | None,
    receipts: str | None,
    force: bool,
    grant: str | None,
    deadline: int | None,
) -> None:
    """Verify a MAC, through the quorum. Exits 0 when it is right, 2 when it is not. The token must be
    pinned."""
    check_free([receipts], force)
    content = message_bytes(app, message, text, payload)
    value = _io.binary(_io.read_input(app, given, "MAC"), input_form, "MAC")
    loaded = app.key(token, pin, trust_token, receipts)
    watch = Stopwatch()
    with app.client(deadline, grant, loaded) as client:
        found = client.verify_mac(loaded, content, value, suite)
    finish(app, loaded, [found], receipts, force, {"suite": found.suite, "verified": True}, str(watch))
    app.say("The MAC is right.", "green")
