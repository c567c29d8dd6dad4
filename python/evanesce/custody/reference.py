"""References to keys: `MODEL:…`, one line that names a key wherever it is kept. Pure.

    hsm:MODULE/LABEL[@VERSION]  a key in a PKCS#11 token: MODULE as the home's hsm.toml names it, LABEL its CKA_LABEL
    regen:NAME[@VERSION]        a regen token in the home folder, or regen:PATH, a token file
    mpc:…, regen-mpc:…          as regen:, a token of that model

`/`, `@` and `%` within a module's name or a label are percent-encoded (RFC 3986). A reference holds no secret: PINs are
named in hsm.toml, and tokens are public. Without a version the newest is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from evanesce._text import printable
from evanesce.errors import EvanesceError, error

MODELS = ("hsm", "mpc", "regen", "regen-mpc")
"""The models that there are, by the word before the colon."""

_VERSION = re.compile(r"(.+)@([1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference, taken apart."""

    model: str
    place: str
    """hsm: the module's name in hsm.toml. Others: the name of a token or the path of its file."""
    label: str = ""
    """hsm: the key's label without its version; empty where the module itself is meant. Empty for others."""
    version: int | None = None
    """From 1; None for the newest."""

    @staticmethod
    def parse(text: str) -> Reference:
        """Raises `bad-input` for what is none."""
        model, colon, rest = text.partition(":")
        if not colon or model not in MODELS:
            raise _wrong(text, f"it begins with none of {', '.join(f'{name}:' for name in MODELS)}")
        if not rest or "\0" in rest:
            raise _wrong(text, "nothing is named")
        if model != "hsm":
            place, version = _versioned(rest)
            return Reference(model, place, "", version)
        module, _, key = rest.partition("/")
        label, version = _versioned(key)
        if "/" in label:
            raise _wrong(text, "a label's own / is written %2F")
        return Reference(model, unquote(module), unquote(label), version)

    def at(self, version: int | None) -> Reference:
        """Another version of the same key."""
        return replace(self, version=version)

    def __str__(self) -> str:
        at = "" if self.version is None else f"@{self.version}"
        if self.model != "hsm":
            return f"{self.model}:{self.place}{at}"
        key = f"/{quote(self.label, safe='')}" if self.label else ""
        return f"hsm:{quote(self.place, safe='')}{key}{at}"


def is_reference(text: str) -> bool:
    """Whether this names a model, rather than a token file."""
    return text.partition(":")[0] in MODELS and ":" in text


def _versioned(text: str) -> tuple[str, int | None]:
    found = _VERSION.fullmatch(text)
    return (found[1], int(found[2])) if found else (text, None)


def _wrong(text: str, why: str) -> EvanesceError:
    return error(
        "bad-input",
        f"{printable(text)!r} names no key: {why}",
        "Name it as hsm:MODULE/LABEL, or as regen:NAME or regen:PATH, likewise mpc: and regen-mpc:.",
    )
