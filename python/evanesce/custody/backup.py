"""The file of an `hsm` key's backup: the key, wrapped, and its KEK's components, each sealed to its custodian.

JSON, for people to look into. Nothing in it is secret to anybody but the quorum of custodians that it names; whoever
changes it keeps it from being restored, and no more.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evanesce import _files
from evanesce._text import printable
from evanesce.errors import EvanesceError, error

FORMAT = "evanesce hsm backup v1"

Component = tuple[str, bytes, bytes]
"""(custodian, sealed, check value)."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One key's."""

    label: str
    """Of the key in the token that it was in."""
    kind: str
    public: bytes | None
    wrapped: bytes
    quorum: str
    """Whose components are enough."""
    components: tuple[Component, ...]
    check: bytes
    """The KEK's check value, 3 bytes."""
    token: str
    """For people: where it was."""
    made: int
    """Unix seconds."""
    joint: bool = False
    """Whether the KEK is put together in a token alone, of all components (`joint`)."""

    def save(self, path: Path) -> None:
        """Raises `exists`, `io`."""
        document = {
            "format": FORMAT,
            "label": self.label,
            "kind": self.kind,
            "public": None if self.public is None else _text(self.public),
            "wrapped": _text(self.wrapped),
            "quorum": self.quorum,
            "components": [
                {"custodian": name, "sealed": _text(sealed), "check": check.hex()}
                for name, sealed, check in self.components
            ],
            "check": self.check.hex(),
            "token": self.token,
            "made": self.made,
            **({"joint": True} if self.joint else {}),
        }
        _files.write(path, json.dumps(document, indent=2).encode() + b"\n")

    @staticmethod
    def load(path: Path) -> Backup:
        """Raises `not-found`, `io`, `backup-invalid` for what is none."""
        try:
            document: dict[str, Any] = json.loads(_files.read(path, limit=1 << 20))
            if document["format"] != FORMAT:
                raise _wrong(path, f"its format is {printable(str(document['format']))!r}")
            public = document["public"]
            found = Backup(
                document["label"],
                document["kind"],
                None if public is None else _bytes(public),
                _bytes(document["wrapped"]),
                document["quorum"],
                tuple(
                    (part["custodian"], _bytes(part["sealed"]), bytes.fromhex(part["check"]))
                    for part in document["components"]
                ),
                bytes.fromhex(document["check"]),
                document["token"],
                document["made"],
                document.get("joint", False) is True,
            )
        except (ValueError, KeyError, TypeError, binascii.Error):
            raise _wrong(path, "it is not what `evanesce key back-up` writes") from None
        checks = [found.check, *(check for _, _, check in found.components)]
        if any(len(check) != 3 for check in checks) or not all(
            isinstance(text, str) for text in (found.label, found.kind, found.quorum, *(c[0] for c in found.components))
        ):
            raise _wrong(path, "it is not what `evanesce key back-up` writes")
        return found


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _wrong(path: Path, why: str) -> EvanesceError:
    return error("backup-invalid", f"{path} is no backup of an hsm key: {why}", "Take another copy of it.")
