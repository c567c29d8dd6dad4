"""A caller lets another ask in its place, for one key and within bounds, and takes it back."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from machines import Machine, Quorum

from evanesce import Bound, Client, EvanesceError, Grant, Token, verify

POLICY = """
@delegable("2") @payload("{ amount: Long, currency: String }")
permit(principal == Caller::"caller", action in [Action::"sign", Action::"mac"], resource)
when { context.payload.amount <= 1000 };
permit(principal == Caller::"caller", action in [Action::"open", Action::"verify-mac"], resource);
forbid(principal == Caller::"fired", action, resource);
"""

QUORUM = "3 of (agent-1, agent-2, agent-3, agent-4, agent-5)"


@pytest.fixture(scope="module")
def treasury(caller: Machine) -> Path:
    policy = caller.home / "delegable.cedar"
    policy.write_text(POLICY)
    words = ("--suite", "ed25519", "--suite", "hmac-sha256", "--quorum", QUORUM, "--policy", policy, "--json")
    return Path(caller.run("key", "create", "treasury", *words).json["file"])


def newcomer(quorum: Quorum, name: str) -> Machine:
    machine = quorum.newcomer(name)
    quorum.admit(name, machine, "caller", "reconstructor")
    time.sleep(0.3)
    return machine


@pytest.fixture(scope="module")
def bot(quorum: Quorum) -> Machine:
    return newcomer(quorum, "bot")


@pytest.fixture(scope="module")
def lead(quorum: Quorum) -> Machine:
    return newcomer(quorum, "lead")


def pay(machine: Machine, token: Path, grant: Path, amount: int, status: int = 0) -> str:
    """Has the machine sign a payment under a grant; why not, where it may not."""
    payment = machine.home / "payment.json"
    payment.write_text(json.dumps({"amount": amount, "currency": "EUR"}))
    words = ("sign", token, "--suite", "ed25519", "--payload", payment, "--grant", grant, "--trust-token")
    if status == 0:
        machine.run(*words, "--out", machine.home / "payment.sig", "--force")
        return ""
    failed = machine.try_(*words, "--json")
    assert failed.status == status, failed.err
    # Where some have not heard, or have not spent it all, it is the quorum that was not met.
    assert failed.error["code"] in ("refused", "quorum-not-met"), failed.error
    return "; ".join(culprit["detail"] for culprit in failed.error["culprits"])


def test_a_delegate_signs_within_the_bounds_and_its_receipts_say_under_what(
    caller: Machine, quorum: Quorum, bot: Machine, treasury: Path, tmp_path: Path
) -> None:
    grant = tmp_path / "bot.grant"
    words = ("--to", bot.caller_id, "--action", "sign", "--bound", "amount<=100", "--bound", "currency=EUR|USD")
    made = caller.run("grant", "create", treasury, *words, "--expires", "1h", "--out", grant, "--json").json
    assert made["links"][0]["suites"] == ["ed25519", "hmac-sha256"]
    shown = bot.run("grant", "show", grant, "--json").json["links"]
    assert shown == made["links"]
    assert shown[0]["grantor"] == caller.caller_id

    pay(bot, treasury, grant, 100)
    assert 'bound of "amount"' in pay(bot, treasury, grant, 101, 2)
    bare = bot.fail(2, "refused", "sign", treasury, "--suite", "ed25519", "-m", "x", "--trust-token", "--grant", grant)
    assert "there is none" in bare.error["culprits"][0]["detail"]
    without = bot.fail(2, "refused", "sign", treasury, "--suite", "ed25519", "-m", "x", "--trust-token")
    assert "bare digest" in without.error["culprits"][0]["detail"]
    # Nobody else can use it, not even its grantor.
    stranger = quorum.newcomer("stranger")
    assert stranger.try_("sign", treasury, "-m", "x", "--grant", grant, "--suite", "ed25519").status != 0
    assert "another caller's" in pay(caller, treasury, grant, 1, 2)

    token = Token.load(treasury, home=caller.home)
    with Client(bot.home, grant=Grant.load(grant)) as client:
        signature = client.sign_payload(token, {"amount": 7, "currency": "USD"}, "ed25519")
        verify(token, signature.message, signature)
        entries = [receipt.verify() for receipt in signature.receipts if receipt.verify()["code"] == "done"]
        with pytest.raises(EvanesceError, match="refuse"):
            client.mac_payload(token, {"amount": 7, "currency": "USD"})
    receipts = tmp_path / "receipts.json"
    payment = bot.home / "payment.json"
    payment.write_text('{"amount": 9, "currency": "EUR"}')
    words = ("--suite", "ed25519", "--payload", payment, "--grant", grant, "--trust-token", "--receipts", receipts)
    bot.run("sign", treasury, *words, "--out", tmp_path / "payment.sig")
    judged = bot.run("audit", "verify", receipts, "--token", treasury, "--json").json["receipts"][0]
    assert {tuple(word["grants"]) for word in judged["agents"]} == {(made["grant"],)}
    assert "granted" in bot.run("audit", "verify", receipts).out.decode()
    assert len(entries) >= 3
    for entry in entries:
        assert entry["grants"] == [made["grant"]]
        assert entry["caller_name"] == "bot"


def test_a_grant_may_be_passed_on_once_and_never_made_wider(
    caller: Machine, bot: Machine, lead: Machine, treasury: Path, tmp_path: Path
) -> None:
    token = Token.load(treasury, home=caller.home)
    hour = time.time() + 3600
    with Client(caller.home) as client:
        bounds = [Bound(("amount",), 1, 100)]
        first = client.grant(token, lead.caller_id, ["sign", "mac"], hour, bounds=bounds, count=20, further=True)
    with Client(lead.home) as client:
        narrow = [Bound(("amount",), 1, 10)]
        under = {"under": first, "bounds": narrow, "count": 5}
        second = client.grant(token, bot.caller_id, ["sign"], hour - 60, **under)
        for actions, expires, more in (
            (["sign", "decrypt"], hour - 60, under),
            (["sign"], hour + 60, under),
            (["sign"], hour - 60, under | {"count": 21}),
            (["sign"], hour - 60, under | {"count": None}),
            (["sign"], hour - 60, under | {"bounds": [Bound(("amount",), 1, 101)]}),
            (["sign"], hour - 60, under | {"bounds": []}),
            (["sign"], hour - 60, under | {"further": True}),
        ):
            with pytest.raises(EvanesceError) as caught:
                client.grant(token, bot.caller_id, actions, expires, **more)
            assert caught.value.code == "grant-invalid"
    path = tmp_path / "second.grant"
    second.save(path)
    assert Grant.load(path).parts == second.parts
    for amount in (10, 1, 5):
        pay(bot, treasury, path, amount)
    assert 'bound of "amount"' in pay(bot, treasury, path, 11, 2)
    # Its last link alone is nothing.
    path.write_bytes(b"-----BEGIN" + second.encode().split(b"-----BEGIN")[2])
    bot.fail(2, "grant-invalid", "grant", "show", path)
    with Client(bot.home) as client, pytest.raises(EvanesceError) as caught:
        client.grant(token, lead.caller_id, ["sign"], hour - 120, **(under | {"under": second}))
    assert caught.value.code == "grant-invalid", "a third link"


def test_a_count_is_spent_and_outlives_a_restart(
    caller: Machine, quorum: Quorum, bot: Machine, treasury: Path, tmp_path: Path
) -> None:
    grant = tmp_path / "counted.grant"
    words = ("--to", bot.caller_id, "--action", "sign", "--count", "3", "--expires", "1h", "--out", grant)
    caller.run("grant", "create", treasury, *words)
    done = 0
    payment = bot.home / "payment.json"
    payment.write_text('{"amount": 1, "currency": "EUR"}')
    sign = ("sign", treasury, "--suite", "ed25519", "--payload", payment, "--grant", grant, "--trust-token")
    while bot.try_(*sign).status == 0:
        done += 1
        if done == 1:
            quorum.end(*quorum.agents, how=signal.SIGKILL)
            quorum.start()
    assert 3 <= done <= 5, "three at each of five agents"
    assert "3 of 3 operations are spent" in pay(bot, treasury, grant, 1, 2)


def test_a_grant_is_revoked_wherever_it_can_be_and_it_is_said_whether_that_suffices(
    caller: Machine, quorum: Quorum, bot: Machine, lead: Machine, treasury: Path, tmp_path: Path
) -> None:
    token = Token.load(treasury, home=caller.home)
    hour = time.time() + 3600
    with Client(caller.home) as client:
        first = client.grant(token, lead.caller_id, ["sign"], hour, further=True)
        client.grant(token, bot.caller_id, ["sign"], hour).save(tmp_path / "other.grant")
    with Client(lead.home) as client:
        second = client.grant(token, bot.caller_id, ["sign"], hour, under=first)
    kept, passed_on = tmp_path / "first.grant", tmp_path / "second.grant"
    first.save(kept)
    second.save(passed_on)
    pay(bot, treasury, passed_on, 5)
    # Only whoever gave it takes it back.
    bot.fail(2, "grant-invalid", "grant", "revoke", passed_on)
    with quorum.without("agent-1", "agent-2", "agent-3"):
        partly = caller.try_("grant", "revoke", kept, "--json")
        assert partly.status == 1
        assert partly.json["dead"] is False
        assert {row["agent"] for row in partly.json["agents"] if row["reason"]} == {"agent-1", "agent-2", "agent-3"}
    pay(bot, treasury, passed_on, 5)
    with quorum.without("agent-1"):
        revoked = caller.run("grant", "revoke", kept, "--json").json
        assert revoked["dead"] is True
    # What was passed on names the chain; it is the caller's own grant in it that ends.
    assert caller.run("grant", "revoke", passed_on, "--json").json["grant"] == first.last.id
    # The one that was passed on under it is dead with it, over a restart too; another one is not.
    quorum.end("agent-2", "agent-3")
    quorum.start()
    assert "was revoked" in pay(bot, treasury, passed_on, 5, 2)
    pay(bot, treasury, tmp_path / "other.grant", 5)


def test_a_grant_is_revoked_by_the_id_that_its_grantor_kept(
    caller: Machine, bot: Machine, treasury: Path, tmp_path: Path
) -> None:
    copies = []
    for name in ("first", "second"):
        words = ("--to", bot.caller_id, "--action", "sign", "--expires", "1h", "--out", tmp_path / f"{name}.grant")
        copies.append(caller.run("grant", "create", treasury, *words, "--json").json["grant"])
    first, second = copies
    listed = {row["id"]: row for row in caller.run("grant", "list", "--json").json["grants"]}
    assert {first, second} <= set(listed)
    assert Path(listed[first]["file"]).read_bytes() == (tmp_path / "first.grant").read_bytes()
    assert listed[first]["delegate"] == bot.caller_id
    assert listed[first]["expires"] > time.time()
    table = caller.run("grant", "list").out.decode()
    assert first[:16] in table
    assert bot.caller_id[:16] in table
    assert bot.run("grant", "list", "--json").json["grants"] == [], "whoever gives keeps"
    assert caller.run("grant", "show", first, "--json").json["links"][0]["id"] == first

    # What is not exactly one of them revokes nothing.
    unknown = caller.fail(1, "not-found", "grant", "revoke", "00000000")
    assert "grant list" in unknown.error["hint"]
    caller.fail(1, "not-found", "grant", "revoke", first[:7])
    bot.fail(1, "not-found", "grant", "revoke", first)
    grants = caller.home / "grants"
    other = grants / f"{first[:-1]}{'1' if first[-1] == '0' else '0'}.grant"
    other.write_bytes((tmp_path / "first.grant").read_bytes())
    several = caller.fail(1, "bad-input", "grant", "revoke", first[:8])
    assert "2 grants begin with" in several.error["message"]
    assert first in caller.fail(2, "grant-invalid", "grant", "revoke", other.stem).error["message"]
    rows = caller.run("grant", "list", "--json").json["grants"]
    assert [row["error"]["code"] for row in rows if row["file"] == str(other)] == ["grant-invalid"]
    other.unlink()
    mine = tmp_path / "held.grant"
    (tmp_path / "first.grant").rename(mine)
    pay(bot, treasury, mine, 5)

    revoked = caller.run("grant", "revoke", first[:8].upper(), "--json").json
    assert (revoked["grant"], revoked["dead"]) == (first, True)
    assert "was revoked" in pay(bot, treasury, mine, 5, 2)
    pay(bot, treasury, tmp_path / "second.grant", 5)
    caller.run("grant", "revoke", tmp_path / "second.grant")
    assert "was revoked" in pay(bot, treasury, tmp_path / "second.grant", 5, 2)


def test_only_where_the_policy_says_so_and_never_for_whom_it_keeps_out(
    caller: Machine, quorum: Quorum, bot: Machine, treasury: Path, tmp_path: Path
) -> None:
    fired = newcomer(quorum, "fired")
    grant = tmp_path / "fired.grant"
    words = ("--to", fired.caller_id, "--action", "sign", "--expires", "1h")
    caller.run("grant", "create", treasury, *words, "--out", grant)
    assert "forbids it" in pay(fired, treasury, grant, 5, 2)
    # Granted by one whom the policy does not permit.
    mine = tmp_path / "mine.grant"
    bot.run("grant", "create", treasury, *words[:1], bot.caller_id, *words[2:], "--trust-token", "--out", mine)
    assert "does not permit" in pay(bot, treasury, mine, 5, 2)
    policy = tmp_path / "plain.cedar"
    policy.write_text('permit(principal == Caller::"caller", action, resource);')
    made = caller.run("key", "create", "mine", "--suite", "ed25519", "--quorum", QUORUM, "--policy", policy, "--json")
    token = Path(made.json["file"])
    words = ("--to", bot.caller_id, "--action", "sign", "--expires", "1h")
    told = caller.run("grant", "create", token, *words, "--out", tmp_path / "no.grant")
    assert "lets nobody delegate" in told.err
    assert "does not let anybody delegate" in pay(bot, token, tmp_path / "no.grant", 5, 2)


def test_every_operation_that_agents_are_asked_for_can_be_asked_for_under_a_grant(
    caller: Machine, bot: Machine, tmp_path: Path
) -> None:
    policy = tmp_path / "all.cedar"
    policy.write_text('@delegable("1") permit(principal == Caller::"caller", action, resource);')
    suites = ("xaes-256-gcm", "hkdf-sha256", "hmac-sha256", "x25519", "ml-kem-768")
    words = [word for suite in suites for word in ("--suite", suite)]
    made = caller.run("key", "create", "all", *words, "--quorum", QUORUM, "--policy", policy, "--json").json
    token, grant = Path(made["file"]), tmp_path / "all.grant"
    actions = ("mac", "verify-mac", "encrypt", "decrypt", "derive", "agree", "decapsulate")
    words = [word for action in actions for word in ("--action", action)]
    caller.run("grant", "create", token, "--to", bot.caller_id, *words, "--expires", "1h", "--out", grant)
    trusted = (token, "--pin", made["token"])

    def delegated(verb: str, *words: str | Path, stdin: bytes = b"") -> bytes:
        """What the bot gets under the grant, and not without it."""
        without = bot.try_(verb, *trusted, *words, stdin=stdin)
        assert (without.status, without.out) == (2, b"")
        assert "does not permit" in without.err
        return bot.run(verb, *trusted, *words, "--grant", grant, stdin=stdin).out

    sealed = delegated("encrypt", "--aad", "for-the-record", stdin=b"the plans")
    assert caller.run("decrypt", token, "--aad", "for-the-record", stdin=sealed).out == b"the plans"
    assert delegated("decrypt", "--aad", "for-the-record", stdin=sealed) == b"the plans"
    key = caller.run("derive", token, "--context", "backup", "--length", "40").out
    assert delegated("derive", "--context", "backup", "--length", "40") == key

    peer, ours = tmp_path / "peer.der", tmp_path / "ours.der"
    friend = caller.run("key", "create", "friend", "--suite", "x25519", "--json").json["file"]
    caller.run("public-key", friend, "--form", "der", "--out", peer)
    caller.run("public-key", token, "--suite", "x25519", "--form", "der", "--out", ours)
    assert delegated("agree", peer) == caller.run("agree", friend, ours).out
    carried = tmp_path / "carried"
    secret = bot.run("encapsulate", *trusted, "--ciphertext", carried).out
    assert delegated("decapsulate", carried) == secret

    mac = tmp_path / "message.mac"
    mac.write_bytes(delegated("mac", "-m", "hello"))
    delegated("verify-mac", "-m", "hello", "--mac", mac)
    bot.fail(2, "invalid-signature", "verify-mac", *trusted, "-m", "hallo", "--mac", mac, "--grant", grant)


def test_encrypting_to_a_public_key_takes_no_grant_since_nobody_is_asked(caller: Machine, tmp_path: Path) -> None:
    key, grant = tmp_path / "rsa.pem", tmp_path / "box.grant"
    words = ("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    key.touch(mode=0o600)
    key.write_bytes(subprocess.run(words, capture_output=True, check=True).stdout)
    made = caller.run("key", "import", "box", "--suite", "rsa-oaep-sha256", "--from", key, "--json").json
    words = ("--to", "11" * 32, "--action", "decrypt", "--expires", "1h", "--out", grant)
    caller.run("grant", "create", made["file"], *words)
    refused = caller.fail(1, "usage", "encrypt", made["file"], "--grant", grant, stdin=b"the plans")
    assert "offline" in refused.error["message"]
    assert caller.run("encrypt", made["file"], stdin=b"the plans").out


def test_a_grant_for_another_token_is_said_to_be_one_instead_of_being_left_out(
    caller: Machine, bot: Machine, treasury: Path, tmp_path: Path
) -> None:
    grant = tmp_path / "treasury.grant"
    words = ("--to", bot.caller_id, "--action", "sign", "--expires", "1h", "--out", grant)
    caller.run("grant", "create", treasury, *words)
    # Which the bot may use in its own right.
    made = caller.run("key", "create", "free", "--suite", "ed25519", "--suite", "hkdf-sha256", "--json").json
    trusted = (made["file"], "--pin", made["token"])
    bot.run("sign", *trusted, "-m", "x")
    for verb, *words in (("sign", "-m", "x"), ("request", "-m", "x"), ("derive", "--context", "x", "--out", "key")):
        refused = bot.fail(2, "grant-invalid", verb, *trusted, *words, "--grant", grant)
        assert Token.load(treasury).id in refused.error["message"]
