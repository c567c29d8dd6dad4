"""Receipts kept in a file, as `evanesce audit` reads them: of one opening, or of all that one verb asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evanesce import Receipt, _files
from evanesce.audit.receipts import which
from evanesce.cli import _io
from evanesce.cli._app import App, receipts_json
from evanesce.errors import EvanesceError, error


def keep(app: App, out: str, document: dict[str, Any], force: bool) -> None:
    """For this user alone: whoever has a salt beside a log entry can try what the input was."""
    kept = (json.dumps(document, indent=2) + "\n").encode()
    with _io.sink(out) as descriptor:
        if descriptor is None:
            _files.write(Path(out), kept, mode=0o600, overwrite=force)
        elif not (app.json and descriptor == 1):
            _io.write_descriptor(descriptor, kept)


def kept_before(out: str | None) -> list[dict[str, Any]]:
    """The openings of a run that was stopped, so that the same command adds to them. Raises `exists` for another
    file, `usage` for what is no file and could not be added to, `not-found` and `io` where none could be written."""
    if out is None:
        return []
    if _io.descriptor_of(out, 1) is not None:
        raise error("usage", "receipts of a healing are kept in a file, which a second run adds to", "Name a FILE.")
    path = Path(out)
    _files.check_writable(path)
    if not path.exists():
        return []
    try:
        found = json.loads(_files.read(path, limit=256 << 20))["openings"]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, list):
        raise _files.exists(path)
    return found


def openings(receipts: Iterable[Receipt], salt: bytes | None = None) -> list[dict[str, Any]]:
    """What a verb brought that asks for several things, each apart: a reshare opens one token, seats another and opens
    that. `salt` is that of the healing, retirement or bare opening that it was."""
    parts: dict[object, list[Receipt]] = {}
    healing: set[object] = set()
    bare: set[object] = set()
    for receipt in receipts:
        try:
            entry = receipt.entry()
        except EvanesceError:
            # Kept by itself, for whoever wants to know what that agent has sent.
            opening: object = receipt.encode()
        else:
            opening = which(entry)
            actions = {each["action"] for each in entry["operations"]}
            if actions & {"reshare", "repair", "retire"}:
                healing.add(opening)
            elif "open" in actions:
                bare.add(opening)
        parts.setdefault(opening, []).append(receipt)
    # A reshare opens the new token too, under a salt of its own.
    salted = healing or bare
    return [
        {"salts": [salt.hex()] if salt is not None and opening in salted else [], "receipts": receipts_json(part)}
        for opening, part in parts.items()
    ]
