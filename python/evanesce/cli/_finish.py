"""How a quorum verb ends: the result written, receipts kept, faults named, the JSON document."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from evanesce import Culprit, Key, Receipt, Token, _files
from evanesce.cli import _io
from evanesce.cli._app import App, decision, named, receipts_json
from evanesce.cli._keep import keep
from evanesce.errors import error


class Quorate(Protocol):
    """Anything a quorum brought."""

    @property
    def receipts(self) -> tuple[Receipt, ...]: ...
    @property
    def faults(self) -> tuple[Culprit, ...]: ...
    @property
    def salt(self) -> bytes: ...


def check_free(paths: Iterable[str | None], force: bool) -> None:
    """Refuses before the quorum is asked, rather than after, what could not be written: where a file is in
    the way, a folder is missing, or two results would go to one file. Raises `exists`, `not-found`, `usage`."""
    taken: set[Path] = set()
    for name in paths:
        if not name:
            continue
        with _io.sink(name) as descriptor:
            if descriptor is not None:
                continue
        path = Path(name).absolute()
        if path in taken:
            raise error("usage", f"two results cannot both go to {path}", "Name a file for each.")
        taken.add(path)
        if not path.parent.is_dir():
            raise error("not-found", f"there is no folder {path.parent}", "Make it first, or name another.")
        # A link that leads nowhere is in the way too; and --force replaces files, not pipes, disks or folders.
        if (path.exists() and not path.is_file()) or (not force and os.path.lexists(path)):
            raise _files.exists(path)


def contributors(result: Quorate) -> list[str]:
    """Ids of the agents that did their part. One that refused has answered, and left a receipt, as well."""
    failed = {fault.holder_id for fault in result.faults}
    return [r.agent for r in result.receipts if decision(r) == "done" and r.agent not in failed]


def finish(
    app: App,
    token: Token | Key,
    results: Sequence[Quorate],
    receipts: str | None,
    force: bool,
    document: dict[str, Any],
    took: object,
) -> None:
    """Names faults, keeps receipts, prints the document or a word about it. All results are of one
    opening."""
    if isinstance(token, Key):
        app.emit({**named(token), **document})
        app.remark(f"{token.uri}; {took}.")
        return
    shared = results[0]
    app.blame(shared.faults)
    proof = {
        "salts": [result.salt.hex() for result in results],
        "receipts": receipts_json(shared.receipts) if receipts or app.json else [],
    }
    if receipts:
        keep(app, receipts, proof, force)
    app.emit({"token": token.id, **document, "faults": [asdict(fault) for fault in shared.faults], **proof})
    count = len(contributors(shared))
    app.remark(f"{count} agent{'s' * (count != 1)} contributed; {took}.")
