"""Searching what rests on a disk for a key that the search knows: raw, reversed, in hexadecimal and in base64.

The key is the sandbox's own, made to be searched for. Any eight bytes of it in a row count, in any of the forms, so
that a key that was cut up or stored in part is found too.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

WINDOW = 8
"""Bytes of the key in a row that count as found."""
FORMS = ("raw", "reversed", "hexadecimal", "base64")
_LARGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class Searched:
    """One place."""

    files: int
    bytes: int
    hits: int


def search(key: bytes, places: Iterable[Path]) -> Searched:
    """Searches files, and folders through and through."""
    needles = _needles(key)
    count = size = hits = 0
    for path in files(places):
        data = path.read_bytes()[:_LARGEST]
        count += 1
        size += len(data)
        hits += _hits(data, needles)
    return Searched(count, size, hits)


def files(places: Iterable[Path]) -> list[Path]:
    """The files, and those of the folders through and through, links aside."""
    found: list[Path] = []
    for place in places:
        found += (
            sorted(p for p in place.rglob("*") if p.is_file() and not p.is_symlink()) if place.is_dir() else [place]
        )
    return found


def _needles(key: bytes) -> Sequence[bytes]:
    windows = [key[at : at + WINDOW] for at in range(0, len(key) - WINDOW + 1)]
    needles = {form for window in windows for form in (window, window[::-1], window.hex().encode())}
    needles |= {window.hex().upper().encode() for window in windows}
    # Base64 mixes neighbours: each of the three alignments, without the characters at the ends that they share.
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + key)
        inner = text[4 if shift else 0 : len(text) - 4]
        needles |= {inner[at : at + 11] for at in range(0, len(inner) - 10)}
    return sorted(needles)


def _hits(data: bytes, needles: Sequence[bytes]) -> int:
    return sum(needle in data for needle in needles)
