"""Pins: the token ids that a person or program here has reason to believe in.

Nothing in a token proves that it is yours (PROTOCOL §6.1), so trust is kept beside it: a file `pins` in the
home folder, one line `ID UNIX-TIME NAME` each. Creating a key adds its line; nothing else does, unasked.
The name is for people; only the id counts.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from pathlib import Path

from evanesce import _files
from evanesce._text import printable
from evanesce.errors import error

_ID = re.compile(r"[0-9a-fA-F]{64}")


def parse_id(text: str) -> str:
    """A full id, 64 hex digits, in lower case; blanks within are ignored. Raises `bad-input` for
    anything shorter: a prefix can be ground by whoever makes a token."""
    compact = "".join(text.split())
    if not _ID.fullmatch(compact):
        raise error(
            "bad-input",
            f"a pin is a token id of 64 hex digits, not {printable(repr(text), limit=80)}",
            "Take the whole id from whoever created the key: `evanesce inspect TOKEN` shows it there.",
        )
    return compact.lower()


class Pins:
    """The pins kept in one file. Reads it anew each time: other processes add to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def contains(self, identifier: str) -> bool:
        """Whether this id (64 lower-case hex digits) is pinned here. Raises `config` for a file
        that others may write, or with a line that is no pin."""
        return identifier in self.all()

    def all(self) -> dict[str, str]:
        """Id → name, of every pin."""
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return {}
        except OSError as e:
            raise error("io", f"cannot read {self.path}: {e.strerror}", "Check its permissions.") from None
        if mode & 0o022:
            raise error(
                "config",
                f"{self.path} may be written by others, so its pins prove nothing",
                f"chmod go-w {self.path}, after looking at what is in it.",
            )
        found: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            fields = line.split(" ", 2)
            if not _ID.fullmatch(fields[0]):
                raise error("config", f"{self.path}, line {number}, is not a pin", "Remove that line.")
            found[fields[0].lower()] = fields[2] if len(fields) > 2 else ""
        return found

    def add(self, identifier: str, name: str) -> None:
        """Keeps a pin, durably; one that is kept already stays as it is."""
        identifier = parse_id(identifier)
        if self.contains(identifier):
            return
        _files.folder(self.path.parent)
        line = f"{identifier} {int(time.time())} {printable(name)}\n".encode()
        with _files.reporting(f"write {self.path}"):
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    line = b"\n" + line  # a write that was cut short must not swallow this one
                os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
