"""Payloads: what an operation is about, as a JSON object that every agent reads before it takes part.

A payment, an order, a release manifest: the token's policy sees its members (`context.payload.amount`), and what
is signed is its canonical form (RFC 8785), so that no two readers can take it for different things. Whole numbers
within ±2^53 alone: give amounts in minor units, and what is larger as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from typing_extensions import Buffer

from evanesce import _core
from evanesce.errors import error, translate

Payload = Mapping[str, Any] | str | Buffer
"""A JSON object: as a mapping of what JSON has, or its text, in any spelling."""


def canonical_payload(payload: Payload) -> bytes:
    """The bytes that are signed. Raises `payload`, saying what is wrong and where."""
    if isinstance(payload, Mapping):
        data: Buffer = _text(payload).encode()
    elif isinstance(payload, str):
        data = payload.encode(errors="surrogatepass")
    else:
        data = payload
    try:
        return _core.canonical_payload(data)
    except _core.CoreError as e:
        raise translate(e) from None


def _text(payload: Mapping[str, Any]) -> str:
    # The core reads it anew, and judges it; here it only has to say what the objects say.
    try:
        return json.dumps(_plain(payload, "payload"))
    except (TypeError, ValueError, RecursionError) as e:
        raise error("payload", f"this payload is no JSON: {e}") from None


def _plain(value: Any, place: str) -> Any:
    if isinstance(value, Mapping):
        for key in value:
            # json.dumps would make a text of it, and of True something else than Python's word.
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} of {place} is not text")
        return {key: _plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{place} is a {type(value).__name__}")
