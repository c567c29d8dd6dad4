"""The scanner finds a secret in every form, wherever it begins, and nothing where there is none."""

from __future__ import annotations

import base64
import json
import secrets
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .canaries import Canary
from .household import AUDIT, Household
from .search import Search

needs_audit_build = pytest.mark.skipif(not AUDIT.is_dir(), reason="there is no audit build: make audit")


def _words_swapped(secret: bytes) -> bytes:
    return b"".join(secret[at : at + 4][::-1] for at in range(0, len(secret), 4))


def _digits(number: int) -> bytes:
    out = b""
    while number:
        out += struct.pack("<I", number & (1 << 30) - 1)
        number >>= 30
    return out


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "eight bytes of it": lambda s: s[13:21],
    "reversed": lambda s: s[::-1],
    "eight bytes of it, reversed": lambda s: s[13:21][::-1],
    "hex": lambda s: s.hex().encode(),
    "hex of eight bytes": lambda s: s[5:13].hex().encode(),
    "upper-case hex": lambda s: s.hex().upper().encode(),
    "hex in a string with wide characters": lambda s: s.hex().encode("utf-16-le"),
    "hex in a string with very wide characters": lambda s: s.hex().encode("utf-32-le"),
    "base64": base64.b64encode,
    "base64 after one byte": lambda s: base64.b64encode(b"-" + s),
    "base64 after two bytes": lambda s: base64.b64encode(b"--" + s),
    "base64 for URLs": base64.urlsafe_b64encode,
    "Debug of bytes": lambda s: str(list(s)).encode(),
    "JSON of bytes": lambda s: json.dumps(list(s), separators=(",", ":")).encode(),
    "repr of bytes": lambda s: repr(s).encode(),
    "Python integer": lambda s: _digits(int.from_bytes(s, "big")),
    "Python integer, least byte first": lambda s: _digits(int.from_bytes(s, "little")),
    "HMAC's inner block": lambda s: bytes(b ^ 0x36 for b in s),
    "HMAC's outer block": lambda s: bytes(b ^ 0x5C for b in s),
    "words of a hash's message": _words_swapped,
    "words of a hash's message, after a byte": lambda s: _words_swapped(b"-" + s + b"---"),
    "words of HMAC's inner block": lambda s: _words_swapped(bytes(b ^ 0x36 for b in s)),
}


@pytest.fixture(scope="module")
def household(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    """With nobody but the scanner."""
    with Household(tmp_path_factory.mktemp("scanner"), 0) as made:
        made.start(bytes(32), caller=False)
        yield made


@needs_audit_build
def test_every_form_is_found_wherever_it_begins_and_nothing_else_is(household: Household) -> None:
    folder = household.folder / "forms"
    folder.mkdir(exist_ok=True)
    wanted = [Canary(name, secrets.token_bytes(40)) for name in FORMS]
    absent = [Canary(f"absent {number}", secrets.token_bytes(40)) for number in range(200)]
    for number, canary in enumerate(wanted):
        # One in the middle of much else, and across the border of what is read at once.
        before = secrets.token_bytes((1 << 20) - number)
        (folder / canary.label).write_bytes(before + FORMS[canary.label](canary.value) + bytes(100))
    hits = Search(household, [*wanted, *absent], {}).files().hits
    assert {(hit.label, hit.holder) for hit in hits} == {(c.label, f"forms/{c.label}") for c in wanted}


@needs_audit_build
def test_a_whole_secret_is_one_hit_of_its_whole_length(household: Household, tmp_path: Path) -> None:
    canary = Canary("secret", secrets.token_bytes(300))
    path = household.folder / tmp_path.name
    path.write_bytes(b"before" + canary.value + b"after")
    (hit,) = Search(household, [canary], {}).files().hits
    assert (hit.form, hit.address, hit.length) == ("raw", 6, 300)


@needs_audit_build
def test_fewer_than_eight_bytes_are_no_hit(household: Household, tmp_path: Path) -> None:
    canary = Canary("secret", secrets.token_bytes(32))
    path = household.folder / tmp_path.name
    # What stands between the pieces must not happen to go on as the canary does.
    other = next(byte for byte in range(256) if byte not in canary.value)
    path.write_bytes(b"".join(canary.value[at : at + 7] + bytes([other, other]) for at in range(0, 25)))
    assert not Search(household, [canary], {}).files().hits
