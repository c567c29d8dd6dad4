"""Agents' logs: exported folders (C2SP tlog-tiles) or the agents' own, found and opened; read only."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evanesce import _core
from evanesce.errors import EvanesceError, error, translate


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of one agent's log."""

    agent: str
    """Agent id, 64 hex digits."""
    index: int
    leaf: bytes
    """Its RFC 6962 leaf hash, 32 bytes."""
    fields: dict[str, Any]
    """docs/agent-api.md, The log; ids and digests as hex."""


class Log:
    """One agent's log, as far as its checkpoint goes."""

    __slots__ = ("agent", "core", "path")

    def __init__(self, path: Path) -> None:
        """Raises `log-invalid` for a folder whose log cannot be one, `io`."""
        self.path = path
        self.core = named(path, lambda: _core.Log.open(str(path)))
        self.agent = self.core.agent.hex()

    def search(self, **wanted: Any) -> tuple[list[Entry], int]:
        """The entries that fit, at most `limit` of them, and how many fit in all. Goes through the whole log and
        compares it with its checkpoint: raises `log-invalid` where it is not what was signed."""
        rows, count = named(self.path, lambda: self.core.search(**wanted))
        return [Entry(self.agent, index, leaf, fields) for index, leaf, fields in rows], count


def check_keys(logs: Iterable[Log], vkeys: Iterable[str]) -> set[str]:
    """Checks every log whose vkey (C2SP signed-note, type 1) is given; returns those logs' agents. Raises
    `log-invalid` for one that another key signed, `bad-input`."""
    try:
        keys = dict(_core.log_key(vkey) for vkey in vkeys)
    except _core.CoreError as e:
        raise translate(e) from None
    signed = [log for log in logs if log.core.origin in keys]
    for log in signed:
        key = keys[log.core.origin]
        named(log.path, functools.partial(log.core.signed_by, key))
    return {log.agent for log in signed}


def open_all(paths: Iterable[Path]) -> list[Log]:
    """The logs of these folders: each is a log, or holds some. Raises `not-found`; `log-invalid` also where two are of
    one agent."""
    logs: dict[str, Log] = {}
    for path in paths:
        folders = _folders(path)
        if not folders:
            raise error(
                "not-found",
                f"there is no log in {path}",
                "Name a folder that `evanesce agent log export` wrote, an agent's own, or one that holds such folders.",
            )
        for folder in folders:
            log = Log(folder)
            other = logs.setdefault(log.agent, log)
            if other is not log:
                raise error(
                    "bad-input",
                    f"{other.path} and {folder} are logs of one agent",
                    "Name one of them at a time.",
                )
    return list(logs.values())


def _folders(path: Path) -> Sequence[Path]:
    if _is_log(path):
        return [path]
    if not path.is_dir():
        return []
    return sorted(child for child in path.iterdir() if child.is_dir() and _is_log(child))


def _is_log(path: Path) -> bool:
    return (path / "checkpoint").is_file() or (path / "log" / "head").is_file()


def named(path: Path, call: Any) -> Any:
    """The core's answer, or its error with the folder's name."""
    try:
        return call()
    except _core.CoreError as e:
        raised: EvanesceError = translate(e)
        raise type(raised)(raised.code, f"{path}: {raised.message}", raised.hint) from None
