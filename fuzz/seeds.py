"""Writes a few well-formed inputs for every fuzz target, so that fuzzing starts behind the first checks.

    seeds.py CORPUS [VECTORS…]

They are made here from the wire's own description, by the standard library alone, and from the tokens of
vector files where such are given. Signatures are those of the neutral point of edwards25519, under which
R = 1, S = 0 is good for every message: what lies behind a signature is reached without a key.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "conformance"))

import rsa_key

KEY = bytes([1]) + bytes(31)
"""The neutral point as an Ed25519 public key."""
SIGNATURE = KEY + bytes(32)
SPKI = bytes.fromhex("302a300506032b6570032100") + KEY
ID = bytes([2]) * 32
NOTE_AGENT = bytes([3]) * 32

SUITES = (
    "ed25519",
    "ecdsa-p256",
    "ecdsa-secp256k1",
    "ecdsa-p384",
    "x25519",
    "ml-dsa-44",
    "ml-dsa-65",
    "ml-dsa-87",
    "ml-kem-768",
    "ml-kem-1024",
    "aes-256-gcm",
    "xaes-256-gcm",
    "hmac-sha256",
    "hmac-sha512",
    "aes-cmac",
    "hkdf-sha256",
    "rsa-pss-sha256",
    "rsa-pkcs1-sha256",
    "rsa-oaep-sha256",
)
"""In the order of the suites' registry: a first byte chooses among them."""


SEALED = b"evanesce sealed roots v1\nargon2id m=65536 t=3 p=1 salt=AAAAAAAAAAAAAAAAAAAAAA==\nAAAA\n"

IDENTITY = bytes.fromhex("302e020100300506032b657004220420") + ID

POLICIES = (
    "",
    "permit(principal, action, resource);",
    'permit(principal == Caller::"ops", action in [Action::"sign", Action::"mac"], resource == Key::"treasury")\n'
    "when { context.now < 1800000000 } unless { !(1 + 2 * 3 == -7) };",
    'forbid(principal in Group::"eu", action, resource) when { if context has suite then [1, 2].isEmpty() else true };',
    '@payload("{ amount: Long, to?: { tags: Set<String> } }") permit(principal, action == Action::"sign", resource)\n'
    "when { context.payload.amount < 5 && !(context.payload has to) };",
    '// (((\n@id("x") permit(principal, action == Action::"reshare", resource) when { "\\u{1F600}" like "*\\*" };',
)

PAYLOADS = (
    '{"amount":5}',
    '{"amount":-9007199254740992,"to":{"tags":["a","\\u20ac\\ud83d\\ude00\\n"]}}',
    ' { "b" : [ true , false , null , { } ] , "a\\/\\"" : 0 } ',
)


def cbor(value: Any) -> bytes:
    """RFC 8949 §4.2.1."""
    match value:
        case None:
            return b"\xf6"
        case int():
            return _head(0, value)
        case bytes():
            return _head(2, len(value)) + value
        case str():
            return _head(3, len(value.encode())) + value.encode()
        case list():
            return _head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            entries = sorted((cbor(key), cbor(item)) for key, item in value.items())
            return _head(5, len(entries)) + b"".join(key + item for key, item in entries)
    raise TypeError(value)


def _head(major: int, n: int) -> bytes:
    if n < 24:
        return bytes([major << 5 | n])
    size = next(size for size in (0, 1, 2, 3) if n < 1 << (8 << size))
    return bytes([major << 5 | 24 + size]) + n.to_bytes(1 << size, "big")


def th(label: str, *parts: bytes) -> bytes:
    """PROTOCOL §2."""
    tag = b"evanesce/v1/" + label.encode()
    hashed = bytes([len(tag)]) + tag + b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hashlib.sha256(hashed).digest()


def der(tag: int, *parts: bytes) -> bytes:
    """One DER element."""
    content = b"".join(parts)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes(2, "big").lstrip(b"\0")
    return bytes([tag, 0x80 | len(length)]) + length + content


def header(**changes: Any) -> dict[str, Any]:
    """A header in which nothing is missing."""
    board = {"t": 1, "of": [{"seat": "board-1"}, {"seat": "board-2"}]}
    return {
        "v": 1,
        "key": ID,
        "nonce": ID,
        "name": "treasury",
        "suites": ["ed25519", "hmac-sha256"],
        "quorum": {"t": 2, "of": [{"seat": "ceo"}, board]},
        "policy": "permit(principal, action, resource);",
        "created": 1_700_000_000,
        "expires": None,
        "replaces": None,
        **changes,
    }


def token(head: dict[str, Any], sealed: bytes | None = None) -> bytes:
    """A token around a header of three seats."""
    return cbor(
        {
            "header": cbor(head),
            "anchor": ID,
            "commitments": [ID] * 3,
            "public": {suite: SPKI for suite in head["suites"] if suite == "ed25519"},
            "sealed": sealed,
            "rows": [[ID, 1, ID, SIGNATURE], [ID, 1 << 40, ID, b""], [ID, (1 << 53) - 1, ID, SIGNATURE]],
        }
    )


def second_kind(suite: str, point: int, **changes: Any) -> bytes:
    """A token of the second kind, around a header of three seats."""
    quorum = {"t": 2, "of": [{"seat": "ceo"}, {"seat": "cfo"}, {"seat": "board"}]}
    head = header(kind="regen-mpc", suite=suite, quorum=quorum, **changes)
    del head["suites"]
    return cbor(
        {
            "header": cbor(head),
            "vector": [bytes([2]) * point] * 2,
            "transcript": ID,
            "rows": [[ID, 1, ID, SIGNATURE], [ID, 1 << 40, ID, b""], [ID, (1 << 53) - 1, ID, SIGNATURE]],
        }
    )


def thresholds() -> list[bytes]:
    """One message at least of each kind of `threshold`, after the byte that says which."""
    context = {"header": b"\xa0", "vector": [bytes(33)] * 2, "transcript": ID}
    row = {"seat": 1, "epoch": 7, "holder": ID, "correction": ID}
    opening = {"rows": [row], "salts": [ID], "context": 0, "evidence": None, "requests": [b"\xa0"]}
    leave = {"context": context, "opening": opening}
    bases = [
        None,
        {"givers": None, **leave},
        {"givers": [[0, 2], [1, 1]], "context": context, "opening": None},
    ]
    announced = {"box": KEY, "spki": SPKI, "signature": SIGNATURE, "announcement": bytes(100)}
    parcel = {"enc": KEY, "seat": 2, "sealed": bytes(48), "signature": SIGNATURE}
    place = {"seat": 1, "points": bytes(66)}
    places = [[place, {**place, "seat": 2}]]
    reply = {
        "code": "done",
        "fault": None,
        "value": b"\xa0",
        "reason": "",
        "receipt": None,
        "culprits": [],
        "checkpoint": "",
    }
    taken = {"epoch": 1, "vector": [bytes(33)] * 2, "signature": SIGNATURE, "correction": ID, "transcript": ID}
    helping = {"box": KEY, "spki": SPKI, "proof": bytes(65), "points": [bytes(33)] * 2}
    awaiting = {"box": KEY, "spki": SPKI, "signature": SIGNATURE}
    received = {"epoch": 1, "signature": SIGNATURE, "correction": ID}
    bodies: list[list[Any]] = [
        [{"base": base, "seat": 2, "agents": [ID, KEY], "header": b"\xa0", "ceremony": ID} for base in bases],
        [announced],
        [{"ceremony": ID, "announcements": [announced] * 2}],
        [{"signature": SIGNATURE, "transcript": ID}],
        [{"ceremony": ID, "signatures": [SIGNATURE] * 2}],
        [{"parcels": [parcel] * 2}],
        [{"ceremony": ID, "parcels": [parcel] * 2}],
        [taken, {**taken, "correction": None}],
        [{"context": context, "row": row}],
        [{"signature": SIGNATURE}],
        [{"ceremony": ID, "epochs": [1, 2], "signatures": [SIGNATURE] * 2}],
        [{"removed": 1}],
        [{"context": context, "opening": opening, "messages": [message]} for message in (None, b"text")],
        [{"shares": None, "commitments": [bytes(64)] * 2}, {"shares": [ID], "commitments": None}],
        [{"request": ID, "commitments": places}],
        [reply, {**reply, "code": "refused", "value": None, "culprits": [{"seat": 1, "reason": "wrong"}]}],
        [{"leave": leave, "lost": 2, "holder": ID, "repair": KEY, "helpers": [1, 0]}],
        [helping],
        [{"context": context, "lost": 2, "repair": KEY, "helpers": [1, 0]}],
        [awaiting],
        [{"repair": ID, "holder": awaiting, "helpers": [helping] * 2}],
        [{"repair": ID, "parcels": [parcel]}],
        [{"repair": ID, "helpers": [helping] * 2, "parcels": [parcel] * 2}],
        [received, {**received, "correction": None}],
        [{"context": context, "row": row, "count": 8}],
        [
            {
                "context": context,
                "opening": opening,
                "messages": [b"text"],
                "commitments": [[place, {**place, "seat": 2}]],
            }
        ],
        [{"shares": [ID], "prepared": [bytes(66)]}],
    ]
    return [bytes([which]) + cbor(body) for which, kind in enumerate(bodies) for body in kind]


def note(agent: bytes, size: int, root: bytes) -> str:
    """A checkpoint signed by the neutral point."""
    origin = f"evanesce/{agent.hex()}"
    key_hash = hashlib.sha256(origin.encode() + b"\n\x01" + KEY).digest()[:4]
    signature = base64.b64encode(key_hash + SIGNATURE).decode()
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n\n\u2014 {origin} {signature}\n"


def messages() -> dict[str, list[Any]]:
    """Target → bodies, each a CBOR item to be."""
    agent = th("agent", SPKI)
    operation = {"input": ID, "suite": "ed25519", "action": "sign", "request": ID}
    entry = {
        "v": 1,
        "code": "done",
        "time": 1_700_000_000_000,
        "verb": "contribute",
        "agent": agent,
        "basis": {
            "uses": {"of": ID, "key": 7, "caller": 5},
            "grants": [ID],
            "approvals": [{"id": ID, "name": "cfo", "approver": ID}],
            "reconstructor": None,
        },
        "seats": [0, 254],
        "token": ID,
        "caller": ID,
        "reason": "",
        "element": "software (development element)",
        "key_name": "treasury \u202e",
        "operations": [operation],
        "weaknesses": ["wrap"],
        "caller_name": "ops",
    }
    proof = {"path": [ID, ID], "entry": cbor(entry), "index": 1}
    request = {
        "id": ID[:16],
        "input": ID,
        "suite": "ed25519",
        "token": ID,
        "action": "sign",
        "caller": ID,
        "payload": None,
        "session": ID,
        "not_after": 1_700_000_000,
    }
    whole = {"anchor": ID, "header": cbor(header()), "public": ID, "sealed": ID, "commitments": [ID] * 3}
    row = {"seat": 1, "epoch": 7, "holder": ID, "correction": ID}
    paid = {**request, "payload": b"{}"}
    opening = {
        "rows": [row],
        "salts": [None, ID],
        "context": 1,
        "evidence": {"proof": None, "grants": [b"grant"], "approvals": []},
        "requests": [cbor(request), cbor(paid)],
    }
    grant = {
        "v": 1,
        "count": 10,
        "nonce": ID[:16],
        "token": ID,
        "bounds": [
            {"at": ["amount"], "in": None, "max": 100, "min": 0},
            {"at": ["to", "name"], "in": ["alice", "bob"], "max": None, "min": None},
        ],
        "parent": None,
        "suites": ["ed25519"],
        "actions": ["sign"],
        "expires": 1_800_000_000,
        "further": 1,
        "grantor": ID,
        "delegate": ID,
        "not_before": 1_700_000_000,
    }
    granted = {"spki": SPKI, "grant": cbor(grant), "signature": SIGNATURE}
    statement = {
        "v": 1,
        "text": 'sign with the key "k"',
        "input": ID,
        "nonce": ID[:16],
        "suite": "ed25519",
        "token": ID,
        "action": "sign",
        "caller": ID,
        "expires": 1_700_000_000,
    }
    content = cbor(statement)
    challenge = th("approval", content)
    said = {"type": "webauthn.get", "challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("=")}
    client = json.dumps({**said, "origin": "https://example.com"}).encode()
    assertion = {
        "client_data": client,
        "authenticator_data": hashlib.sha256(b"example.com").digest() + bytes([5, 0, 0, 0, 1]),
    }
    share = {"seat": 1, "fault": None, "sealed": bytes(48), "counter": 9}
    good = {"seat": 2, "fault": None, "sealed": None, "counter": None}
    fault = {"seat": 3, "fault": "cannot-regenerate", "sealed": None, "counter": None}
    answer = {"code": "done", "seats": [share, good, fault], "reason": "", "receipt": proof}
    refusal = {"code": "refused", "seats": [], "reason": "policy", "receipt": None}
    head = {"log_key": KEY, "checkpoint": note(NOTE_AGENT, 1, ID), "endorsement": bytes(64)}
    orders = [
        {"v": 1, "nonce": bytes(16), "token": ID, "caller": ID, "issued": 1_700_000_000_000, "command": command}
        for command in ("revoke", "freeze", "thaw")
    ]
    proven = {"caller": SPKI, "hashes": [ID, ID], "signature": SIGNATURE}
    standing = {"agents": [{"agent": ID, "session": ID, "not_after": 1_700_000_000}], "version": 3}
    return {
        "request": [request, paid],
        "batch": [
            {"contexts": [{"id": ID}, whole], "openings": [opening]},
            {
                "contexts": [whole],
                "openings": [{"rows": [row, row], "salts": [], "context": 0, "evidence": None, "requests": []}],
            },
        ],
        "answers": [
            {"openings": [answer, refusal], "checkpoint": note(agent, 4, ID)},
            {"openings": [], "checkpoint": ""},
        ],
        "seating": [
            {
                "seats": [{"seat": 0, "sealed": bytes(48), "context": 0, "counter": 1}],
                "contexts": [whole],
            }
        ],
        "seated": [
            {
                "seats": [
                    {"seat": 0, "epoch": 1, "receipt": proof, "signature": SIGNATURE, "correction": ID},
                    {"seat": 1, "reason": "not a minter", "receipt": None},
                ],
                "checkpoint": note(agent, 4, ID),
            }
        ],
        "session_offer": [{"agent": ID, "caller": ID, "not_after": 1, "signature": SIGNATURE, "session_key": ID}],
        "session_answer": [{"enc": ID, "log_key": KEY, "signature": SIGNATURE, "endorsement": SIGNATURE}],
        "envelope": [{"sealed": bytes(100), "counter": 3, "session": ID}],
        "approval": [
            {"approver": SPKI, "webauthn": None, "signature": SIGNATURE, "statement": content},
            {"approver": SPKI, "webauthn": assertion, "signature": SIGNATURE, "statement": content},
        ],
        "entry": [entry, {**entry, "verb": "seat", "basis": None, "operations": [], "seats": [], "weaknesses": []}],
        "grant": [grant, {**grant, "parent": ID, "count": None, "bounds": [], "further": 0}],
        "signed_grant": [granted],
        "revocation": [{"grant": cbor(granted), "signature": SIGNATURE}],
        "receipt": [
            {
                "path": [],
                "agent": agent,
                "entry": cbor(entry),
                "index": 0,
                "log_key": KEY,
                "agent_spki": SPKI,
                "checkpoint": note(agent, 1, hashlib.sha256(b"\0" + cbor(entry)).digest()),
                "endorsement": SIGNATURE,
            }
        ],
        "status": [
            {
                "name": "agent-1",
                "agent": agent,
                "clock": 1_700_000_000_000,
                "heard": 3,
                "peers": 4,
                "roles": ["caller", "minter"],
                "caller": "ops",
                "commit": "process",
                "epochs": [1, 2],
                "frozen": 0,
                "memory": "memfd_secret",
                "current": 2,
                "element": "software",
                "entries": 17,
                "version": "0.1.0",
                "standing": "",
                "tombstones": 0,
                "weaknesses": [],
                "development": 1,
            }
        ],
        "problem": [{"code": "role", "message": "not a minter"}],
        "exchange": [
            {"from": 0, "head": head, "life": bytes(16), "want": [], "after": None, "clock": 1_700_000_000_000},
            {"from": 9, "head": head, "life": bytes(16), "want": [ID, KEY], "after": ID, "clock": 1_700_000_000_000},
        ],
        "exchanged": [
            {
                "ids": [ID] * seen,
                "life": bytes(16),
                "seen": [head] * seen,
                "clock": 1_700_000_000_000,
                "count": seen,
                "orders": [b"order"] * seen,
                "signature": bytes(64) if seen else None,
            }
            for seen in (0, 2)
        ],
        "kept": [[], [{"head": head, "agent": agent}]],
        "order": orders,
        "signed_order": [{"spki": bytes(44), "order": cbor(orders[0]), "context": whole, "signature": bytes(64)}],
        "obeyed": [
            {"code": "done", "reason": "", "receipt": None, "checkpoint": ""},
            {"code": "refused", "reason": "no", "receipt": None, "checkpoint": ""},
        ],
        "proof": [proven],
        "operate": [
            {
                "jobs": [{"suite": "aes-256-gcm", "action": "encrypt", "inputs": [b"plain", b""], "payload": 0}],
                "salts": [ID],
                "token": bytes(100),
                "holders": [{"ids": [ID[:16]], "agent": ID, "session": ID}],
                "version": 3,
                "deadline": 2000,
                "evidence": {"proof": cbor(proven), "grants": [], "approvals": []},
                "not_after": 1_700_000_000,
            }
        ],
        "operated": [
            {
                "faults": [{"kind": "refused", "seat": 1, "detail": "policy", "holder": ID}],
                "outputs": [
                    {"public": SIGNATURE, "sealed": None, "counter": None},
                    {"public": None, "sealed": bytes(48), "counter": 2},
                    {"public": None, "sealed": None, "counter": None},
                ],
                "problem": {"code": "refused", "hint": "", "message": "every agent asked refused"},
                "receipts": [],
                "sessions": standing,
            }
        ],
        "sessions": [standing],
        "serving": [
            {
                "name": "crucible",
                "clock": 1_700_000_000_000,
                "agents": 5,
                "caller": "clerk",
                "memory": "memfd_secret",
                "applied": ["seccomp"],
                "missing": [],
                "version": "0.1.0",
            }
        ],
    }


def private_keys() -> dict[str, list[bytes]]:
    """Suite → what can be imported as its key."""
    curves = {
        "ecdsa-p256": ("06072a8648ce3d0201", "06082a8648ce3d030107", 32),
        "ecdsa-p384": ("06072a8648ce3d0201", "06052b81040022", 48),
        "ecdsa-secp256k1": ("06072a8648ce3d0201", "06052b8104000a", 32),
    }
    seeded = {
        "ml-dsa-44": ("0609608648016503040311", 32),
        "ml-dsa-65": ("0609608648016503040312", 32),
        "ml-dsa-87": ("0609608648016503040313", 32),
        "ml-kem-768": ("0609608648016503040402", 64),
        "ml-kem-1024": ("0609608648016503040403", 64),
    }

    def pkcs8(algorithm: bytes, private: bytes) -> bytes:
        return der(0x30, b"\x02\x01\x00", der(0x30, algorithm), der(0x04, private))

    keys = {
        "ed25519": [pkcs8(bytes.fromhex("06032b6570"), der(0x04, ID))],
        "x25519": [pkcs8(bytes.fromhex("06032b656e"), der(0x04, ID))],
    }
    for suite, (kind, curve, length) in curves.items():
        scalar = der(0x30, b"\x02\x01\x01", der(0x04, bytes([5]) * length))
        keys[suite] = [pkcs8(bytes.fromhex(kind + curve), scalar)]
    for suite, (kind, length) in seeded.items():
        keys[suite] = [pkcs8(bytes.fromhex(kind), der(0x80, bytes([5]) * length))]
    rsa = rsa_key.generate()
    for suite in SUITES:
        keys.setdefault(suite, [rsa] if suite.startswith("rsa") else [secrets.token_bytes(n) for n in (20, 32)])
    return keys


def corpus(vectors: list[dict[str, Any]]) -> dict[str, list[bytes]]:
    """Target → inputs."""
    headers = [
        header(),
        header(expires=1_800_000_000, replaces=ID, policy=""),
        header(suites=["hmac-sha256"]),
    ]
    tokens = [token(headers[0]), token(headers[1]), token(headers[2], sealed=bytes(48))]
    quorums = [
        "3 of (ceo, cfo, 2 of (board-1, board-2, board-3))",
        "1 of (only)",
        "1 of (2 of (a, 1 of (1 of (1 of (1 of (1 of (1 of (b))))))), c)",
    ]
    verifications = []
    for case in vectors:
        tokens.append(bytes.fromhex(case["token"]))
        for operation in case.get("operations") or []:
            suite, public = operation["suite"], (case.get("public") or {}).get(operation["suite"])
            signature = operation.get("signature") or operation["result"]
            if public and operation["op"] in ("sign", "verify"):
                parts = (public, signature, operation["message"])
                verifications.append(joined(SUITES.index(suite), *map(bytes.fromhex, parts)))
            elif public:
                verifications.append(joined(SUITES.index(suite), bytes.fromhex(public), b"", b"text"))
    verifications.append(joined(0, SPKI, SIGNATURE, b"any"))
    text = note(NOTE_AGENT, 1, hashlib.sha256(b"\0leaf").digest()).encode()
    return {
        "token": tokens,
        "mpc_token": [
            second_kind("frost-ed25519", 32, policy=""),
            second_kind("frost-secp256k1-tr", 33, expires=1_800_000_000, replaces=ID),
        ],
        "threshold": thresholds(),
        "header": [cbor(head) for head in headers] + [found for each in tokens if (found := inner(each))],
        "armor": [armored(each) for each in tokens if len(each) < 4096],
        "quorum": [text.encode() for text in quorums],
        "checkpoint": [joined(0, b"", text, b"leaf"), joined(1, ID, text, b"")],
        "roots": [
            f"evanesce software roots v1\n1 {ID.hex()}\n{(1 << 53) - 1} {KEY.hex()}\n".encode(),
            SEALED,
        ],
        "sealed_roots": [SEALED, SEALED.replace(b"AAAA\n", base64.b64encode(bytes(60)) + b"\n")],
        "log": logs(),
        "log_head": [log_head(count) for count in (0, 1, 3)],
        "tombstones": [b"", 3 * f"{ID.hex()}\n".encode(), f"{ID.hex()}\n0202".encode()],
        "pem": [pem(keys[0]) for keys in private_keys().values()] + [pem(IDENTITY), pem(IDENTITY, "EC PRIVATE KEY")],
        "payload": [text.encode() for text in PAYLOADS],
        "policy": [text.encode() for text in POLICIES],
        "pkcs8": [bytes([SUITES.index(suite)]) + key for suite, keys in private_keys().items() for key in keys],
        "spki": verifications,
        **{target: [cbor(body) for body in bodies] for target, bodies in messages().items()},
    }


def logs() -> list[bytes]:
    """Entries as an agent keeps them: whole, torn, and changed with a whole one behind."""
    (entry, *_) = messages()["entry"]
    body = cbor(entry)
    frame = len(body).to_bytes(2, "big") + hashlib.sha256(b"\0" + body).digest()[:8] + body
    changed = frame[:-1] + bytes([frame[-1] ^ 1])
    return [frame, frame * 3, frame + frame[:-5], frame + changed + frame]


def log_head(count: int) -> bytes:
    """The head of a log of none, one or three entries (RFC 6962)."""
    one, two, three = (hashlib.sha256(b"\0" + bytes([n])).digest() for n in range(3))
    pair = hashlib.sha256(b"\1" + one + two).digest()
    edge = {0: [], 1: [one], 3: [three, pair]}[count]
    root = {0: hashlib.sha256().digest(), 1: one, 3: hashlib.sha256(b"\1" + pair + three).digest()}[count]
    text = note(NOTE_AGENT, count, root)
    last = f"last {100 * (count - 1)}\n" if count else ""
    return (text + f"\nlength {100 * count}\n{last}" + "".join(f"node {node.hex()}\n" for node in edge)).encode()


def pem(content: bytes, label: str = "PRIVATE KEY") -> bytes:
    """RFC 7468."""
    lines = base64.encodebytes(content).decode()
    return f"-----BEGIN {label}-----\n{lines}-----END {label}-----\n".encode()


def joined(first: int, one: bytes, two: bytes, rest: bytes) -> bytes:
    """As the targets take apart what has several parts."""
    return bytes([first]) + len(one).to_bytes(2, "big") + one + len(two).to_bytes(2, "big") + two + rest


def inner(encoded: bytes) -> bytes | None:
    """The header's bytes within a token, if it looks like one."""
    start = encoded.find(b"fheader")
    if start < 0 or len(encoded) < start + 10:
        return None
    size = {0x58: 1, 0x59: 2}.get(encoded[start + 7])
    if size is None:
        return None
    begin = start + 8 + size
    return encoded[begin : begin + int.from_bytes(encoded[start + 8 : begin], "big")]


def armored(encoded: bytes) -> bytes:
    """The token as text."""
    lines = base64.b64encode(encoded).decode()
    body = "\n".join(lines[i : i + 64] for i in range(0, len(lines), 64))
    mark = "EVANESCE REGEN TOKEN"
    return f"-----BEGIN {mark}-----\n{body}\n-----END {mark}-----\n".encode()


def main(folder: str, *files: str) -> None:
    """Adds the seeds to what a corpus already holds."""
    vectors = [case for file in files for case in json.loads(Path(file).read_bytes())["cases"]]
    for target, inputs in corpus(vectors).items():
        place = Path(folder) / target
        place.mkdir(parents=True, exist_ok=True)
        for content in inputs:
            (place / hashlib.sha256(content).hexdigest()[:24]).write_bytes(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
