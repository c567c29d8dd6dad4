"""Places where something of a key may rest: searched for a key that is known, or only counted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from evanesce.compare.results import Store
from evanesce.compare.search import files, search


def searched(holder: str, what: str, key: bytes, places: Iterable[Path], thief_has: str, keeps: str = "") -> Store:
    """A place, searched for the key."""
    found = search(key, places)
    return Store(holder, what, keeps, found.files, found.bytes, found.hits, thief_has)


def counted(holder: str, what: str, places: Iterable[Path], thief_has: str, keeps: str = "") -> Store:
    """A place, counted and not searched: nobody knows what to search for."""
    found = files(places)
    return Store(holder, what, keeps, len(found), sum(path.stat().st_size for path in found), None, thief_has)
