"""Every single-bit flip of a token is refused or harmless: a wrong result never comes out.

Harmless means one of two things. The flip is in a row: then the id is the same and the seed is what it
was, from the other rows or because a signature does not matter to a good share. Or it is in what the id
covers: then the id is another, every pad with it, and no share matches. The product's decoder and the
second implementation must judge every flip alike; a sample goes to real agents.
"""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Iterator
from pathlib import Path

import independent
import pytest
from agents import Fleet, write_identity
from hypothesis import given, settings
from hypothesis import strategies as st
from running import ANY_CALLER, perform, reconstructor
from shapes import SHAPES
from vectors import Case
from writing import AgentPool, mint

from evanesce import _core
from evanesce._core import CoreError

SAMPLE = 150
"""Flips that are tried on real agents."""

Setting = tuple[Case, Fleet, dict[str, Path]]


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    """A minted 3-of-5, its agents running, and the caller's identity."""
    folder = tmp_path_factory.mktemp("flips")
    identities = {ANY_CALLER: folder / "caller.key"}
    _, caller = write_identity(identities[ANY_CALLER], os.urandom(32))
    shape = next(shape for shape in SHAPES if shape.name == "flat-3-of-5")
    with Fleet(folder, {ANY_CALLER: caller}) as fleet:
        case = mint(shape, AgentPool(folder), fleet, identities)
        everyone = frozenset(agent.name for agent in case.agents)
        yield dataclasses.replace(case, answering=everyone), fleet, identities


def flipped(token: bytes, bit: int) -> bytes:
    return token[: bit // 8] + bytes([token[bit // 8] ^ 1 << bit % 8]) + token[bit // 8 + 1 :]


def roots(case: Case) -> dict[bytes, dict[int, bytes]]:
    return {agent.id: dict(agent.roots) for agent in case.agents}


def judged_alike(data: bytes) -> independent.Token | None:
    """The token, if it is one: both decoders must say so, and mean the same."""
    try:
        theirs = independent.Token.decode(data)
    except independent.Malformed:
        with pytest.raises(CoreError) as refused:
            _core.Token.decode(data)
        assert refused.value.code == "malformed"
        return None
    ours = _core.Token.decode(data)
    assert ours.encode() == data
    assert ours.id == theirs.id
    return theirs


def test_every_flip_is_refused_or_opens_to_nothing_else(setting: Setting) -> None:
    case, _, _ = setting
    seed = independent.open_seed(independent.Token.decode(case.token), roots(case))
    refused = useless = same = 0
    for bit in range(8 * len(case.token)):
        token = judged_alike(flipped(case.token, bit))
        if token is None:
            refused += 1
        elif token.id != case.token_id:
            useless += 1
            with pytest.raises(independent.Unopened):
                independent.open_seed(token, roots(case))
        else:
            same += 1
            assert independent.open_seed(token, roots(case)) == seed
    # Every part of a token is reached, or the test does not test.
    assert refused > 500 and useless > 2000 and same > 4000


def test_real_agents_never_give_a_wrong_result_for_a_flipped_token(setting: Setting) -> None:
    case, fleet, identities = setting
    client = reconstructor(case, fleet, identities)
    operation = case.operations[0]
    assert operation.op == "sign"
    chosen = random.Random(case.token).sample(range(8 * len(case.token)), SAMPLE)
    results = set()
    for bit in chosen:
        try:
            token = _core.Token.decode(flipped(case.token, bit))
            signature = perform(client, token, operation.op, operation.suite, operation.inputs)
        except CoreError as e:
            assert e.code in {"malformed", "expired", "token-altered", "quorum-not-met", "refused"}, (
                f"bit {bit}: {e.message}"
            )
            results.add(e.code)
        else:
            assert signature == operation.result, f"bit {bit}: a wrong signature"
            results.add("same")
    assert {"malformed", "token-altered", "same"} <= results


@settings(max_examples=1500, deadline=None)
@given(data=st.data())
def test_larger_damage_is_judged_alike_too(setting: Setting, data: st.DataObject) -> None:
    token = bytearray(setting[0].token)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(token)))
        end = data.draw(st.integers(start, min(len(token), start + 8)))
        token[start:end] = data.draw(st.binary(max_size=8))
    judged_alike(bytes(token))
