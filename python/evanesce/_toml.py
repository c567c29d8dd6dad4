"""Reading TOML strictly and writing the little of it that this package writes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evanesce import _files
from evanesce.errors import error

Value = str | int | bool | Sequence[str] | Mapping[str, "Value"]


def load(path: Path) -> dict[str, Any]:
    """A TOML file's tables. Raises `not-found`, `io`, `config` (where in the file, and why)."""
    return parse(_files.read(path), str(path))


def parse(data: bytes, name: str) -> dict[str, Any]:
    """The same from bytes; `name` is what errors call them."""
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise error("config", f"{name} is not valid TOML: {e}", "Correct the file.") from None


def dumps(table: Mapping[str, Value]) -> str:
    """Lines `key = value`. Keys must be bare keys; nested tables are written inline."""
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items())


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    return "[" + ", ".join(quote(item) for item in value) + "]"


def quote(text: str) -> str:
    """A TOML basic string: whatever is in `text`, it stays one string on one line."""
    out = []
    for character in text:
        point = ord(character)
        if character in '"\\':
            out.append("\\" + character)
        elif character.isprintable():
            out.append(character)
        else:
            out.append(f"\\u{point:04X}" if point <= 0xFFFF else f"\\U{point:08X}")
    return '"' + "".join(out) + '"'
