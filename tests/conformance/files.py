"""Files as agents want them: secrets for their owner alone, and TOML."""

from __future__ import annotations

import os
from pathlib import Path


def private(path: Path, text: str) -> None:
    """Writes a new file of mode 0600."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = "".join(f"\\{c}" if c in '"\\' else c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
    return f'"{escaped}"'
