"""Leaks made on purpose that Python makes; the core makes the others.

Each function leaks the secret of the kind it is named after, keeps it for as long as the process lives, and
returns where: an address, the id of a child process, or nothing for a file.
"""

from __future__ import annotations

import base64
import ctypes
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evanesce import _core

_kept: list[Any] = []
_STRING = sys.getsizeof("") - 1
"""Bytes before the characters of an ASCII string."""
_BYTES = sys.getsizeof(b"") - 1
_HALF = 20_000
"""Of a block in bytes that does not come from Python's pools for small things, nor is a mapping of its own."""


def plant(kind: str, masked: bytes, mask: bytes) -> dict[str, int]:
    """Leaks it; answers `address`, or `pid` for a child's."""
    here = _KINDS.get(kind)
    if here is not None:
        return here(masked, mask)
    return {"address": _core.audit_plant(kind, masked, mask)}  # type: ignore[attr-defined]


def _bare(masked: bytes, mask: bytes) -> bytes:
    return bytes(b ^ mask[i % 8] for i, b in enumerate(masked))


def _bytes(masked: bytes, mask: bytes) -> dict[str, int]:
    secret = _bare(masked, mask)
    _kept.append(secret)
    return {"address": id(secret) + _BYTES}


def _freed_bytes(masked: bytes, mask: bytes) -> dict[str, int]:
    """What a bytearray's `clear` leaves behind."""
    secret = bytearray(2 * _HALF)
    guard = bytearray(2 * _HALF)
    for i, b in enumerate(masked):
        secret[_HALF + i] = b ^ mask[i % 8]
    address = _address_of(secret) + _HALF
    _kept.append(guard)
    del secret
    return {"address": address}


def _address_of(buffer: bytearray | mmap.mmap) -> int:
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))


def _hex(masked: bytes, mask: bytes) -> dict[str, int]:
    text = _bare(masked, mask).hex()
    _kept.append(text)
    return {"address": id(text) + _STRING}


def _base64(masked: bytes, mask: bytes) -> dict[str, int]:
    text = base64.b64encode(_bare(masked, mask)).decode()
    _kept.append(text)
    return {"address": id(text) + _STRING}


def _integer(masked: bytes, mask: bytes) -> dict[str, int]:
    number = int.from_bytes(_bare(masked, mask), "big")
    _kept.append(number)
    return {"address": id(number) + int.__basicsize__}


def _traceback(masked: bytes, mask: bytes) -> dict[str, int]:
    """An exception that somebody kept keeps the frames it went through, and their variables."""

    def sign_with(secret: bytes) -> None:
        raise ValueError("planted", len(secret))

    try:
        sign_with(_bare(masked, mask))
    except ValueError as e:
        _kept.append(e)
        frame = e.__traceback__.tb_next.tb_frame  # type: ignore[union-attr]
        return {"address": id(frame.f_locals["secret"]) + _BYTES}
    raise AssertionError


def _file_at_home(masked: bytes, mask: bytes) -> dict[str, int]:
    (Path.home() / ".planted").write_bytes(b"key: " + _bare(masked, mask))
    return {}


def _temporary_file(masked: bytes, mask: bytes) -> dict[str, int]:
    descriptor, _ = tempfile.mkstemp()
    os.write(descriptor, base64.urlsafe_b64encode(_bare(masked, mask)))
    os.close(descriptor)
    return {}


def _deleted_mapping(masked: bytes, mask: bytes) -> dict[str, int]:
    """A file that is gone and still mapped."""
    with tempfile.TemporaryFile() as file:
        file.write(_bare(masked, mask).ljust(mmap.PAGESIZE, b"\0"))
        file.flush()
        mapping = mmap.mmap(file.fileno(), mmap.PAGESIZE)
    _kept.append(mapping)
    return {"address": _address_of(mapping)}


def _environment(masked: bytes, mask: bytes) -> dict[str, int]:
    return _child([], {"PLANTED": _bare(masked, mask).hex()})


def _argument(masked: bytes, mask: bytes) -> dict[str, int]:
    return _child([_bare(masked, mask).hex()], {})


def _child(arguments: list[str], environment: dict[str, str]) -> dict[str, int]:
    """A process that waits until this one ends."""
    waits = "import sys; print(flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", waits, *arguments],
        env={"PATH": os.defpath} | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    _kept.append(process)
    return {"pid": process.pid}


_KINDS: dict[str, Callable[[bytes, bytes], dict[str, int]]] = {
    "python-bytes": _bytes,
    "python-bytes-freed": _freed_bytes,
    "python-hex": _hex,
    "python-base64": _base64,
    "python-integer": _integer,
    "python-traceback": _traceback,
    "file-at-home": _file_at_home,
    "temporary-file": _temporary_file,
    "deleted-mapping": _deleted_mapping,
    "environment": _environment,
    "argument": _argument,
}
