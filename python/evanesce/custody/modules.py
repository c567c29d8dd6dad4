"""`hsm.toml`: the PKCS#11 tokens that a home uses, by names of its own.

    [[hsm]]
    name = "prod"
    module = "/usr/lib/softhsm/libsofthsm2.so"
    token = "payments"              # its label; or slot = 3; neither where the module shows one token alone
    pin = { file = "prod.pin" }     # or { descriptor = 3 }, { terminal = true }; none for a PIN pad
    init_args = "…"                 # what some modules want at their start (NSS softokn)
    sessions = 4                    # at most; by default one per core

As in an agent's [element], a PIN is only named here, and read by the core alone. Paths are relative to the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evanesce import _core, _toml
from evanesce._text import printable
from evanesce.errors import EvanesceError, error, translate

Secret = tuple[str, str]
"""Where the core reads a secret: ("file", path), ("descriptor", number) or ("terminal", prompt)."""

_FIELDS = {"name": str, "module": str, "token": str, "slot": int, "init_args": str, "sessions": int}


@dataclass(frozen=True, slots=True)
class Module:
    """One token in one module."""

    name: str
    module: str
    token: str | None
    slot: int | None
    pin: Secret | None
    init_args: str | None
    sessions: int


def read(path: Path) -> dict[str, Module]:
    """The tokens by name. Raises `not-found`, `config` (which entry, which field)."""
    if not path.exists():
        raise error(
            "not-found",
            f"there is no {path}, which names the PKCS#11 tokens",
            'Write one: [[hsm]] with name, module, token and pin = { file = "…" }. docs/custody.md has an example.',
        )
    document = _toml.load(path)
    entries = document.get("hsm", [])
    if set(document) - {"hsm"} or not isinstance(entries, list):
        raise _wrong(path, "it may have [[hsm]] entries alone")
    modules: dict[str, Module] = {}
    for number, entry in enumerate(entries, 1):
        module = _module(path, number, entry)
        if module.name in modules:
            raise _wrong(path, f"it names {printable(module.name)} twice")
        modules[module.name] = module
    return modules


def open_token(path: Path, name: str) -> _core.Hsm:
    """Logs in to the token of this name. Raises as `read`; `not-found`, `element`, `config`."""
    known = read(path)
    module = known.get(name)
    if module is None:
        raise error(
            "not-found",
            f"{path} names no module {printable(name)!r}",
            f"It names {', '.join(map(printable, known)) or 'none'}.",
        )
    try:
        return _core.Hsm(module.module, module.token, module.slot, module.pin, module.init_args, module.sessions)
    except _core.CoreError as e:
        raise translate(e) from None


def _module(path: Path, number: int, entry: Any) -> Module:
    if not isinstance(entry, dict):
        raise _wrong(path, f"entry {number} is not a table")
    where = f"entry {number} ({printable(str(entry.get('name', 'no name')))})"
    unknown = sorted(set(entry) - {*_FIELDS, "pin"})
    if unknown:
        raise _wrong(path, f"{where}: unknown field {printable(unknown[0])!r}")
    for field, kind in _FIELDS.items():
        value = entry.get(field)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool) or value in ("", -1)):
            raise _wrong(path, f"{where}: {field} must be {'text' if kind is str else 'a number'}")
    for field in ("name", "module"):
        if field not in entry:
            raise _wrong(path, f"{where}: {field} is missing")
    place = entry["module"]
    # A bare name is left to the dynamic loader, as in an agent's configuration.
    module = str(path.parent / place) if "/" in place else place
    pin = None if "pin" not in entry else _source(path, where, entry["pin"], entry["name"])
    return Module(
        entry["name"],
        module,
        entry.get("token"),
        entry.get("slot"),
        pin,
        entry.get("init_args"),
        entry.get("sessions", 0),
    )


def _source(path: Path, where: str, given: Any, name: str) -> Secret:
    match given:
        case {"file": str(place), **rest} if not rest:
            return ("file", str(path.parent / place))
        case {"descriptor": int(number), **rest} if not rest and not isinstance(number, bool):
            return ("descriptor", str(number))
        case {"terminal": True, **rest} if not rest:
            return ("terminal", f"PIN of {printable(name)}: ")
    raise _wrong(path, f'{where}: pin is {{ file = "…" }}, {{ descriptor = 3 }} or {{ terminal = true }}')


def _wrong(path: Path, what: str) -> EvanesceError:
    return error("config", f"{path}: {what}", "Correct it; docs/custody.md has an example.")
