"""The file of a component that a custodian has handed over: sealed to one token's transport key, of use there alone.

JSON, like the backup that it is of. Not secret: only that token opens it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evanesce import _files
from evanesce._text import printable
from evanesce.custody.backup import Backup
from evanesce.errors import EvanesceError, error

FORMAT = "evanesce hsm component v1"


@dataclass(frozen=True, slots=True)
class Component:
    """One custodian's."""

    custodian: str
    sealed: bytes
    """RSA-OAEP (SHA-256), under the transport key."""

    def save(self, path: Path) -> None:
        """Raises `exists`, `io`."""
        sealed = base64.b64encode(self.sealed).decode()
        document = {"format": FORMAT, "custodian": self.custodian, "sealed": sealed}
        _files.write(path, json.dumps(document, indent=2).encode() + b"\n")

    @staticmethod
    def load(path: Path) -> Component:
        """Raises `not-found`, `io`, `backup-invalid` for what is none."""
        try:
            document: dict[str, Any] = json.loads(_files.read(path, limit=1 << 16))
            if document["format"] != FORMAT or not isinstance(document["custodian"], str):
                raise ValueError
            return Component(document["custodian"], base64.b64decode(document["sealed"], validate=True))
        except (ValueError, KeyError, TypeError, binascii.Error):
            raise _wrong(f"{path} is no component that was handed over") from None


def in_order(handed: Sequence[Component], backup: Backup) -> list[bytes]:
    """Each custodian's, in the order of the backup. Raises `custodians-missing`; `bad-input` for one too many."""
    names = [name for name, _, _ in backup.components]
    given = {component.custodian: component.sealed for component in handed}
    if len(given) != len(handed) or not set(given) <= set(names):
        raise error(
            "bad-input",
            "a component was given twice, or is no custodian's of this backup",
            f"It has {', '.join(map(printable, names))}; give one of each.",
        )
    missing = [name for name in names if name not in given]
    if missing:
        raise error(
            "custodians-missing",
            f"the components of {', '.join(map(printable, missing))} are missing: all of them make the key",
            "Have them hand theirs over: `evanesce key hand-over`.",
        )
    return [given[name] for name in names]


def _wrong(what: str) -> EvanesceError:
    return error("backup-invalid", what, "Write it anew: `evanesce key hand-over`.")
