"""The second kind of token by a second implementation: the published vectors, read and written."""

from __future__ import annotations

import hashlib
import json
from itertools import combinations
from typing import Any

import cbor2
import pytest
import threshold
from independent import Malformed, Token
from test_conformance import REPOSITORY
from threshold import SUITES, Ed25519, Secp256k1

PUBLISHED = REPOSITORY / "vectors" / "threshold.json"
CASES: list[dict[str, Any]] = json.loads(PUBLISHED.read_text())["cases"]
GOOD = [case for case in CASES if "error" not in case]


def test_the_published_file_is_what_the_second_implementation_writes() -> None:
    assert json.loads(PUBLISHED.read_text()) == threshold.generate()


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case["name"])
def test_roots_and_rows_give_the_shares_of_the_key_that_signed(case: dict[str, Any]) -> None:
    token = cbor2.loads(bytes.fromhex(case["token"]))
    header = cbor2.loads(token["header"])
    curve, t = SUITES[case["suite"]], header["quorum"]["t"]
    id_ = threshold.token_id(token["header"], token["transcript"], token["vector"])
    assert id_.hex() == case["token_id"]
    roots = {agent["id"]: agent["roots"] for agent in case["agents"]}
    shares: dict[int, int] = {}
    faulty = []
    for seat, (holder, epoch, _, _) in enumerate(token["rows"]):
        root = bytes.fromhex(roots[holder.hex()][str(epoch)])
        share = threshold.regenerate(curve, token, id_, seat, root)
        if share is None:
            faulty.append(header["quorum"]["of"][seat]["seat"])
        else:
            shares[seat] = share
    assert faulty == case["faulty"]
    key = curve.decode(token["vector"][0])
    assert curve.public_key(key).hex() == case["public_key"]
    for seats in combinations(shares, t):
        secret = threshold.key_of(curve, {seat: shares[seat] for seat in seats})
        assert threshold.times(curve, curve.generator, secret) == key
    signature, message = bytes.fromhex(case["signature"]), bytes.fromhex(case["message"])
    assert curve.verify(bytes.fromhex(case["public_key"]), message, signature)
    assert not curve.verify(bytes.fromhex(case["public_key"]), message + b".", signature)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_nothing_of_the_second_kind_is_a_token_of_the_first(case: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        Token.decode(bytes.fromhex(case["token"]))


def test_the_curves_are_those_of_rfc_8032_and_bip_340() -> None:
    """RFC 8032 §7.1, test 2; BIP-340's test vector 1."""
    ed = Ed25519()
    public_key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert ed.verify(public_key, b"\x72", signature)
    secp = Secp256k1()
    public_key = bytes.fromhex("dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659")
    message = bytes.fromhex("243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89")
    signature = bytes.fromhex(
        "6896bd60eeae296db48a229ff71dfe071bde413e6d43f917dc8dcf8c78de3341"
        "8906d11ac976abccb20b091292bff4ea897efcb639ea871cfa95f6de339e4b0a"
    )
    assert secp.verify(public_key, message, signature)
    for curve in (ed, secp):
        assert threshold.times(curve, curve.generator, curve.order) in (None, (0, 1))


def test_keys_are_made_that_come_out_odd_and_even_before_the_tweak_and_after() -> None:
    """So that the published ceremonies would show a negation that is forgotten, or one too many."""
    curve, seen = Secp256k1(), set()
    for ceremony in json.loads(PUBLISHED.read_text())["ceremonies"]:
        if ceremony["suite"] != curve.name:
            continue
        key = sum(curve.number(bytes.fromhex(of[0])) for of in ceremony["polynomials"]) % curve.order
        before = threshold.times(curve, curve.generator, key)
        even = before if before[1] % 2 == 0 else (before[0], curve.p - before[1])
        tag = hashlib.sha256(b"TapTweak").digest()
        tweak = int.from_bytes(hashlib.sha256(tag + tag + curve.encode(even)[1:]).digest(), "big")
        after = curve.add(even, threshold.times(curve, curve.generator, tweak))
        assert ceremony["vector"][0] == "02" + curve.encode(after)[1:].hex()
        seen.add((before[1] % 2, after[1] % 2))
    assert seen == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_agents_sign_their_rows() -> None:
    curve = Ed25519()
    token = cbor2.loads(bytes.fromhex(GOOD[0]["token"]))
    id_ = bytes.fromhex(GOOD[0]["token_id"])
    for seat, (holder, epoch, correction, signature) in enumerate(token["rows"]):
        agent = threshold.Agent(f"agent-{seat}")
        assert agent.id == holder
        assert hashlib.sha256(b"identity of " + agent.name.encode()).digest() == agent.identity
        statement = threshold.th("mpc-row", id_, seat.to_bytes(4, "big"), epoch.to_bytes(8, "big"), correction)
        assert curve.verify(agent.public, statement, signature)
