"""Sessions with agents, from both ends, from docs/agent-api.md alone: whoever has the key reads what is sealed."""

from __future__ import annotations

import hmac
import itertools
import os
import time
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from independent import th
from wire import Way

_KEM = b"KEM\x00\x20"
_SUITE = b"HPKE\x00\x20\x00\x01\xff\xff"
"""RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, export-only."""


def spki(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def raw(key: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def encode(value: Any) -> bytes:
    return cbor2.dumps(value, canonical=True)


def _extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def _expand(suite: bytes, prk: bytes, label: bytes, info: bytes) -> bytes:
    """32 bytes: one block."""
    return hmac.digest(prk, b"\x00\x20HPKE-v1" + suite + label + info + b"\x01", "sha256")


def _exported(shared: bytes, enc: bytes, receiver: bytes, session: bytes) -> tuple[bytes, bytes]:
    """The keys "to agent" and "to reconstructor"."""
    prk = _extract(_KEM, b"", b"eae_prk", shared)
    secret = _expand(_KEM, prk, b"shared_secret", enc + receiver)
    info = _extract(_SUITE, b"", b"info_hash", b"evanesce/v1/session" + session)
    context = b"\x00" + _extract(_SUITE, b"", b"psk_id_hash", b"") + info
    exporter = _expand(_SUITE, _extract(_SUITE, secret, b"secret", b""), b"exp", context)
    return _expand(_SUITE, exporter, b"sec", b"to agent"), _expand(_SUITE, exporter, b"sec", b"to reconstructor")


def session_id(offer: dict[str, Any]) -> bytes:
    ends = offer["not_after"].to_bytes(8, "big")
    return th("session", offer["session_key"], offer["caller"], offer["agent"], ends)


def accepted(offer: dict[str, Any], identity: Ed25519PrivateKey, log_key: Ed25519PrivateKey) -> tuple[Any, bytes]:
    """An agent's answer to an offer, and the key under which requests to it are sealed."""
    session, ephemeral = session_id(offer), X25519PrivateKey.generate()
    enc = raw(ephemeral)
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(offer["session_key"]))
    to_agent, _ = _exported(shared, enc, offer["session_key"], session)
    agent = th("agent", spki(identity))
    answer = {
        "enc": enc,
        "log_key": raw(log_key),
        "signature": identity.sign(th("session-answer", session, enc)),
        "endorsement": identity.sign(th("log-key", agent, raw(log_key))),
    }
    return answer, to_agent


def opened(envelope: dict[str, Any], verb: str, agent: bytes, to_agent: bytes) -> Any:
    """What is in an envelope."""
    nonce = bytes(4) + envelope["counter"].to_bytes(8, "big")
    return cbor2.loads(AESGCM(to_agent).decrypt(nonce, envelope["sealed"], th("sealed-request", verb.encode(), agent)))


@dataclass
class Session:
    """With one agent, as whoever has this identity. A context manager."""

    address: str
    agent: bytes
    identity: Ed25519PrivateKey
    id: bytes = b""
    _to_agent: bytes = b""
    _counter: itertools.count[int] = field(default_factory=itertools.count)

    def __enter__(self) -> Session:
        self._way = Way(self.address, self.identity).__enter__()
        ephemeral, me = X25519PrivateKey.generate(), th("caller", spki(self.identity))
        offer = {
            "agent": self.agent,
            "caller": me,
            "not_after": int(time.time()) + 600,
            "session_key": raw(ephemeral),
        }
        self.id = session_id(offer)
        answer = self._way.post("/v1/session", offer | {"signature": self.identity.sign(self.id)})
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(answer["enc"]))
        self._to_agent, _ = _exported(shared, answer["enc"], raw(ephemeral), self.id)
        return self

    def __exit__(self, *_: object) -> None:
        self._way.__exit__()

    def ask(self, context: Any, opening: dict[str, Any]) -> dict[str, Any]:
        """The agent's answer to one opening. Raises `TurnedAway`."""
        counter = next(self._counter)
        sealed = AESGCM(self._to_agent).encrypt(
            bytes(4) + counter.to_bytes(8, "big"),
            encode({"contexts": [context], "openings": [opening | {"context": 0}]}),
            th("sealed-request", b"contribute", self.agent),
        )
        envelope = {"sealed": sealed, "counter": counter, "session": self.id}
        (answer,) = self._way.post("/v1/contribute", envelope)["openings"]
        assert isinstance(answer, dict)
        return answer


def altered(request: bytes, **changes: Any) -> bytes:
    """A request with a fresh id, of now, and otherwise these changes."""
    fresh = {"id": os.urandom(16), "not_after": int(time.time()) + 200}
    return encode(cbor2.loads(request) | fresh | changes)
