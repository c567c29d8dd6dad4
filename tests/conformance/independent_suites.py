"""PROTOCOL §7 and §8 a second time: what a seed makes of inputs, by pyca/cryptography.

For tests only. `result` answers an operation of the vector form; where a suite's signatures differ each
time, it verifies instead.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, padding, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from independent import Token, expand, hkdf

_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_CURVES: Mapping[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm, int, int]] = {
    "ecdsa-p256": (
        ec.SECP256R1(),
        hashes.SHA256(),
        48,
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    ),
    "ecdsa-p384": (
        ec.SECP384R1(),
        hashes.SHA384(),
        72,
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    ),
    "ecdsa-secp256k1": (ec.SECP256K1(), hashes.SHA256(), 48, _SECP256K1_ORDER),
}
_SEEDED = {
    "ml-dsa-44": (mldsa.MLDSA44PrivateKey, 32),
    "ml-dsa-65": (mldsa.MLDSA65PrivateKey, 32),
    "ml-dsa-87": (mldsa.MLDSA87PrivateKey, 32),
    "ml-kem-768": (mlkem.MLKEM768PrivateKey, 64),
    "ml-kem-1024": (mlkem.MLKEM1024PrivateKey, 64),
}
_SYMMETRIC = {"hmac-sha512": 64}


def key(token: Token, seed: bytes, suite: str) -> Any:
    """The private key object of an asymmetric suite, or the raw key of a symmetric one."""

    def material(length: int) -> bytes:
        return hkdf(seed, token.header["key"], b"key/" + suite.encode(), length)

    if token.sealed is not None:
        wrap = hkdf(seed, token.deal, b"import", 32)
        plain = AESGCM(wrap).decrypt(bytes(12), token.sealed, token.deal)
        return serialization.load_der_private_key(plain, None) if suite in token.public else plain
    if suite in _CURVES:
        curve, _, length, order = _CURVES[suite]
        return ec.derive_private_key(int.from_bytes(material(length), "big") % (order - 1) + 1, curve)
    if suite in _SEEDED:
        kind, length = _SEEDED[suite]
        return kind.from_seed_bytes(material(length))
    if suite == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(material(32))
    if suite == "x25519":
        return x25519.X25519PrivateKey.from_private_bytes(material(32))
    return material(_SYMMETRIC.get(suite, 32))


def public(token: Token, seed: bytes, suite: str) -> bytes:
    """SubjectPublicKeyInfo of an asymmetric suite, computed."""
    return (
        key(token, seed, suite)
        .public_key()
        .public_bytes(  # type: ignore[no-any-return]
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def result(token: Token, seed: bytes, op: str, suite: str, inputs: Mapping[str, bytes], length: int) -> bytes | bool:
    """The result of one operation."""
    k = key(token, seed, suite)
    match op:
        case "verify":
            return _verifies(k.public_key(), suite, inputs["message"], inputs["signature"])
        case "sign":
            return _signature(k, suite, inputs["message"])
        case "mac":
            return _mac(k, suite, inputs["message"])
        case "decrypt":
            return _decrypted(k, suite, inputs["ciphertext"], inputs["aad"])
        case "derive":
            return expand(k, length.to_bytes(4, "big") + inputs["context"], length)
        case "agree":
            peer = x25519.X25519PublicKey.from_public_bytes(inputs["peer"])
            return k.exchange(peer)  # type: ignore[no-any-return]
        case "decapsulate":
            return k.decapsulate(inputs["ciphertext"])  # type: ignore[no-any-return]
    raise ValueError(op)


def _signature(k: Any, suite: str, message: bytes) -> bytes:
    if suite == "ed25519":
        return k.sign(message)  # type: ignore[no-any-return]
    if suite == "rsa-pkcs1-sha256":
        return k.sign(message, padding.PKCS1v15(), hashes.SHA256())  # type: ignore[no-any-return]
    signature = k.sign(message, ec.ECDSA(_CURVES[suite][1], deterministic_signing=True))
    if suite == "ecdsa-secp256k1":
        r, s = decode_dss_signature(signature)
        return encode_dss_signature(r, min(s, _SECP256K1_ORDER - s))
    return signature  # type: ignore[no-any-return]


def _verifies(public_key: Any, suite: str, message: bytes, signature: bytes) -> bool:
    schemes: dict[str, tuple[Any, ...]] = {
        **{name: (ec.ECDSA(curve[1]),) for name, curve in _CURVES.items()},
        "rsa-pkcs1-sha256": (padding.PKCS1v15(), hashes.SHA256()),
        "rsa-pss-sha256": (padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
    }
    try:
        public_key.verify(signature, message, *schemes.get(suite, ()))
    except InvalidSignature:
        return False
    return True


def _mac(k: bytes, suite: str, message: bytes) -> bytes:
    return _cmac(k, message) if suite == "aes-cmac" else hmac.digest(k, message, suite.removeprefix("hmac-"))


def _cmac(k: bytes, message: bytes) -> bytes:
    mac = CMAC(AES(k))
    mac.update(message)
    return mac.finalize()


def _decrypted(k: Any, suite: str, ciphertext: bytes, aad: bytes) -> bytes:
    if suite == "rsa-oaep-sha256":
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        return k.decrypt(ciphertext, oaep)  # type: ignore[no-any-return]
    if suite == "xaes-256-gcm":
        first, ciphertext = ciphertext[:12], ciphertext[12:]
        k = b"".join(_cmac(k, bytes([0, counter, ord("X"), 0]) + first) for counter in (1, 2))
    return AESGCM(k).decrypt(ciphertext[:12], ciphertext[12:], aad)


def agent_id(seed: bytes) -> bytes:
    """§1: the id of the agent whose Ed25519 identity has this seed."""
    spki = (
        ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    label = b"evanesce/v1/agent"
    return hashlib.sha256(bytes([len(label)]) + label + len(spki).to_bytes(8, "big") + spki).digest()
