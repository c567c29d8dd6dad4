"""Requests and what people have approved, as files: a folder for each request, which may be shared.

    ID/request.json            what is asked for (mode 0600)
    ID/APPROVER-ID.approval    one approval each
    ID/done                    once it was performed

and, in the requester's home folder, whichever that is:

    requests/ID.grant          the grant that it is asked for under, if any

Whoever can write there can add and remove files; what an approval is worth is in its signature alone.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from evanesce import _files
from evanesce._text import printable
from evanesce.approvals import Approval, Request, approvers
from evanesce.errors import EvanesceError, error
from evanesce.grant import Grant

MOST = 16
"""Approvals that agents take with one operation."""

SOON = 5
"""Seconds before its end from which an approval is not relied on any more."""


@dataclass(frozen=True, slots=True)
class Given:
    """An approval that was found, and what of it can be told without an agent."""

    approval: Approval
    name: str
    """As the token's policy calls the approver; empty where it names nobody."""
    problem: str
    """Why it does not count; empty where it may."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A request in its folder."""

    folder: Path
    request: Request

    @property
    def done(self) -> bool:
        return (self.folder / "done").exists()

    def finish(self) -> None:
        """Marks it as performed."""
        _files.write(self.folder / "done", f"{int(time.time())}\n".encode(), overwrite=True)

    def add(self, approval: Approval) -> Path:
        """Puts an approval beside the others."""
        path = self.folder / f"{approval.approver[:16]}-{approval.id[:16]}.approval"
        _files.write(path, approval.data, overwrite=True)
        return path

    def given(self, now: float | None = None) -> list[Given]:
        """Every approval there, the latest first. Files that are none are passed over."""
        named = {one.id: one.name for one in approvers(self.request.token) or ()}
        found = []
        for path in sorted(self.folder.glob("*.approval")):
            try:
                approval = Approval.decode(_files.read(path, limit=8 << 10))
            except EvanesceError:
                continue
            problem = self.request.judge(approval, now)
            found.append(Given(approval, named.get(approval.approver, ""), problem))
        return sorted(found, key=lambda one: -one.approval.expires)

    def counting(self, grantors: Collection[str] = ()) -> list[Given]:
        """Those to send along: of each approver the latest that may count and does not end at once. Agents refuse what
        comes with one of the `grantors`' (caller ids), under whose grants it is asked."""
        latest: dict[str, Given] = {}
        for one in self.given(time.time() + SOON):
            if not one.problem and one.approval.approver not in grantors:
                latest.setdefault(one.approval.approver, one)
        return list(latest.values())[:MOST]


@dataclass(frozen=True, slots=True)
class Requests:
    """All requests below a folder."""

    root: Path

    def keep(self, request: Request) -> Kept:
        """A folder for a new request."""
        folder = self.root / request.id
        _files.folder(folder)
        request.save(folder / "request.json")
        return Kept(folder, request)

    def all(self, home: Path) -> list[Kept]:
        """Every request that can be read, the oldest first."""
        found = []
        for path in sorted(self.root.glob("*/request.json")):
            try:
                found.append(Kept(path.parent, Request.load(path, home=home)))
            except EvanesceError:
                continue
        return sorted(found, key=lambda kept: kept.request.made)

    def find(self, reference: str, home: Path) -> Kept:
        """By id or the beginning of one, or by the path of its folder or file. Raises `not-found`, `bad-input`."""
        if re.fullmatch(r"[0-9a-f]{4,16}", reference):
            paths = [path for path in sorted(self.root.glob(f"{reference}*/request.json"))]
            if len(paths) > 1:
                raise error("bad-input", f"{len(paths)} requests begin with {reference}", "Give more of its id.")
            if paths:
                return Kept(paths[0].parent, Request.load(paths[0], home=home))
        path = Path(reference)
        if path.is_dir():
            path = path / "request.json"
        if not path.is_file():
            raise error(
                "not-found",
                f"there is no request {printable(reference)}, neither here nor in {self.root}",
                "`evanesce requests` shows those there are; --folder DIR names a shared folder.",
            )
        return Kept(path.parent, Request.load(path, home=home))


def root(home: Path, folder: str | os.PathLike[str] | None) -> Requests:
    """The requests of a shared folder, or of the home folder."""
    return Requests(Path(folder).absolute() if folder is not None else home / "requests")


def keep_grant(home: Path, request: Request, grant: Grant) -> None:
    """Keeps what a request is to be performed under: not in its folder, where others could put another."""
    _files.folder(home / "requests")
    grant.save(home / "requests" / f"{request.id}.grant", force=True)


def grant_of(home: Path, request: Request) -> Path | None:
    """The file of the grant that was kept for a request."""
    path = home / "requests" / f"{request.id}.grant"
    return path if path.exists() else None
