"""`evanesce derive`, `agree`, `encapsulate` and `decapsulate`: verbs that end in a secret."""

from __future__ import annotations

import click

from evanesce import _pem
from evanesce import encapsulate as encapsulate_offline
from evanesce.cli import _io, _options
from evanesce.cli._app import App, Stopwatch, base64_text, verb
from evanesce.cli._finish import check_free, finish
from evanesce.errors import error


def register(root: click.Group) -> None:
    """Adds these verbs."""
    for function in (derive, agree, encapsulate, decapsulate):
        verb(root)(function)


@_options.token_argument
@click.option("--context", metavar="TEXT", help="What the working key is for.")
@click.option("--context-file", metavar="FILE", help="The same, from a file (- for stdin).")
@click.option("--length", type=click.IntRange(1, 8160), default=32, show_default=True, metavar="BYTES")
@_options.suite_option
@_options.secret_out_options
@_options.receipts_option
@_options.grant_option
@_options.deadline_option
def derive(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    context: str | None,
    context_file: str | None,
    length: int,
    suite: str | None,
    out: str | None,
    show: bool,
    force: bool,
    receipts: str | None,
    grant: str | None,
    deadline: int | None,
) -> None:
    """Derive a working key for a context.

    The same again for the same context. The token must be pinned: created here, or named by --pin.
    """
    if (context is None) == (context_file is None):
        raise error("usage", "a working key is for one context", "Give --context TEXT or --context-file FILE.")
    _io.check_secret_sink(app, out, show)
    check_free([out, receipts], force)
    content = _io.text_bytes(context) if context is not None else _io.read_input(app, context_file or "-", "context")
    loaded = app.key(token, pin, trust_token, receipts)
    watch = Stopwatch()
    with app.client(deadline, grant, loaded) as client, client.derive(loaded, content, length, suite) as secret:
        took = str(watch)
        written = _io.write_secret(app, secret, out, show, force)
        finish(
            app, loaded, [secret], receipts, force, {"suite": secret.suite, "length": length, "written": written}, took
        )


@_options.token_argument
@click.argument("peer", metavar="PEER", default="-")
@_options.suite_option
@_options.secret_out_options
@_options.receipts_option
@_options.grant_option
@_options.deadline_option
def agree(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    peer: str,
    suite: str | None,
    out: str | None,
    show: bool,
    force: bool,
    receipts: str | None,
    grant: str | None,
    deadline: int | None,
) -> None:
    """Agree on a shared secret with a PEER.

    PEER is a file with its public key: raw 32 bytes, DER or PEM. The token must be pinned.
    """
    _io.check_secret_sink(app, out, show)
    check_free([out, receipts], force)
    key = _pem.der(bytes(_io.read_input(app, peer, "peer's public key")), "the peer's file")
    loaded = app.key(token, pin, trust_token, receipts)
    watch = Stopwatch()
    with app.client(deadline, grant, loaded) as client, client.agree(loaded, key, suite) as secret:
        took = str(watch)
        length = len(secret)
        written = _io.write_secret(app, secret, out, show, force)
        finish(
            app, loaded, [secret], receipts, force, {"suite": secret.suite, "length": length, "written": written}, took
        )


@_options.token_argument
@click.option("--ciphertext", metavar="FILE", required=True, help="Write the ciphertext there.")
@_options.suite_option
@_options.secret_out_options
def encapsulate(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    ciphertext: str,
    suite: str | None,
    out: str | None,
    show: bool,
    force: bool,
) -> None:
    """Make a fresh secret for the holder of the key.

    The ciphertext carries it there. Offline; the token must be pinned.
    """
    _io.check_secret_sink(app, out, show)
    check_free([out, ciphertext], force)
    loaded = app.token(token, pin, trust_token)
    made = encapsulate_offline(loaded, suite)
    with made.secret as secret:
        carried = _io.write_public(app, made.ciphertext, ciphertext, None, force)
        length = len(secret)
        written = _io.write_secret(app, secret, out, show, force)
        app.emit(
            {
                "token": loaded.id,
                "suite": secret.suite,
                "ciphertext": base64_text(made.ciphertext),
                "ciphertext_written": carried,
                "length": length,
                "written": written,
            }
        )


@_options.token_argument
@click.argument("ciphertext", metavar="[FILE]", default="-")
@_options.suite_option
@_options.secret_out_options
@_options.input_format_option
@_options.receipts_option
@_options.grant_option
@_options.deadline_option
def decapsulate(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    ciphertext: str,
    suite: str | None,
    out: str | None,
    show: bool,
    force: bool,
    input_form: str | None,
    receipts: str | None,
    grant: str | None,
    deadline: int | None,
) -> None:
    """Recover the secret that an encapsulation carries."""
    _io.check_secret_sink(app, out, show)
    check_free([out, receipts], force)
    content = _io.binary(_io.read_input(app, ciphertext, "ciphertext"), input_form, "ciphertext")
    loaded = app.key(token, pin, trust_token, receipts)
    watch = Stopwatch()
    with app.client(deadline, grant, loaded) as client, client.decapsulate(loaded, content, suite) as secret:
        took = str(watch)
        length = len(secret)
        written = _io.write_secret(app, secret, out, show, force)
        finish(
            app, loaded, [secret], receipts, force, {"suite": secret.suite, "length": length, "written": written}, took
        )
