"""The lifecycle of keys, for asyncio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from evanesce.custody.custodian import AnyKey, Custodian
from evanesce.custody.key import Key
from evanesce.custody.model import Destroyed
from evanesce.tokens import Token

if TYPE_CHECKING:
    from evanesce._mint import Source
    from evanesce.results import Healed, Renewal


class AsyncCustodian:
    """As `Custodian`, each verb on a thread."""

    def __init__(self, custodian: Custodian) -> None:
        self._custodian = custodian

    async def key(self, key: AnyKey) -> Token | Key:
        """As `Custodian.key`: give it to a verb, whose first use of a reference would otherwise block the loop."""
        return await asyncio.to_thread(self._custodian.key, key)

    async def create(self, key: str, suites: Iterable[str] = (), **terms: Any) -> Token | Key:
        return await asyncio.to_thread(self._custodian.create, key, suites, **terms)

    async def import_key(self, key: str, suites: Iterable[str], source: Source, **terms: Any) -> Token | Key:
        return await asyncio.to_thread(self._custodian.import_key, key, suites, source, **terms)

    async def public_key(self, key: AnyKey, suite: str | None = None, *, form: Literal["pem", "der"] = "pem") -> bytes:
        return await asyncio.to_thread(self._custodian.public_key, key, suite, form=form)

    async def rotate(self, key: str, **terms: Any) -> Token | Key:
        return await asyncio.to_thread(self._custodian.rotate, key, **terms)

    async def refresh(self, key: str, **terms: Any) -> Healed | Renewal:
        return await asyncio.to_thread(self._custodian.refresh, key, **terms)

    async def back_up(self, key: str, to: str | os.PathLike[str], **terms: Any) -> dict[str, Any]:
        return await asyncio.to_thread(self._custodian.back_up, key, to, **terms)

    async def restore(self, key: str, source: str | os.PathLike[str], **terms: Any) -> Token | Key:
        return await asyncio.to_thread(self._custodian.restore, key, source, **terms)

    async def destroy(self, key: str) -> Destroyed:
        return await asyncio.to_thread(self._custodian.destroy, key)

    async def describe(self, key: str) -> dict[str, Any]:
        return await asyncio.to_thread(self._custodian.describe, key)
