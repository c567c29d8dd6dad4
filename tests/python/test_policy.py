"""Policies and payloads by the agents' own code, without an agent: what is decided, and on account of what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evanesce import EvanesceError, Policy, Question, _cases, canonical_payload

POLICIES = Path(__file__).resolve().parents[2] / "examples" / "policies"

PAYMENTS = """
@id("small") @payload("{ amount: Long }")
permit(principal, action == Action::"sign", resource) when { context.payload.amount <= 100 };
@id("eve") forbid(principal == Caller::"eve", action, resource);
"""


@pytest.mark.parametrize("cases", sorted(POLICIES.glob("*.cases.*")), ids=lambda path: path.name)
def test_an_example_decides_as_its_cases_say(cases: Path) -> None:
    policy = Policy((POLICIES / f"{cases.name.split('.')[0]}.cedar").read_text())
    assert not policy.warnings
    verdicts = _cases.run(policy, _cases.read(cases.read_bytes(), cases.name))
    assert [verdict.case.name for verdict in verdicts if not verdict.right] == []
    # Each statement decides at least one of them, so that a case fails when one is taken away.
    labels = {label for verdict in verdicts for label in verdict.deciding}
    assert len(labels) == policy.text.count("@id(")


def test_every_example_has_cases() -> None:
    assert {path.stem for path in POLICIES.glob("*.cedar")} == {
        p.name.split(".")[0] for p in POLICIES.glob("*.cases.*")
    }


def test_a_decision_names_what_decided() -> None:
    policy = Policy(PAYMENTS)
    assert policy.payload == '{ "amount": Long }'
    paid = policy.decide(Question("sign", "ops", "k", payload={"amount": 100}))
    assert paid.permitted
    assert [(one.label, one.effect) for one in paid.statements] == [("small", "permit")]
    assert paid.statements[0].text in PAYMENTS
    eve = policy.decide(Question("sign", "eve", "k", payload={"amount": 100}))
    assert (eve.permitted, [one.label for one in eve.statements]) == (False, ["eve"])
    assert "eve" in eve.reason
    bare = policy.decide(Question("sign", "ops", "k"))
    assert not bare.permitted
    assert "bare digest" in bare.reason
    assert not bare.statements
    assert Policy("").decide(Question("sign", "anybody", "k", payload={"amount": 10**9})).permitted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("permit(principal, action", "unexpected"),
        (
            'permit(principal, action == Action::"sign", resource) when { context.payload.amount < 5 };',
            "declares its type",
        ),
        ('@payload("{ amount: Decimal }") permit(principal, action, resource);', "does not declare a type"),
    ],
)
def test_what_may_not_go_into_a_token_is_refused(text: str, said: str) -> None:
    with pytest.raises(EvanesceError) as caught:
        Policy(text)
    assert caught.value.code == "policy"
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("payload", "canonical"),
    [
        ({"b": [1, True, None], "a": "é"}, b'{"a":"\xc3\xa9","b":[1,true,null]}'),
        ({"t": (1, {"x": 2})}, b'{"t":[1,{"x":2}]}'),
        ('{"b": 1,\n "a": 2}', b'{"a":2,"b":1}'),
        (bytearray(b' {"a":"\\u0041"}'), b'{"a":"A"}'),
        ({"n": 2**53}, b'{"n":9007199254740992}'),
    ],
)
def test_a_payload_has_one_form(payload: Any, canonical: bytes) -> None:
    assert canonical_payload(payload) == canonical
    assert canonical_payload(canonical) == canonical


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"amount": 1.5}, "minor units"),
        ({"amount": float("nan")}, "a value is expected"),
        ({"amount": 2**53 + 1}, "2^53"),
        ({1: "x"}, "is not text"),
        ({"a": {True: "x"}}, "payload.a is not text"),
        ({"a": [b"bytes"]}, "payload.a[0] is a bytes"),
        ({"a": "\ud800"}, "surrogate"),
        ('{"a":"\ud800"}', "UTF-8"),
        ("[1]", "object"),
        ('{"a":1,"a":2}', "twice"),
        (b"\xff", "UTF-8"),
    ],
)
def test_what_is_no_payload_is_explained(payload: Any, said: str) -> None:
    with pytest.raises(EvanesceError) as caught:
        canonical_payload(payload)
    assert caught.value.code == "payload"
    assert said in caught.value.message


def test_a_payload_that_holds_itself_is_refused() -> None:
    around: dict[str, Any] = {}
    around["a"] = around
    with pytest.raises(EvanesceError) as caught:
        canonical_payload(around)
    assert caught.value.code == "payload"


CASE = {"name": "x", "action": "sign", "caller": "ops", "key": "k", "expect": "allow"}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "no [[case]]"),
        ({"case": []}, "no [[case]]"),
        ({"case": [3]}, "no table"),
        ({"case": [CASE], "cases": []}, "neither"),
        ({"case": [CASE | {"expects": "deny"}]}, "no field"),
        ({"case": [CASE | {"expect": "maybe"}]}, "neither"),
        ({"case": [CASE | {"minter": 1}]}, "minter is a int"),
        ({"case": [CASE | {"now": True}]}, "now is a bool"),
        ({"case": [CASE | {"groups": [1]}]}, "groups"),
        ({"case": [CASE | {"input": "00"}]}, "64 hexadecimal"),
        ({"case": [{"expect": "deny", "action": "sign", "key": "k"}]}, "caller is missing"),
    ],
)
def test_a_mistake_in_a_case_is_named(document: Any, said: str) -> None:
    with pytest.raises(EvanesceError) as caught:
        _cases.read(json.dumps(document).encode(), "cases.json")
    assert caught.value.code == "config"
    assert said in caught.value.message


def test_a_case_may_demand_who_decides() -> None:
    base = CASE | {"payload": {"amount": 5}}
    cases = [
        base | {"by": "small"},
        base | {"by": []},
        base | {"expect": "deny"},
        base | {"caller": "eve", "by": "eve"},
    ]
    document = json.dumps({"case": cases}).encode()
    verdicts = _cases.run(Policy(PAYMENTS), _cases.read(document, "cases.json"))
    assert [verdict.right for verdict in verdicts] == [True, False, False, False]
