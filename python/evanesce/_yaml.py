"""Reading YAML strictly: what a person wrote is what is meant, and whatever is wrong has a line number.

Only mappings with text keys, lists, text, numbers, `true`, `false` and `null`. Refused are duplicate keys, anchors and
aliases, tags, several documents, and the spellings that YAML 1.1 turns into something else behind the writer's back:
`no`, `on`, `010`, `12:30`. Quote what is meant as text. Dates stay text.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from evanesce import _files
from evanesce._text import printable
from evanesce.errors import EvanesceError, error

LARGEST = 1 << 20
"""Bytes of one file."""
_DEEPEST = 20
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*(_[0-9]+)*)")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")


class Map(dict[str, Any]):
    """A mapping that knows where it stands."""

    name: str
    line: int
    lines: dict[str, int]
    """Each key's."""

    def wrong(self, what: str, key: str | None = None) -> EvanesceError:
        """The error to raise: file, line, what."""
        return wrong(self.name, self.lines.get(key, self.line) if key is not None else self.line, what)

    def only(self, required: Collection[str], optional: Collection[str] = ()) -> None:
        """Raises `config` for a field that is unknown, or missing."""
        known = [*required, *optional]
        for key in self:
            if key not in known:
                raise self.wrong(f"unknown field {printable(key)!r}; known here: {', '.join(known)}", key)
        for key in required:
            if key not in self:
                raise self.wrong(f"{key} is missing")

    def text(self, key: str, default: str | None = None) -> str:
        """A field's text. Raises `config` for anything else."""
        value = self.get(key, default)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(f"{key} must be text", key)
        return value

    def maps(self, key: str) -> list[Map]:
        """A field's list of mappings; empty where it is absent. Raises `config` for anything else."""
        value = self.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, Map) for item in value):
            raise self.wrong(f"{key} must be a list of mappings", key)
        return list(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A field's list of texts; empty where it is absent. Raises `config` for anything else."""
        value = self.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(f"{key} must be a list of texts", key)
        return tuple(value)


def load(path: Path) -> Map:
    """A file's mapping. Raises `not-found`, `io`, `config` (with file and line)."""
    return parse(_files.read(path, limit=LARGEST), str(path))


def parse(data: bytes, name: str) -> Map:
    """The same from bytes; `name` is what errors call them."""
    try:
        text = data.decode()
        # compose() would resolve an alias to the node it names, so these are looked for first.
        _plain(text, name)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise wrong(name, line, f"this is not YAML: {e.problem or e.context}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise wrong(name, 1, f"this is not YAML: {e}") from None
    except RecursionError:
        raise wrong(name, 1, f"nested deeper than {_DEEPEST}") from None
    value = None if node is None else _value(node, name, 0)
    if not isinstance(value, Map):
        raise wrong(name, 1, "this must be a mapping: `field: value` lines")
    return value


def wrong(name: str, line: int, what: str) -> EvanesceError:
    """The error to raise for what is wrong in a line of a file."""
    return error("config", f"{printable(name)}, line {line}: {what}", "Correct the file.")


def _plain(text: str, name: str) -> None:
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise wrong(name, line, "anchors and aliases are not read here")
        if getattr(event, "tag", None):
            raise wrong(name, line, "tags are not read here")


def _value(node: yaml.Node, name: str, depth: int) -> Any:
    line = node.start_mark.line + 1
    if depth > _DEEPEST:
        raise wrong(name, line, f"nested deeper than {_DEEPEST}")
    if isinstance(node, yaml.MappingNode):
        found = Map()
        found.name, found.line, found.lines = name, line, {}
        for key, item in node.value:
            word = key.value if isinstance(key, yaml.ScalarNode) else None
            at = key.start_mark.line + 1
            if not isinstance(word, str) or not word:
                raise wrong(name, at, "a key must be text")
            if word in found:
                raise wrong(name, at, f"{printable(word)!r} is here already, in line {found.lines[word]}")
            found.lines[word] = at
            found[word] = _value(item, name, depth + 1)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, name, depth + 1) for item in node.value]
    return _scalar(node, name, line)


def _scalar(node: yaml.Node, name: str, line: int) -> str | int | float | bool | None:
    text = str(node.value)
    if isinstance(node, yaml.ScalarNode) and node.style is not None:
        return text
    kind = str(node.tag).rpartition(":")[2]
    if kind in ("str", "timestamp"):
        # YAML 1.1 takes 1e3 for text.
        return float(text) if _DECIMAL.fullmatch(text) else text
    if kind == "null":
        return None
    if kind == "bool" and text in ("true", "false"):
        return text == "true"
    if kind == "int" and _INTEGER.fullmatch(text):
        return int(text.replace("_", ""))
    if kind == "float" and _DECIMAL.fullmatch(text):
        return float(text)
    raise wrong(name, line, f"{printable(text)!r} is read in several ways: quote it, or write true, false or a number")
