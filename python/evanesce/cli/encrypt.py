"""`evanesce encrypt` and `evanesce decrypt`."""

from __future__ import annotations

import click

from evanesce import encrypt_to
from evanesce.cli import _io, _options
from evanesce.cli._app import App, Stopwatch, base64_text, named, verb
from evanesce.cli._finish import check_free, finish
from evanesce.errors import error
from evanesce.suites import fitting


def register(root: click.Group) -> None:
    """Adds these verbs."""
    verb(root)(encrypt)
    verb(root)(decrypt)


@_options.token_argument
@click.argument("plaintext", metavar="[FILE]", default="-")
@_options.aad_options
@_options.suite_option
@_options.out_options
@_options.receipts_option
@_options.grant_option
@_options.deadline_option
def encrypt(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    plaintext: str,
    aad: str | None,
    aad_file: str | None,
    suite: str | None,
    out: str | None,
    form: str | None,
    force: bool,
    receipts: str | None,
    grant: str | None,
    deadline: int | None,
) -> None:
    """Encrypt a FILE or stdin (-).

    Under a symmetric suite this goes through the quorum; to an RSA public key it is done offline. The token
    must be pinned: created here, or named by --pin.
    """
    check_free([out, receipts], force)
    extra = _aad(app, aad, aad_file)
    loaded = app.key(token, pin, trust_token, receipts)
    chosen = suite or (None if fitting(loaded.suites, "encrypt") else loaded.suite_for("encrypt-to"))
    offline = chosen is not None and chosen in fitting(loaded.suites, "encrypt-to")
    if offline and extra:
        raise error("usage", f"{chosen} takes no additional data", "Leave --aad out.")
    if offline and grant is not None:
        raise error("usage", f"{chosen} encrypts offline, for which nobody needs a grant", "Leave --grant out.")
    content = _io.read_input(app, plaintext, "plaintext")
    watch = Stopwatch()
    try:
        if offline:
            value = encrypt_to(loaded, content, chosen)
            written = _io.write_public(app, value, out, form, force)
            app.emit({**named(loaded), "suite": chosen, "ciphertext": base64_text(value), "written": written})
            return
        with app.client(deadline, grant, loaded) as client:
            made = client.encrypt(loaded, content, extra, chosen)
    finally:
        _io.wipe(content)
    took = str(watch)
    written = _io.write_public(app, made.value, out, form, force)
    document = {"suite": made.suite, "ciphertext": base64_text(made.value), "written": written}
    finish(app, loaded, [made], receipts, force, document, took)


@_options.token_argument
@click.argument("ciphertext", metavar="[FILE]", default="-")
@_options.aad_options
@_options.suite_option
@_options.secret_out_options
@_options.input_format_option
@_options.receipts_option
@_options.grant_option
@_options.deadline_option
def decrypt(
    app: App,
    token: str,
    pin: str | None,
    trust_token: bool,
    ciphertext: str,
    aad: str | None,
    aad_file: str | None,
    suite: str | None,
    out: str | None,
    show: bool,
    force: bool,
    input_form: str | None,
    receipts: str | None,
    grant: str | None,
    deadline: int | None,
) -> None:
    """Decrypt a FILE or stdin (-).

    The plaintext goes to --out (0600) or a pipe; to a terminal only with --show.
    """
    _io.check_secret_sink(app, out, show)
    check_free([out, receipts], force)
    extra = _aad(app, aad, aad_file)
    loaded = app.key(token, pin, trust_token, receipts)
    content = _io.binary(_io.read_input(app, ciphertext, "ciphertext"), input_form, "ciphertext")
    watch = Stopwatch()
    with app.client(deadline, grant, loaded) as client, client.decrypt(loaded, content, extra, suite) as secret:
        took = str(watch)
        length = len(secret)
        written = _io.write_secret(app, secret, out, show, force, text=True)
        document = {"suite": secret.suite, "length": length, "written": written}
        finish(app, loaded, [secret], receipts, force, document, took)


def _aad(app: App, aad: str | None, aad_file: str | None) -> bytes | bytearray:
    if aad is not None and aad_file is not None:
        raise error("usage", "--aad and --aad-file were both given", "Give one of them.")
    if aad_file is not None:
        return _io.read_input(app, aad_file, "additional data")
    return _io.text_bytes(aad or "")
