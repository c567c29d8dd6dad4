"""Payloads: what is signed is what every agent has read, from the command line and from Python."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from machines import Machine

from evanesce import AsyncClient, Client, EvanesceError, Token, verify

POLICY = """
@id("small") @payload("{ amount: Long, currency: String }")
permit(principal, action in [Action::"sign", Action::"mac"], resource)
when { context.payload.amount <= 100000 && context.payload.currency == "EUR" };
@id("verify") permit(principal, action == Action::"verify-mac", resource);
"""

PAYMENT = {"currency": "EUR", "amount": 12_500}
CANONICAL = b'{"amount":12500,"currency":"EUR"}'


@pytest.fixture(scope="module")
def treasury(caller: Machine) -> Path:
    """A token whose policy looks at payments."""
    policy = caller.home / "treasury.cedar"
    policy.write_text(POLICY)
    suites = ("--suite", "ed25519", "--suite", "hmac-sha256")
    return Path(caller.run("key", "create", "treasury", *suites, "--policy", policy, "--json").json["file"])


def test_a_payment_is_signed_on_the_command_line_if_every_agent_likes_it(
    caller: Machine, treasury: Path, tmp_path: Path
) -> None:
    payment, signature = tmp_path / "payment.json", tmp_path / "payment.sig"
    payment.write_text(json.dumps(PAYMENT, indent=4))
    made = caller.run("sign", treasury, "--payload", payment, "--out", signature, "--json").json
    assert made["payload"].encode() == CANONICAL
    caller.run("verify", treasury, "--payload", payment, "--signature", signature)
    # Whoever has the canonical bytes needs to know nothing of JSON.
    caller.run("verify", treasury, "-", "--signature", signature, stdin=CANONICAL)
    caller.fail(2, "invalid-signature", "verify", treasury, payment, "--signature", signature)
    piped = caller.run("mac", treasury, "--payload", "-", stdin=payment.read_bytes()).out
    caller.run("verify-mac", treasury, "--payload", payment, "--mac", "-", stdin=piped)

    payment.write_text(json.dumps(PAYMENT | {"amount": 100_001}))
    refused = caller.fail(2, "refused", "sign", treasury, "--payload", payment)
    assert "does not permit" in refused.error["culprits"][0]["detail"]
    bare = caller.fail(2, "refused", "sign", treasury, "-m", CANONICAL.decode())
    assert "bare digest" in bare.error["culprits"][0]["detail"]
    payment.write_text('{"amount": 1.5, "currency": "EUR"}')
    wrong = caller.fail(1, "payload", "sign", treasury, "--payload", payment)
    assert "at line 1, byte 12" in wrong.error["message"]
    caller.fail(1, "usage", "sign", treasury, "-m", "x", "--payload", payment)
    caller.fail(1, "usage", "sign", treasury, "--payload", payment, "--suite", "ed25519", "--suite", "hmac-sha256")


def test_a_payment_is_signed_from_python(caller: Machine, treasury: Path) -> None:
    async def ask() -> tuple[bytes, bytes]:
        async with AsyncClient(caller.home) as other:
            one, two = await asyncio.gather(other.sign_payload(token, PAYMENT), other.mac_payload(token, CANONICAL))
            return one.value, two.value

    token = Token.load(treasury, home=caller.home)
    with Client(caller.home) as client:
        signature = client.sign_payload(token, PAYMENT)
        assert signature.message == CANONICAL
        verify(token, signature.message, signature)
        mac = client.mac_payload(token, json.dumps(PAYMENT))
        assert mac.message == CANONICAL
        client.verify_mac(token, CANONICAL, mac)
        assert asyncio.run(ask()) == (signature.value, mac.value)
        for payload in (PAYMENT | {"amount": 10**6}, PAYMENT | {"note": "x"}, {"amount": 1}):
            with pytest.raises(EvanesceError) as caught:
                client.sign_payload(token, payload)
            assert caught.value.code == "refused"
        with pytest.raises(EvanesceError) as caught:
            client.sign(token, CANONICAL)
        assert caught.value.code == "refused"
        assert client.sign_payload(client.create("plain", ["ed25519"]), {"anything": None}).message


def test_a_policy_is_checked_tested_and_explained(caller: Machine, treasury: Path, tmp_path: Path) -> None:
    policy, cases, payment = tmp_path / "p.cedar", tmp_path / "cases.toml", tmp_path / "payment.json"
    policy.write_text(POLICY)
    checked = caller.run("policy", "check", policy, "--json").json
    assert checked["payload"] == '{ "amount": Long, "currency": String }'
    assert any("reshare" in warning for warning in checked["warnings"])
    assert caller.run("policy", "check", "treasury", "--json").json == checked
    assert caller.run("policy", "check", "-", "--json", stdin=POLICY.encode()).json == checked
    assert "may go into a token" in caller.run("policy", "check", treasury).err
    policy.write_text(POLICY.replace("amount <=", "sum <="))
    caller.fail(2, "policy", "policy", "check", policy)

    case = '[[case]]\ncaller = "ops"\naction = "sign"\npayload = { amount = %d, currency = "EUR" }\nexpect = "%s"\n'
    cases.write_text(case % (5, "allow") + case % (10**6, "deny"))
    tested = caller.run("policy", "test", "treasury", cases, "--json").json
    assert [row["by"] for row in tested["cases"]] == [["small"], []]
    cases.write_text(case % (5, "deny"))
    failed = caller.try_("policy", "test", treasury, cases)
    assert failed.status == 1
    assert b"WRONG" in failed.out

    payment.write_text(json.dumps(PAYMENT))
    words = ("policy", "explain", "treasury", "--action", "sign", "--caller", "ops")
    told = caller.run(*words, "--payload", payment)
    assert "Permitted." in told.err
    assert "context.payload.amount <= 100000" in told.out.decode()
    document = caller.run(*words, "--json").json
    assert not document["permitted"]
    assert "bare digest" in document["reason"]
    assert caller.run("policy", "schema").out.decode().startswith("// The policy schema")
    caller.fail(1, "bad-input", "policy", "explain", treasury, "--action", "fly", "--caller", "ops")
