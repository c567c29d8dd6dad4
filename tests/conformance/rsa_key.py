"""A fresh RSA key as PKCS#8 DER, by the standard library alone: something to import, for tests only.

Not constant-time, nothing is wiped: never use such a key for anything.
"""

from __future__ import annotations

import functools
import secrets

_EXPONENT = 65537
_ROUNDS = 20
_SMALL = [n for n in range(3, 2000, 2) if all(n % d for d in range(3, int(n**0.5) + 1, 2))]


@functools.cache
def generate(bits: int = 2048) -> bytes:
    """PKCS#8 (RFC 5208) around an RSAPrivateKey (RFC 8017, appendix A.1.2) with e = 65537; one per process."""
    while True:
        p, q = _prime(bits // 2), _prime(bits // 2)
        n = p * q
        if p != q and n.bit_length() == bits:
            break
    p, q = max(p, q), min(p, q)
    d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    parts = (0, n, _EXPONENT, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))
    key = _tagged(0x30, b"".join(map(_integer, parts)))
    rsa_encryption = bytes.fromhex("300d06092a864886f70d0101010500")
    return _tagged(0x30, _integer(0) + rsa_encryption + _tagged(0x04, key))


def _prime(bits: int) -> int:
    """A probable prime with its two highest bits set, one below which is prime to e."""
    while True:
        n = secrets.randbits(bits) | (0b11 << (bits - 2)) | 1
        if all(n % small for small in _SMALL) and (n - 1) % _EXPONENT and _probably_prime(n):
            return n


def _probably_prime(n: int) -> bool:
    """Miller and Rabin's test."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(_ROUNDS):
        x = pow(secrets.randbelow(n - 3) + 2, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def _integer(value: int) -> bytes:
    return _tagged(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _tagged(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content
