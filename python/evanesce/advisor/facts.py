"""Facts: what rules compare with. Each has a value, where it comes from and when; none is made up.

Five kinds: `published` (a source and its date), `measured` (by this project, on the page named), `here` (on your own
machine: taken from a results file of `make bench` or `evanesce compare`), `design` (follows from how the thing works;
the page says how) and `assumed` (a number that you should replace). The file is data/facts.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from evanesce import _files, _yaml
from evanesce._text import printable
from evanesce.advisor.workload import BY_NAME, Workload
from evanesce.errors import error

KINDS = ("published", "measured", "here", "design", "assumed")
Value = str | int | float | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Instead:
    """Another fact that holds for some workloads."""

    when: tuple[tuple[str, tuple[str, ...]], ...]
    """Each field with the choices of which it has one."""
    fact: str

    def holds(self, workload: Workload) -> bool:
        return all(workload[field] in choices for field, choices in self.when)


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact."""

    id: str
    value: Value | None
    """None where nobody has measured it yet."""
    unit: str
    kind: str
    says: str
    source: str
    date: str
    found_at: tuple[tuple[str, ...], ...] = ()
    """Where a results file may have a newer value: paths of keys."""
    instead: tuple[Instead, ...] = ()
    """What takes its place: the first that holds."""

    def of(self, workload: Workload) -> str:
        """The id of the fact that a workload is compared with."""
        return next((other.fact for other in self.instead if other.holds(workload)), self.id)

    def cited(self) -> str:
        """With where it comes from, in one line."""
        value = ", ".join(self.value) if isinstance(self.value, tuple) else f"{self.value}"
        if self.value is None:
            value = "not measured"
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.id} = {value}{unit} ({self.kind}: {self.source}, {self.date})"

    def as_dict(self) -> dict[str, Any]:
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return {
            "id": self.id,
            "value": value,
            "unit": self.unit,
            "kind": self.kind,
            "says": self.says,
            "source": self.source,
            "date": self.date,
        }


Facts = Mapping[str, Fact]


def load(path: Path | None = None) -> dict[str, Fact]:
    """The facts of a file, or those of this package. Raises `config` with file and line."""
    if path is None:
        return parse(_yaml.parse(packaged(), "facts.yaml"))
    return parse(_yaml.load(path))


def packaged() -> bytes:
    """The file that this package has."""
    return resources.files(__package__).joinpath("data/facts.yaml").read_bytes()


def parse(document: _yaml.Map) -> dict[str, Fact]:
    document.only(("facts",))
    found: dict[str, Fact] = {}
    borrowed: list[_yaml.Map] = []
    for entry in document.maps("facts"):
        name = entry.text("id")
        if name in found or any(name == other["id"] for other in borrowed):
            raise entry.wrong(f"there is another fact {name}", "id")
        if "same-as" in entry:
            entry.only(("id", "same-as", "says"))
            borrowed.append(entry)
            continue
        found[name] = _fact(entry)
    for entry in document.maps("facts"):
        for other in entry.maps("instead"):
            # One of its own, which says by itself what it stands for.
            if other["fact"] not in found:
                raise other.wrong(f"there is no fact {printable(other['fact'])!r} of its own", "fact")
    for entry in borrowed:
        origin = found.get(entry.text("same-as"))
        if origin is None:
            raise entry.wrong(f"there is no fact {entry['same-as']} of its own", "same-as")
        found[entry["id"]] = replace(origin, id=entry["id"], says=f"{entry.text('says')} {origin.says}")
    return found


def _fact(entry: _yaml.Map) -> Fact:
    entry.only(("id", "kind", "says", "source", "date"), ("value", "unit", "found-at", "instead"))
    value = entry.get("value")
    if isinstance(value, list):
        value = entry.texts("value")
    elif value is None:
        if "value" in entry or "found-at" not in entry:
            raise entry.wrong("value is missing; only what a results file may have (found-at) can be without", "value")
    elif isinstance(value, bool) or not isinstance(value, str | int | float):
        raise entry.wrong("value must be a number, text or a list of texts", "value")
    kind = entry.text("kind")
    if kind not in KINDS or kind == "here":
        raise entry.wrong(f"kind must be one of {', '.join(k for k in KINDS if k != 'here')}", "kind")
    paths = entry.get("found-at", [])
    if not isinstance(paths, list) or not all(
        isinstance(p, list) and all(isinstance(k, str) for k in p) for p in paths
    ):
        raise entry.wrong("found-at must be a list of lists of keys", "found-at")
    return Fact(
        entry.text("id"),
        value,
        entry.text("unit") if "unit" in entry else "",
        kind,
        entry.text("says"),
        entry.text("source"),
        entry.text("date"),
        tuple(tuple(path) for path in paths),
        tuple(_instead(other) for other in entry.maps("instead")),
    )


def _instead(entry: _yaml.Map) -> Instead:
    entry.only(("when", "fact"))
    given = entry["when"]
    if not isinstance(given, _yaml.Map) or not given:
        raise entry.wrong("when must be a mapping of fields to choices", "when")
    when = []
    for name, value in given.items():
        field = BY_NAME.get(name)
        if field is None or field.kind != "choice":
            raise given.wrong(f"{printable(name)!r} is no field of a workload with choices", name)
        choices = given.texts(name) if isinstance(value, list) else (given.text(name),)
        for choice in choices:
            if choice not in field.choices:
                raise given.wrong(f"{printable(choice)!r} is not a value of {name}", name)
        when.append((name, choices))
    return Instead(tuple(when), entry.text("fact"))


def measured(facts: Facts, path: Path) -> tuple[dict[str, Fact], int]:
    """The same with what a results file (JSON, of `make bench` or `evanesce compare`) has measured in its place, and
    how many that were. Raises `config` for a file that is none, or that has none of them."""
    try:
        document = json.loads(_files.read(path))
        when = str(document["when"])
    except (ValueError, KeyError, TypeError):
        raise error(
            "config",
            f"{path} is not a results file",
            "Give one that `make bench` or `evanesce compare --out` has written.",
        ) from None
    changed = dict(facts)
    count = 0
    for name, fact in facts.items():
        for keys in fact.found_at:
            value = _at(document, keys)
            if value is not None:
                changed[name] = replace(fact, value=value, kind="here", source=str(path), date=when)
                count += 1
                break
    if not count:
        raise error("config", f"{path} has no figure that a fact asks for", "Look at `found-at` in the facts file.")
    return changed, count


def _at(document: Any, keys: tuple[str, ...]) -> float | None:
    for key in keys:
        if not isinstance(document, dict) or key not in document:
            return None
        document = document[key]
    return document if isinstance(document, int | float) and not isinstance(document, bool) else None
