"""How a quorum verb ends: the result written, receipts kept, faults named, the JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterable
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


def check_free(paths: Iterable[str | None], force: bool) -> None:
    """Refuses before the quorum is asked, rather than after, when a file is in the way."""
    for path in paths:
        if path and path != "-" and not path.startswith(("/dev/", "/proc/")) and not force and Path(path).exists():
            raise _files.exists(Path(path))


def finish(
    app: App, token: Token, result: Quorate, receipts: str | None, document: dict[str, Any], took: object
) -> None:
    """Names faults, keeps receipts, prints the document or a word about it."""
    app.blame(result.faults)
    if receipts:
        text = json.dumps(receipts_json(result.receipts), indent=2) + "\n"
        _files.write(Path(receipts), text.encode(), overwrite=True)
    if app.json:
        app.emit(
            {
                "token": token.id,
                **document,
                "faults": [asdict(fault) for fault in result.faults],
                "receipts": receipts_json(result.receipts),
            }
        )
    else:
        count = len(result.receipts)
        app.remark(f"{count} agent{'s' * (count != 1)} contributed; {took}.")
