"""Receipts come from strangers: whatever their bytes are, what is wrong with them is a public error."""

from __future__ import annotations

from collections.abc import Callable

import cbor2
import pytest

from evanesce import EvanesceError, Receipt


def receipt(entry: bytes) -> bytes:
    """One of the right shape (docs/agent-api.md), around an entry that may be anything."""
    return cbor2.dumps(
        {
            "path": [],
            "agent": bytes(32),
            "entry": entry,
            "index": 7,
            "log_key": bytes(32),
            "agent_spki": b"",
            "checkpoint": "",
            "endorsement": b"",
        }
    )


@pytest.mark.parametrize(
    "entry", [b"", b"\x00", b"\xff", b"\xa0", b"\xbf" * 9, b"\x9b" + b"\xff" * 8, bytes(range(64))]
)
@pytest.mark.parametrize("read", [Receipt.entry, Receipt.verify])
def test_an_entry_that_is_none_makes_a_receipt_invalid(read: Callable[[Receipt], object], entry: bytes) -> None:
    hostile = Receipt.decode(receipt(entry))
    assert hostile.index == 7
    with pytest.raises(EvanesceError) as caught:
        read(hostile)
    assert caught.value.code == "receipt-invalid"


@pytest.mark.parametrize("data", [b"", b"\xa0", receipt(b"")[:-1], receipt(b"") + b"\x00", bytes(range(200))])
def test_bytes_that_are_no_receipt_are_invalid(data: bytes) -> None:
    with pytest.raises(EvanesceError) as caught:
        Receipt.decode(data)
    assert caught.value.code == "receipt-invalid"
