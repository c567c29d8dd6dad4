"""Approvals by two implementations: the published vectors, and any payload's text."""

from __future__ import annotations

import json
from typing import Any

import approving
import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_conformance import REPOSITORY

from evanesce import _core

PUBLISHED = REPOSITORY / "vectors" / "approvals.json"
CASES: list[dict[str, Any]] = json.loads(PUBLISHED.read_text())["cases"]


def asked(case: dict[str, Any]) -> _core.Asked:
    token, caller, digest = (bytes.fromhex(case[name]) for name in ("token", "caller", "input"))
    payload = case["payload"]
    shown = None if payload is None else payload.encode()
    return _core.Asked(token, case["key"], case["action"], case["suite"], digest, caller, shown)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_published_approval_is_judged_as_the_second_implementation_says(case: dict[str, Any]) -> None:
    approval = bytes.fromhex(case["approval"])
    read = _core.read_approval(approval)
    assert (read["id"], read["approver"]) == (case["id"], case["approver"])
    assert asked(case).text(case["word"]) == case["text"]
    site = None if case["site"] is None else (case["site"], [])
    if case["good"]:
        asked(case).approved_by(approval, case["now"], site)
    else:
        with pytest.raises(_core.CoreError) as caught:
            asked(case).approved_by(approval, case["now"], site)
        assert caught.value.code == "approval-invalid"


def test_the_published_file_is_what_the_second_implementation_writes() -> None:
    assert json.loads(PUBLISHED.read_text()) == approving.generate()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=4), st.text(max_size=40))
def test_any_payload_and_any_name_are_shown_alike(payload: dict[str, Any], key: str) -> None:
    canonical = _core.canonical_payload(json.dumps(payload).encode())
    made = approving.Asked(key=key, payload=payload)
    core = _core.Asked(made.token, key, made.action, made.suite, made.input, made.caller, canonical)
    assert core.text() == approving.text(made)
    statement = cbor2.loads(core.statement(approving.NOW))
    assert statement["text"] == approving.text(made)
