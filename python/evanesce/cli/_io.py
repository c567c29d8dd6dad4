"""Bytes in and out of the command line: files, pipes, terminals.

Public results go raw to files and pipes and as base64 to a terminal. Secret results go to a file or a pipe;
to a terminal only when asked (`--show`). Nothing is overwritten without `--force`.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import sys
from pathlib import Path

from evanesce import Secret, _files
from evanesce._text import printable
from evanesce.cli._app import App, base64_text
from evanesce.errors import error

LARGEST = 256 << 20
"""Bytes of one message, plaintext or ciphertext."""

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,9})")


def descriptor_of(reference: str, standard: int) -> int | None:
    """The open descriptor that a path names, if it names one. A hardened process of an ordinary user
    cannot open these paths (its /proc entry belongs to root), so `<(…)` and /dev/stdin would fail
    otherwise."""
    if reference == "-" or reference == ("/dev/stdin", "/dev/stdout")[standard]:
        return standard
    match = _DESCRIPTOR.fullmatch(reference)
    return int(match[1]) if match else None


def read_input(app: App, reference: str, what: str) -> bytearray:
    """All of a file or stream, in a buffer that can be wiped. Raises `not-found`, `io`, `bad-input` (too
    large)."""
    descriptor = descriptor_of(reference, 0)
    if descriptor == 0:
        app.take_stdin(what)
    with _files.reporting(f"read the {what} from {printable(reference)}"):
        if descriptor is None:
            descriptor = os.open(reference, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return _read(descriptor, what)
            finally:
                os.close(descriptor)
        if os.isatty(descriptor):
            app.remark(f"Type the {what}, then Ctrl-D on a line of its own.")
        return _read(descriptor, what)


def _read(descriptor: int, what: str) -> bytearray:
    found = os.fstat(descriptor)
    # The size is a guess only: it saves growing, which would leave copies behind.
    size = found.st_size if stat.S_ISREG(found.st_mode) else 0
    buffer = bytearray(min(size, LARGEST) + 65536)
    filled = 0
    while count := os.readv(descriptor, [memoryview(buffer)[filled:]]):
        filled += count
        if filled > LARGEST:
            raise error("bad-input", f"the {what} is larger than {LARGEST >> 20} MiB", "Give a smaller one.")
        if filled == len(buffer):
            grown = bytearray(2 * len(buffer))
            grown[:filled] = buffer
            wipe(buffer)
            buffer = grown
    del buffer[filled:]
    return buffer


def wipe(buffer: bytearray) -> None:
    """Zeroes what was read."""
    for start in range(0, len(buffer), 1 << 20):
        buffer[start : start + (1 << 20)] = bytes(min(1 << 20, len(buffer) - start))


def text_bytes(text: str) -> bytes:
    """An argument's own bytes, whether they are UTF-8 or not."""
    return text.encode(errors="surrogateescape")


def binary(data: bytearray, form: str | None, what: str) -> bytes:
    """A signature, MAC or ciphertext that may be raw, base64 or hex. Told apart by its looks, unless
    `form` says."""
    text = bytes(data).strip()
    if form in (None, "hex") and re.fullmatch(rb"(?:[0-9a-fA-F]{2}\s*)+", text):
        return bytes.fromhex(text.decode())
    if form in (None, "base64") and re.fullmatch(rb"[A-Za-z0-9+/\s]+={0,2}", text):
        try:
            return base64.b64decode(b"".join(text.split()), validate=True)
        except binascii.Error:
            pass
    if form in (None, "raw"):
        return bytes(data)
    raise error("bad-input", f"the {what} is not {form}", "Name its form: --input-format raw, base64 or hex.")


def encoded(value: bytes, form: str) -> bytes:
    """A public result, as the form says; text forms end in a line feed."""
    if form == "base64":
        return base64_text(value).encode() + b"\n"
    return value.hex().encode() + b"\n" if form == "hex" else value


def write_public(app: App, value: bytes, out: str | None, form: str | None, force: bool) -> str | None:
    """Writes a public result where it was asked for; returns the path, if it is a file. Under `--json`
    without `out`, nothing: the document carries it."""
    if out is None or out == "-":
        if not app.json:
            write_descriptor(1, encoded(value, form or ("base64" if os.isatty(1) else "raw")))
        return None
    data = encoded(value, form or "raw")
    descriptor = descriptor_of(out, 1)
    if descriptor is not None:
        write_descriptor(descriptor, data)
        return None
    _files.write(Path(out), data, overwrite=force)
    return out


def write_descriptor(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """All of it, to an open descriptor."""
    sys.stdout.flush()
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def check_secret_sink(app: App, out: str | None, show: bool) -> None:
    """Refuses, before the key is regenerated, to put a secret on a terminal unasked or inside a JSON
    document."""
    if out is not None and out != "-":
        return
    if app.json:
        raise error("usage", "a secret does not go into the JSON document", "Name a file: --out FILE.")
    if os.isatty(1) and not show:
        raise error(
            "usage",
            "a secret is not printed to a terminal unasked",
            "Name a file (--out FILE), use a pipe, or say --show.",
        )


def write_secret(app: App, secret: Secret, out: str | None, show: bool, force: bool, text: bool = False) -> str | None:
    """Writes a secret where it was asked for; returns the path, if it is a file. On a terminal: as text,
    anything unprintable escaped, if `text`; else as hex."""
    check_secret_sink(app, out, show)
    if out is not None and out != "-":
        descriptor = descriptor_of(out, 1)
        if descriptor is None:
            secret.save(out, force=force)
            return out
        secret.to_descriptor(descriptor)
        return None
    if not os.isatty(1):
        sys.stdout.flush()
        secret.to_descriptor(1)
        return None
    taken = bytearray(len(secret))
    secret.into(taken)
    shown = _visible(taken, text)
    write_descriptor(1, shown)
    wipe(taken)
    wipe(shown)
    return None


def _visible(taken: bytearray, text: bool) -> bytearray:
    # Built byte by byte: small integers leave nothing behind, whereas a str or bytes could not be wiped.
    digits = b"0123456789abcdef"
    shown = bytearray(4 * len(taken) + 1)
    end = 0
    for byte in taken:
        if text and (0x20 <= byte < 0x7F or byte in (0x09, 0x0A)):
            shown[end] = byte
            end += 1
            continue
        if text:
            shown[end : end + 2] = b"\\x"
            end += 2
        shown[end] = digits[byte >> 4]
        shown[end + 1] = digits[byte & 15]
        end += 2
    shown[end] = 0x0A
    del shown[end + 1 :]
    return shown
