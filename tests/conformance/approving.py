"""Approvals a second time, from docs/agent-api.md alone: the text, the statement, the signatures around it.

    approving.py FILE      writes the vectors of `vectors/approvals.json`

For tests only. It shares no code with the product: cbor2, hashlib and cryptography do the work.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from independent import th

NOW = 1_800_000_000
UNSEEN = {0xAD, 0x61C, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070)}
UNSEEN |= {*range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080)}

Key = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Asked:
    """What is asked for."""

    key: str = "treasury"
    action: str = "sign"
    suite: str = "ed25519"
    token: bytes = bytes([1]) * 32
    caller: bytes = bytes([3]) * 32
    input: bytes = bytes([2]) * 32
    payload: dict[str, Any] | None = None
    word: str = ""


def harmless(character: str) -> bool:
    point = ord(character)
    return not (point < 0x20 or 0x7F <= point < 0xA0 or point in UNSEEN)


def quoted(text: str) -> str:
    out = []
    for c in text:
        if c in '"\\':
            out.append("\\" + c)
        elif harmless(c):
            out.append(c)
        else:
            units = c.encode("utf-16-be")
            out += [f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)]
    return f'"{"".join(out)}"'


def shown(value: Any, depth: int = 0) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        items, marks = [f"{quoted(key)}: {shown(value[key], depth + 1)}" for key in keys], "{}"
    else:
        items, marks = [shown(item, depth + 1) for item in value], "[]"
    if not items:
        return marks
    inner = ",\n".join("  " * (depth + 1) + item for item in items)
    return f"{marks[0]}\n{inner}\n{'  ' * depth}{marks[1]}"


def cut(text: str, most: int) -> str:
    kept = text[:most] + ("..." if len(text) > most else "")
    return "".join(c if harmless(c) else "\ufffd" for c in kept)


def text(asked: Asked) -> str:
    lines = [
        f"{asked.action} with the key {quoted(cut(asked.key, 255))}" + (f" as {asked.suite}" if asked.suite else ""),
        f"token {asked.token.hex()}",
        f"asked for by {asked.caller.hex()}",
    ]
    if asked.payload is not None:
        lines.append(f"payload {shown(asked.payload)}")
    else:
        lines.append(f"input digest {asked.input.hex()}")
        if asked.word:
            lines += ["in the requester's words, which no agent can check:", cut(asked.word, 1000)]
    return "\n".join(lines)


def statement(asked: Asked, **changes: Any) -> bytes:
    fields = {
        "v": 1,
        "text": text(asked),
        "input": asked.input,
        "nonce": bytes([4]) * 16,
        "suite": asked.suite,
        "token": asked.token,
        "action": asked.action,
        "caller": asked.caller,
        "expires": NOW + 600,
    }
    return cbor2.dumps(fields | changes, canonical=True)


def spki(key: Key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def sign(key: Key, message: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    return key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def approve(key: Key, said: bytes) -> bytes:
    signature = sign(key, th("approval", said))
    fields = {"approver": spki(key), "webauthn": None, "signature": signature, "statement": said}
    return cbor2.dumps(fields, canonical=True)


def authenticate(key: Key, said: bytes, *, site: str = "example.com", flags: int = 5, **changes: Any) -> bytes:
    """As a browser and an authenticator do (W3C Web Authentication Level 2)."""
    client = {
        "type": "webauthn.get",
        "challenge": base64.urlsafe_b64encode(th("approval", said)).decode().rstrip("="),
        "origin": "https://console.example.com",
        "crossOrigin": False,
    }
    client_data = json.dumps(client | changes, separators=(",", ":")).encode()
    data = hashlib.sha256(site.encode()).digest() + bytes([flags]) + bytes([0, 0, 0, 9])
    signature = sign(key, data + hashlib.sha256(client_data).digest())
    webauthn = {"client_data": client_data, "authenticator_data": data}
    fields = {"approver": spki(key), "webauthn": webauthn, "signature": signature, "statement": said}
    return cbor2.dumps(fields, canonical=True)


def approval_id(approval: bytes) -> bytes:
    fields = cbor2.loads(approval)
    return th("approval-id", th("approval", fields["statement"]), th("caller", fields["approver"]))


def generate() -> dict[str, Any]:
    """The vectors; the same whenever they are made."""
    plain: Key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
    curve: Key = ec.derive_private_key(int.from_bytes(bytes([5]) * 32), ec.SECP256R1())
    payment = Asked(
        payload={"amount": 12_500, "to": {"name": "J\u00fcrgen \u202e", "tags": ["a", True, None]}, "z": {}}
    )
    bare, worded = Asked(), Asked(word="the release\nof May", action="mac", suite="hmac-sha256")
    cases: list[dict[str, Any]] = []

    def case(name: str, asked: Asked, approval: bytes, good: bool, site: str | None = None) -> None:
        payload = asked.payload
        canonical = None if payload is None else _canonical(payload)
        cases.append(
            {
                "name": name,
                "key": asked.key,
                "action": asked.action,
                "suite": asked.suite,
                "token": asked.token.hex(),
                "caller": asked.caller.hex(),
                "input": asked.input.hex(),
                "payload": canonical,
                "word": asked.word,
                "text": text(asked),
                "now": NOW,
                "site": site,
                "approval": approval.hex(),
                "id": approval_id(approval).hex(),
                "approver": th("caller", cbor2.loads(approval)["approver"]).hex(),
                "good": good,
            }
        )

    for key, kind in ((plain, "Ed25519"), (curve, "P-256")):
        for asked, what in ((payment, "a payload"), (bare, "a digest"), (worded, "a digest and a word")):
            case(f"{kind}: {what}", asked, approve(key, statement(asked)), True)
            approval = authenticate(key, statement(asked))
            case(f"{kind} authenticator: {what}", asked, approval, True, "example.com")
    hostile = replace(bare, key='a"\ntoken 00\\', suite="", action="open")
    case("a hostile name", hostile, approve(plain, statement(hostile)), True)
    changes: list[tuple[str, dict[str, Any]]] = [
        ("another token", {"token": bytes(32)}),
        ("another caller", {"caller": bytes(32)}),
        ("another input", {"input": bytes(32)}),
        ("another action", {"action": "mac"}),
        ("another suite", {"suite": "ml-dsa-65"}),
        ("another text", {"text": text(payment).replace("12500", "12501")}),
        ("a word beside a payload", {"text": text(payment) + text(worded)[text(worded).index("\nin the") :]}),
        ("at its end", {"expires": NOW}),
        ("too far ahead", {"expires": NOW + 901}),
    ]
    for name, change in changes:
        case(name, payment, approve(plain, statement(payment, **change)), False)
    case("as far ahead as may be", payment, approve(plain, statement(payment, expires=NOW + 900)), True)
    said = statement(payment)
    case("a key that is named as an authenticator's", payment, approve(plain, said), False, "example.com")
    case("an authenticator that is not named as one", payment, authenticate(plain, said), False)
    broken: list[tuple[str, Callable[[], bytes]]] = [
        ("nobody there", lambda: authenticate(plain, said, flags=4)),
        ("nobody verified", lambda: authenticate(plain, said, flags=1)),
        ("another relying party", lambda: authenticate(plain, said, site="example.org")),
        ("another page", lambda: authenticate(plain, said, origin="https://example.com.evil.org")),
        ("a plain page", lambda: authenticate(plain, said, origin="http://example.com")),
        ("inside another page", lambda: authenticate(plain, said, crossOrigin=True)),
        ("a registration", lambda: authenticate(plain, said, type="webauthn.create")),
        ("another challenge", lambda: authenticate(plain, said, challenge="A" * 43)),
    ]
    for name, make in broken:
        case(name, payment, make(), False, "example.com")
    return {"protocol": "evanesce/v1", "cases": cases}


def _canonical(payload: dict[str, Any]) -> str:
    # RFC 8785, of payloads whose texts hold no control characters.
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(generate(), indent=1, ensure_ascii=True) + "\n")
