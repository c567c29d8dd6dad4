"""Two shares, every root behind them, every token and all traffic: no key, nor anything to tell one from another.

What is tried is all that can be computed without guessing. That nothing else could help is shown by construction: for
every seed there is a third share, and for every third share a pad, under which all that the two agents and the tokens
hold is as it is, but for SHA-256 of what is not known.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import os
from collections.abc import Iterable, Iterator

import cbor2
from attacked import CORRUPT, Attack
from independent import Token, expand, hkdf, interpolate, open_seed, regenerate, th
from independent_suites import public

THRESHOLD = 3


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def is_seed(seed: bytes, token: Token) -> bool:
    """Whether the token's public half says so, in any way that it can be asked."""
    return th("anchor", token.deal, seed) == token.anchor or public(token, seed, "ed25519") == token.public["ed25519"]


def pad(root: bytes, token: Token, seat: int) -> bytes:
    y = hmac.digest(root, th("contribution", token.id, seat.to_bytes(4, "big")), "sha256")
    return expand(y, b"evanesce/v1/pad", 32)


def values(attack: Attack) -> set[bytes]:
    """All 32 bytes that the attacker has or can make, and that could have to do with a share."""
    tokens, loot = list(attack.loot.tokens.values()), attack.loot
    found = {bytes(32), b"\xff" * 32}
    for token in tokens:
        found |= {token.anchor, token.deal, token.id, *token.commitments}
        for seat, (_, _, correction, _) in enumerate(token.rows):
            found.add(correction)
            # Its own roots, of every epoch, tried on every seat.
            for root in (root for epochs in loot.roots.values() for root in epochs.values()):
                found |= {pad(root, token, seat), xor(correction, pad(root, token, seat))}
    # What is the same in two tokens falls out of their difference: here a seed and a seat, but no pad and no share.
    for one, two in itertools.combinations(tokens, 2):
        for seat in range(5):
            found |= {xor(one.rows[seat][2], two.rows[seat][2]), xor(one.commitments[seat], two.commitments[seat])}
    shares = list(loot.shares())
    found |= {share for _, _, share in shares}
    found |= {xor(a, b) for (_, _, a), (_, _, b) in itertools.combinations(shares, 2)}
    return found


def candidates(known: dict[int, bytes], found: Iterable[bytes]) -> Iterator[bytes]:
    """Seeds: what was found itself, as a third share of any seat, and the two shares as if they were enough."""
    points = [(seat + 1, share) for seat, share in known.items()]
    yield interpolate(points, 0)
    yield xor(points[0][1], points[1][1])
    for value in found:
        yield value
        for x in range(1, 6):
            for pair in ([*points, (x, value)], [points[0], (x, value)], [points[1], (x, value)]):
                if len({place for place, _ in pair}) == len(pair):
                    yield interpolate(pair, 0)


def test_no_seed_comes_of_two_shares_and_all_that_is_public(attack: Attack) -> None:
    found = values(attack)
    tried = 0
    for token in attack.loot.tokens.values():
        known = {seat: share for of, seat, share in attack.loot.shares() if of is token}
        assert len(known) == len(CORRUPT), "exactly its own seats"
        # And a share of another token in the place of one of these: the refreshed key has the same seed.
        foreign = {share for of, _, share in attack.loot.shares() if of is not token}
        for seed in set(candidates(known, found | foreign)):
            tried += 1
            assert th("anchor", token.deal, seed) != token.anchor
        for seed in itertools.islice(candidates(known, found), 200):
            assert not is_seed(seed, token)
    assert tried > 4 * len(found)


def test_one_root_more_and_the_same_tools_have_the_key(attack: Attack) -> None:
    """The harness is not merely blunt."""
    third = attack.honest[0]
    _, *lines = (third.folder / "roots").read_text().splitlines()
    root = {int(epoch): bytes.fromhex(text) for epoch, text in (line.split() for line in lines)}
    roots = attack.loot.roots | {bytes.fromhex(third.id): root}
    seeds = {name: open_seed(token, roots) for name, token in attack.loot.tokens.items()}
    for name, token in attack.loot.tokens.items():
        assert is_seed(seeds[name], token)
        shares = [share for seat in range(5) if (share := regenerate(token, seat, roots))]
        known, value = dict(enumerate(shares[:2])), shares[2]
        assert seeds[name] in set(candidates(known, [value]))
    assert seeds["first"] == seeds["refreshed"] == seeds["before"] != seeds["other"]


def test_the_two_shares_fit_every_seed(attack: Attack) -> None:
    for token in attack.loot.tokens.values():
        known = [(seat + 1, share) for of, seat, share in attack.loot.shares() if of is token]
        # Byte by byte: each of the 256 values of the seed's byte has its own third share, and the other way round.
        thirds = [interpolate([(0, bytes([value]) * 32), *known], 3) for value in range(256)]
        assert all(len({third[place] for third in thirds}) == 256 for place in range(32))
        for _ in range(8):
            seed = os.urandom(32)
            points = [(0, seed), *known]
            shares = [interpolate(points, seat + 1) for seat in range(5)]
            for chosen in itertools.combinations(range(5), THRESHOLD):
                assert interpolate([(seat + 1, shares[seat]) for seat in chosen], 0) == seed
            assert [(x, shares[x - 1]) for x, _ in known] == known
            _is_the_same_but_for_hashes(token, seed, shares)


def _is_the_same_but_for_hashes(token: Token, seed: bytes, shares: list[bytes]) -> None:
    """With another seed and these shares, under pads that nobody can exclude, the token would read as it does: all that
    is not a hash of what is unknown."""
    pads = [xor(correction, share) for (_, _, correction, _), share in zip(token.rows, shares, strict=True)]
    assert len(pads) == 5 and all(len(each) == 32 for each in pads)
    commitments = [th("share", token.deal, seat.to_bytes(4, "big"), share) for seat, share in enumerate(shares)]
    assert commitments[:2] == token.commitments[:2], "what is its own it can check"
    differ = {"anchor": th("anchor", token.deal, seed), "public": public(token, seed, "ed25519")}
    assert differ["anchor"] != token.anchor and differ["public"] != token.public["ed25519"]
    assert all(new != old for new, old in zip(commitments[2:], token.commitments[2:], strict=True))
    # Nothing else in a token follows from the seed: the header was there before it, rows are masked by the pads, and
    # sealed is empty. Rows' signatures cover the token id, which is a hash of the above.
    assert set(token.header) == {
        "v", "key", "nonce", "name", "suites", "quorum", "policy", "created", "expires", "replaces",
    }  # fmt: skip
    assert token.sealed is None and token.header_bytes == cbor2.dumps(token.header, canonical=True)


def test_no_secret_passed_over_the_network_or_lies_in_a_file(attack: Attack) -> None:
    everyone = {}
    for agent in attack.quorum.agents.values():
        _, *lines = (agent.folder / "roots").read_text().splitlines()
        roots = ((int(epoch), bytes.fromhex(text)) for epoch, text in (line.split() for line in lines))
        everyone[bytes.fromhex(agent.id)] = dict(roots)
    secret: dict[str, bytes] = {}
    for name, token in attack.loot.tokens.items():
        seed = open_seed(token, everyone)
        secret[f"{name}: seed"] = seed
        for suite in ("ed25519", "hmac-sha256"):
            secret[f"{name}: {suite}"] = hkdf(seed, token.header["key"], b"key/" + suite.encode(), 32)
        for seat in range(2, 5):
            share = regenerate(token, seat, everyone)
            assert share is not None
            secret[f"{name}: share {seat}"] = share
            secret[f"{name}: pad {seat}"] = xor(share, token.rows[seat][2])
    haystack = [stream.sent + b"|" + stream.answered for stream in attack.loot.recorder.streams()]
    assert sum(map(len, haystack)) > 100_000, "there was traffic"
    haystack += [path.read_bytes() for path in attack.files.values()]
    for agent in attack.quorum.agents.values():
        haystack += [path.read_bytes() for path in agent.folder.rglob("*") if path.is_file() and path.name != "roots"]
    haystack += [path.read_bytes() for path in attack.caller.home.rglob("*") if path.is_file()]
    haystack += [path.read_bytes() for path in attack.loot.receipts]
    everything = b"\0".join(haystack)
    for label, value in secret.items():
        for form in _forms(value):
            assert form not in everything, label
    # The same search finds what is there.
    token = attack.loot.tokens["first"]
    assert token.rows[3][2][:16] in everything
    assert hashlib.sha256(everything).digest() not in everything


def _forms(value: bytes) -> Iterator[bytes]:
    for part in (value[:16], value[16:]):
        yield part
        yield part[::-1]
        yield part.hex().encode()
        yield part.hex().upper().encode()
        yield base64.b64encode(part)[:20]
