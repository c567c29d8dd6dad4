"""Receipts as they are kept: the file that `--receipts` writes, or one receipt's own bytes.

A file is of one opening, `{"salts": […], "receipts": […]}`, or of all that one verb did, `{"openings": […]}` of such.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evanesce import _files
from evanesce._text import printable
from evanesce.errors import EvanesceError, error
from evanesce.results import Receipt


@dataclass(frozen=True, slots=True)
class Kept:
    """The receipts of one opening, verified, with the log entry of each."""

    path: Path
    receipts: tuple[Receipt, ...]
    entries: tuple[Mapping[str, Any], ...]
    salts: tuple[bytes, ...]
    """32 bytes per operation, in the order asked for; empty where only a receipt was kept."""

    @property
    def operations(self) -> tuple[tuple[str, str, str], ...]:
        """(action, suite, input digest as hex) of what was asked for."""
        return _operations(self.entries[0])


def load(path: Path) -> list[Kept]:
    """Reads and verifies. Raises `not-found`, `io`; `bad-input` for a file that holds no receipts;
    `receipt-invalid` for one that does not verify, or where they are not all of one opening."""
    data = _files.read(path, limit=256 << 20)
    if data.lstrip()[:1] != b"{":
        return [_kept(path, [_receipt(path, data)], [])]
    return [_kept(path, *_opening(path, each)) for each in _openings(path, data)]


def _kept(path: Path, receipts: list[Receipt], salts: list[bytes]) -> Kept:
    entries = []
    for receipt in receipts:
        try:
            entries.append(receipt.verify())
        except EvanesceError as e:
            raise type(e)(e.code, f"{path}, {receipt!r}: {e.message}", e.hint) from None
    first = entries[0]
    for entry in entries[1:]:
        if which(entry) != which(first):
            raise error(
                "receipt-invalid",
                f"{path}: its receipts are not of one opening: they name different tokens, callers or operations",
                "Keep the receipts of each operation in a file of their own, as --receipts does.",
            )
    return Kept(path, tuple(receipts), tuple(entries), tuple(salts))


def which(entry: Mapping[str, Any]) -> tuple[str, str, str, tuple[tuple[str, str, str], ...]]:
    """What is one and the same at every agent that was asked for it: token, caller, verb, and what was asked for."""
    return entry["token"], entry["caller"], entry["verb"], _operations(entry)


def _operations(entry: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    return tuple((each["action"], each["suite"], each["input"]) for each in entry["operations"])


def _openings(path: Path, data: bytes) -> list[Any]:
    try:
        document = json.loads(data)
    except ValueError:
        raise _none(path) from None
    found = document.get("openings", [document])
    if not isinstance(found, list):
        raise _none(path)
    return found


def _opening(path: Path, document: Any) -> tuple[list[Receipt], list[bytes]]:
    try:
        rows, salts = document["receipts"], [bytes.fromhex(salt) for salt in document.get("salts", [])]
        encoded = [base64.b64decode(row["receipt"], validate=True) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise _none(path) from None
    if not encoded or any(len(salt) != 32 for salt in salts):
        raise _none(path)
    return [_receipt(path, each) for each in encoded], salts


def _receipt(path: Path, data: bytes) -> Receipt:
    try:
        return Receipt.decode(data)
    except EvanesceError:
        raise _none(path) from None


def _none(path: Path) -> EvanesceError:
    return error(
        "bad-input",
        f"{printable(str(path))} does not hold receipts",
        "Give a file that --receipts wrote, or the bytes of Receipt.encode().",
    )
