"""Bytes in and out of the command line: files, pipes, terminals.

Public results go raw to files and pipes and as base64 to a terminal. Secret results go to a file or a pipe;
to a terminal, by whatever name, only when asked (`--show`). Nothing is overwritten without `--force`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import stat
import sys
from collections.abc import Iterator
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
    if reference == "/dev/stderr":
        return 2
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


@contextlib.contextmanager
def sink(out: str | None) -> Iterator[int | None]:
    """What is written for `out` goes to this descriptor: stdout, another that is open already, or a device
    such as /dev/tty. None for a file: it is made anew, so it cannot be a terminal. Raises `io`, `not-found`."""
    name = "-" if out is None else out
    given = descriptor_of(name, 1)
    with _files.reporting(f"write to {printable(name)}"):
        if given is None and not _is_device(name):
            descriptor = None
        elif given is None:
            descriptor = os.open(name, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
        else:
            os.fstat(given)
            descriptor = given
    try:
        yield descriptor
    finally:
        if descriptor is not None and given is None:
            os.close(descriptor)


def _is_device(path: str) -> bool:
    try:
        return stat.S_ISCHR(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False


def write_public(app: App, value: bytes, out: str | None, form: str | None, force: bool) -> str | None:
    """Writes a public result where it was asked for; returns the path, if it is a file. Under `--json`
    nothing goes to stdout: the document carries it."""
    with sink(out) as descriptor:
        if descriptor is None and out is not None:
            _files.write(Path(out), encoded(value, form or "raw"), overwrite=force)
            return out
        if descriptor is not None and not (app.json and descriptor == 1):
            write_descriptor(descriptor, encoded(value, form or ("base64" if os.isatty(descriptor) else "raw")))
    return None


def write_descriptor(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """All of it, to an open descriptor."""
    sys.stdout.flush()
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def check_secret_sink(app: App, out: str | None, show: bool) -> None:
    """Refuses, before the key is regenerated, to put a secret on a terminal unasked or inside a JSON
    document."""
    with sink(out) as descriptor:
        _check_secret_descriptor(app, descriptor, show)


def _check_secret_descriptor(app: App, descriptor: int | None, show: bool) -> None:
    if descriptor is None:
        return
    if app.json and descriptor == 1:
        raise error("usage", "a secret does not go into the JSON document", "Name a file: --out FILE.")
    if os.isatty(descriptor) and not show:
        raise error(
            "usage",
            "a secret is not printed to a terminal unasked",
            "Name a file (--out FILE), use a pipe, or say --show.",
        )


def write_secret(app: App, secret: Secret, out: str | None, show: bool, force: bool, text: bool = False) -> str | None:
    """Writes a secret where it was asked for; returns the path, if it is a file. On a terminal: as text,
    anything unprintable escaped, if `text`; else as hex."""
    with sink(out) as descriptor:
        # The one that is written to, whatever the name led to before.
        _check_secret_descriptor(app, descriptor, show)
        if descriptor is None and out is not None:
            secret.save(out, force=force)
            return out
        if descriptor is not None and os.isatty(descriptor):
            taken = bytearray(len(secret))
            secret.into(taken)
            shown = _visible(taken, text)
            write_descriptor(descriptor, shown)
            wipe(taken)
            wipe(shown)
        elif descriptor is not None:
            sys.stdout.flush()
            secret.to_descriptor(descriptor)
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
