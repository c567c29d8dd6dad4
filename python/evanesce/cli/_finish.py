"""How a quorum verb ends: the result written, receipts kept, faults named, the JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from evanesce import Culprit, Receipt, Token, _files
from evanesce.cli._app import App, receipts_json


class Quorate(Protocol):
    """Anything a quorum brought."""

    @property
    def receipts(self) -> tuple[Receipt, ...]: ...
    @property
    def faults(self) -> tuple[Culprit, ...]: ...
    @property
    def salt(self) -> bytes: ...


def check_free(paths: Iterable[str | None], force: bool) -> None:
    """Refuses before the quorum is asked, rather than after, when a file is in the way."""
    for path in paths:
        if path and path != "-" and not path.startswith(("/dev/", "/proc/")) and not force and Path(path).exists():
            raise _files.exists(Path(path))


def finish(
    app: App, token: Token, results: Sequence[Quorate], receipts: str | None, document: dict[str, Any], took: object
) -> None:
    """Names faults, keeps receipts, prints the document or a word about it. All results are of one
    opening."""
    shared = results[0]
    app.blame(shared.faults)
    proof = {
        "salts": [result.salt.hex() for result in results],
        "receipts": receipts_json(shared.receipts) if receipts or app.json else [],
    }
    if receipts:
        _files.write(Path(receipts), (json.dumps(proof, indent=2) + "\n").encode(), overwrite=True)
    app.emit({"token": token.id, **document, "faults": [asdict(fault) for fault in shared.faults], **proof})
    count = len(shared.receipts)
    app.remark(f"{count} agent{'s' * (count != 1)} contributed; {took}.")
