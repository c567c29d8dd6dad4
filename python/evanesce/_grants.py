"""The grants that were given from this home folder, a file `ID.grant` each: by their ids they can be taken back.

They are copies, and public; a grant is no less good for its delegate where its copy is gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from evanesce import _files
from evanesce._text import printable
from evanesce.errors import EvanesceError, error
from evanesce.grant import Grant

_PREFIX = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True)
class Grants:
    """Those in a folder, by the id of their last link."""

    root: Path

    def keep(self, grant: Grant) -> Path:
        """Keeps a copy, durably. Raises `io`."""
        _files.folder(self.root)
        path = self.root / f"{grant.last.id}.grant"
        grant.save(path, force=True)
        return path

    def all(self) -> list[tuple[Path, Grant | EvanesceError]]:
        """Every file there with what it is, in the order of their ids."""
        found: list[tuple[Path, Grant | EvanesceError]] = []
        for path in sorted(self.root.glob("*.grant")):
            try:
                found.append((path, _named(path)))
            except EvanesceError as e:
                found.append((path, e))
        return found

    def find(self, reference: str) -> Grant:
        """By its id, or the first 8 hex digits or more of it, if it is kept here; else from the file of that name.
        Raises `bad-input` (several begin so), `grant-invalid`, `not-found`."""
        prefix = reference.lower()
        if _PREFIX.fullmatch(prefix):
            paths = sorted(self.root.glob(f"{prefix}*.grant"))
            if len(paths) > 1:
                raise error("bad-input", f"{len(paths)} grants begin with {prefix}", "Give more of its id.")
            if paths:
                return _named(paths[0])
        path = Path(reference)
        if not path.exists():
            raise error(
                "not-found",
                f"there is no grant {printable(reference)}: no file of that name, nor one of that id in {self.root}",
                "`evanesce grant list` shows those given from here; an id is 8 hex digits of it or more.",
            )
        return Grant.load(path)


def _named(path: Path) -> Grant:
    found = Grant.load(path)
    if path.name != f"{found.last.id}.grant":
        raise error(
            "grant-invalid",
            f"{printable(path.name)} holds another grant: {found.last.id}",
            f"Name it {found.last.id}.grant.",
        )
    return found
