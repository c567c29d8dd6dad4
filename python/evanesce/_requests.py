"""Requests and what people have approved, as files: a folder for each request, which may be shared.

    ID/request.json            what is asked for (mode 0600)
    ID/APPROVER-ID.approval    one approval each
    ID/done                    once it was performed

Whoever can write there can add, replace and remove files. What an approval is worth is in its signature alone, and
what a request is, in its own bytes: it is found by an id only if that is what they come to. The home of whoever asked
keeps what it asked for (`asked/ID`), so that this and nothing else is performed, and the grant that it asks under
(`asked/grants/ID.grant`), if any; of one about a token as a whole the token's file (`asked/places/ID`) and, of a
reshare, whether it was begun (`asked/begun/`). That is remembered for `LASTS`, but what was begun for good.
"""

from __future__ import annotations

import contextlib
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

_REFERENCE = re.compile(r"[0-9a-f]{4,16}")

LASTS = 30 * 86_400
"""Seconds for which a home remembers what it asked for. Later, nothing here can tell that it did."""

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

    def keep(self, request: Request, home: Path) -> Kept:
        """A folder for a new request; the home remembers it, and forgets what is long over."""
        forget(home)
        _files.write(_files.folder(home / "asked") / request.id, _mark(request).encode(), mode=0o600)
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
        """By id or the beginning of one, or by the path of its folder or file. Raises `not-found`, and `bad-input` too
        where the request is another than the one that its folder is named for."""
        if _REFERENCE.fullmatch(reference):
            paths = [path for path in sorted(self.root.glob(f"{reference}*/request.json"))]
            if len(paths) > 1:
                raise error("bad-input", f"{len(paths)} requests begin with {reference}", "Give more of its id.")
            if paths:
                kept = _load(paths[0], home)
                if kept.request.id != kept.folder.name:
                    raise _another(kept.folder.name, f"its request.json is of request {kept.request.id}")
                return kept
        path = Path(reference)
        if path.is_dir():
            path = path / "request.json"
        if not path.is_file():
            raise error(
                "not-found",
                f"there is no request {printable(reference)}, neither here nor in {self.root}",
                "`evanesce requests` shows those there are; --folder DIR names a shared folder.",
            )
        return _load(path, home)


def asked_here(reference: str, request: Request, home: Path) -> bool:
    """Whether the request found by this reference is what was asked for from this home; False where the home knows
    nothing of it. Raises `bad-input` where it knows of another by the reference, or of something else by its id."""
    asked = home / "asked"
    known = {path.name for path in asked.glob(f"{reference}*")} if _REFERENCE.fullmatch(reference) else set()
    if known and request.id not in known:
        raise _another(reference, f"it is request {request.id}, and this home asked for {' or '.join(sorted(known))}")
    path = asked / request.id
    if not path.exists():
        return False
    if _files.read(path, limit=1 << 10) != _mark(request).encode():
        raise _another(request.id, "this home asked for something else under that id")
    return True


def forget(home: Path, now: float | None = None) -> None:
    """Removes what was kept of requests over `LASTS` ago, grants and places too. Not what was begun (an empty file
    each): a header's nonce is good for one mint, whenever that was."""
    before = (time.time() if now is None else now) - LASTS
    asked = home / "asked"
    for path in (each for folder in (asked, asked / "grants", asked / "places") for each in folder.glob("*")):
        # Another command may do the same.
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_mtime < before:
                path.unlink()


def _mark(request: Request) -> str:
    """What is asked for, whole: an id is a part of the input digest, which does not cover the token, nor that a new
    holder may sit in it already."""
    crowded = "crowded\n" if request.crowded else ""
    return f"token {request.token.id}\ninput {request.input.hex()}\n{crowded}"


def _load(path: Path, home: Path) -> Kept:
    request = Request.load(path, home=home)
    # `abspath`, not `resolve`: a link's own name is what was asked for, not whatever it leads to by now.
    name = Path(os.path.abspath(path)).parent.name  # noqa: PTH100
    if re.fullmatch(r"[0-9a-f]{16}", name) and name != request.id:
        raise _another(name, f"its request.json is of request {request.id}")
    return Kept(path.parent, request)


def _another(name: str, why: str) -> EvanesceError:
    return error(
        "bad-input",
        f"what lies in the folder of request {printable(name)} is not that request: {why}",
        "Somebody who can write to the folder has replaced it. Find out who, and ask anew.",
    )


def root(home: Path, folder: str | os.PathLike[str] | None) -> Requests:
    """The requests of a shared folder, or of the home folder."""
    return Requests(Path(folder).absolute() if folder is not None else home / "requests")


def keep_grant(home: Path, request: Request, grant: Grant) -> None:
    """Keeps what a request is to be performed under: not in its folder, where others could put another."""
    grant.save(_files.folder(home / "asked" / "grants") / f"{request.id}.grant", force=True)


def keep_place(home: Path, request: Request, path: Path) -> None:
    """Keeps which token file a request is about: its result takes that one's place."""
    place = _files.folder(home / "asked" / "places") / request.id
    _files.write(place, os.fsencode(path.absolute()), mode=0o600, overwrite=True)


def place_of(home: Path, request: Request) -> Path | None:
    """The token file that was kept for a request."""
    path = home / "asked" / "places" / request.id
    return Path(os.fsdecode(_files.read(path, limit=1 << 13))) if path.exists() else None


def grant_of(home: Path, request: Request) -> Path | None:
    """The file of the grant that was kept for a request."""
    path = home / "asked" / "grants" / f"{request.id}.grant"
    return path if path.exists() else None
