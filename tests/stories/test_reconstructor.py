"""Callers that are only callers: a reconstructor of its own works for them, and holds nothing over the agents."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import PATIENCE, Machine, Quorum
from service import Service

from evanesce import AsyncClient, Client, EvanesceError, Token, verify
from evanesce._servicedir import program

POLICY = """
@payload("{ amount: Long }")
permit(principal == Caller::"clerk", action == Action::"sign", resource) when { context.payload.amount <= 100 };
"""


@pytest.fixture(scope="module")
def service(quorum: Quorum, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = Service(tmp_path_factory.mktemp("service") / "crucible", quorum)
    made.start()
    yield made
    if made.process is not None:
        made.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def clerk(quorum: Quorum, service: Service) -> Machine:
    """A caller that is only a caller."""
    machine = quorum.newcomer("clerk")
    quorum.admit("clerk", machine, "caller")
    service.allow("clerk", machine.caller_id)
    service.tell(machine)
    return machine


@pytest.fixture(scope="module")
def treasury(caller: Machine) -> Path:
    policy = caller.home / "clerks.cedar"
    policy.write_text(POLICY)
    made = caller.run("key", "create", "clerks", "--suite", "ed25519", "--policy", policy, "--json")
    return Path(made.json["file"])


def settled(clerk: Machine) -> None:
    """Until it has a session with every agent."""
    deadline = time.monotonic() + PATIENCE
    with Client(clerk.home, deadline=20) as client:
        while client.reconstructor_status()["agents"] < 5:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_caller_that_may_not_be_sent_a_share_signs_through_it(
    quorum: Quorum, service: Service, clerk: Machine, payments: Path, tmp_path: Path
) -> None:
    message, signature, receipts = tmp_path / "message", tmp_path / "signature", tmp_path / "receipts.json"
    message.write_bytes(b"hello")
    clerk.run("sign", payments, message, "--suite", "ed25519", "--out", signature, "--receipts", receipts)
    clerk.run("verify", payments, message, "--suite", "ed25519", "--signature", signature, "--trust-token")
    words = ["--token", payments, "--message", message]
    found = clerk.run("audit", "verify", receipts, *words, "--json").json["receipts"][0]
    assert found["caller"] == clerk.caller_id and found["sufficient"] and found["matched"] == 0
    for word in found["agents"]:
        assert word["caller_name"] == "clerk" and word["reconstructor"] == service.caller_id
    shown = clerk.run("audit", "verify", receipts, *words).out.decode()
    assert "carried by" in shown

    # The same caller, without it: the agents send it no share.
    alone = Machine(tmp_path / "alone")
    quorum.tell(alone)
    (alone.home / "identity.key").write_bytes((clerk.home / "identity.key").read_bytes())
    (alone.home / "identity.key").chmod(0o600)
    alone.fail(2, "role", "sign", payments, message, "--suite", "ed25519")


def test_everything_a_key_does_is_done_there_and_secrets_come_back_whole(clerk: Machine, payments: Path) -> None:
    with Client(clerk.home, deadline=20) as client:
        token = Token.load(payments, home=clerk.home, trust_token=True)
        assert client.reconstructor is not None and client.reconstructor.name == "crucible"
        first, second = client.sign_hybrid(token, b"m", ["ed25519", "ml-dsa-65"])
        verify(token, b"m", first)
        verify(token, b"m", second)
        for signed, message in zip(client.sign_many(token, [b"1", b"2"], "ecdsa-p256"), (b"1", b"2"), strict=True):
            verify(token, message, signed)
        mac = client.mac(token, b"m")
        client.verify_mac(token, b"m", mac, trust_token=True)
        with pytest.raises(EvanesceError) as wrong:
            client.verify_mac(token, b"n", mac, trust_token=True)
        assert wrong.value.code == "invalid-signature"
        plain = os.urandom(100_000)
        sealed = client.encrypt(token, plain, b"aad", trust_token=True)
        opened = bytearray(len(plain))
        client.decrypt(token, sealed, b"aad").into(opened)
        assert opened == plain
        with pytest.raises(EvanesceError) as wrong:
            client.decrypt(token, sealed, b"other")
        assert wrong.value.code == "decryption-failed"
        keys = [bytearray(32), bytearray(32)]
        for key in keys:
            client.derive(token, b"context", trust_token=True).into(key)
        assert keys[0] == keys[1] != bytes(32)
        assert client.check(token, open=True).opened


def test_what_an_agents_policy_says_of_payload_and_caller_holds_through_it(
    quorum: Quorum, service: Service, clerk: Machine, treasury: Path
) -> None:
    with Client(clerk.home) as client:
        token = Token.load(treasury, home=clerk.home, trust_token=True)
        signed = client.sign_payload(token, {"amount": 100})
        verify(token, b'{"amount":100}', signed)
        for wrong in (lambda: client.sign_payload(token, {"amount": 101}), lambda: client.sign(token, b"bare")):
            with pytest.raises(EvanesceError) as refused:
                wrong()
            assert refused.value.code == "refused"
    other = quorum.newcomer("other-clerk")
    quorum.admit("other-clerk", other, "caller")
    service.allow("other-clerk", other.caller_id)
    service.tell(other)
    with Client(other.home) as client, pytest.raises(EvanesceError) as refused:
        client.sign_payload(Token.load(treasury, home=other.home, trust_token=True), {"amount": 1})
    assert refused.value.code == "refused"
    assert "does not permit" in refused.value.culprits[0].detail


def mint(caller: Machine, name: str, policy: str) -> Path:
    path = caller.home / f"{name}.cedar"
    path.write_text(policy)
    words = ("--suite", "ed25519", "--quorum", "3 of (agent-1, agent-2, agent-3, agent-4, agent-5)")
    return Path(caller.run("key", "create", name, *words, "--policy", path, "--json").json["file"])


def test_a_limit_holds_through_it(caller: Machine, clerk: Machine) -> None:
    path = mint(caller, "rationed", '@limits("total 12 surviving 1") permit(principal, action, resource);')
    signed = 0
    with Client(clerk.home, deadline=20) as client:
        token = Token.load(path, home=clerk.home, trust_token=True)
        with pytest.raises(EvanesceError) as spent:
            while signed <= 12:
                verify(token, b"again", client.sign(token, b"again"))
                signed += 1
    assert 6 <= signed <= 12
    assert any("12" in culprit.detail for culprit in spent.value.culprits), spent.value.culprits


def test_a_grant_holds_through_it_within_its_bounds_and_for_its_delegate(
    quorum: Quorum, service: Service, caller: Machine, clerk: Machine, tmp_path: Path
) -> None:
    path = mint(
        caller,
        "granted",
        '@delegable("1") @payload("{ amount: Long }") permit(principal == Caller::"caller", '
        'action == Action::"sign", resource) when { context.payload.amount <= 1000 };',
    )
    grant, payment = tmp_path / "clerk.grant", tmp_path / "payment.json"
    words = ("--to", clerk.caller_id, "--action", "sign", "--bound", "amount<=100", "--expires", "1h")
    caller.run("grant", "create", path, *words, "--out", grant)
    sign = ("sign", path, "--suite", "ed25519", "--payload", payment, "--trust-token")
    payment.write_text('{"amount": 100}')
    clerk.fail(2, "refused", *sign)
    receipts = tmp_path / "receipts.json"
    clerk.run(*sign, "--grant", grant, "--out", tmp_path / "payment.sig", "--receipts", receipts)
    words_of = clerk.run("audit", "verify", receipts, "--token", path, "--json").json["receipts"][0]["agents"]
    assert all(word["grants"] and word["reconstructor"] == service.caller_id for word in words_of)
    payment.write_text('{"amount": 101}')
    assert "bound" in clerk.fail(2, "refused", *sign, "--grant", grant).error["culprits"][0]["detail"]
    # The carrier's callers cannot use one another's.
    other = quorum.newcomer("thief")
    quorum.admit("thief", other, "caller")
    service.allow("thief", other.caller_id)
    service.tell(other)
    payment.write_text('{"amount": 1}')
    assert "another caller" in other.fail(2, "refused", *sign, "--grant", grant).error["culprits"][0]["detail"]
    caller.run("grant", "revoke", grant)
    assert "revoked" in clerk.fail(2, "refused", *sign, "--grant", grant).error["culprits"][0]["detail"]


def test_a_freeze_holds_through_it_until_it_is_taken_back(caller: Machine, clerk: Machine) -> None:
    path = mint(caller, "freezing", "permit(principal, action, resource);")
    with Client(clerk.home, deadline=20) as client:
        token = Token.load(path, home=clerk.home, trust_token=True)
        verify(token, b"m", client.sign(token, b"m"))
        caller.run("key", "freeze", path)
        with pytest.raises(EvanesceError) as frozen:
            client.sign(token, b"m")
        assert frozen.value.code == "refused" and "frozen" in frozen.value.culprits[0].detail
        caller.run("key", "thaw", path)
        verify(token, b"m", client.sign(token, b"m"))


def test_what_people_must_approve_waits_for_them_through_it(
    service: Service, caller: Machine, clerk: Machine, tmp_path: Path
) -> None:
    cfo = Machine(tmp_path / "cfo")
    cfo.run("identity", "init")
    path = mint(
        caller,
        "approved",
        f'@approvers("cfo = {cfo.caller_id}") permit(principal, action == Action::"sign", resource) '
        "when { context.approvals.count >= 1 };",
    )
    with Client(clerk.home, deadline=20) as client, pytest.raises(EvanesceError) as refused:
        client.sign(Token.load(path, home=clerk.home, trust_token=True), b"pay")
    assert refused.value.code == "refused"
    words = ("--suite", "ed25519", "-m", "pay", "--folder", tmp_path / "shared", "--trust-token", "--json")
    asked = clerk.run("request", path, *words).json
    cfo.run("approve", asked["folder"], "--yes")
    receipts = tmp_path / "receipts.json"
    done = ("wait", asked["id"], "--folder", tmp_path / "shared", "--out", tmp_path / "sig", "--receipts", receipts)
    clerk.run(*done)
    (found,) = clerk.run("audit", "verify", receipts, "--token", path, "--json").json["receipts"]
    for word in found["agents"]:
        assert [name for name, _, _ in word["approvals"]] == ["cfo"] and word["reconstructor"] == service.caller_id
    again = clerk.fail(1, "not-approved", "wait", asked["id"], "--folder", tmp_path / "shared", "--timeout", "0")
    assert "spent before" in again.error["message"]


def test_a_token_that_is_retired_is_dead_through_it_too(caller: Machine, clerk: Machine) -> None:
    made = caller.run("key", "create", "short-lived", "--suite", "ed25519", "--json").json["file"]
    with Client(clerk.home) as client:
        token = Token.load(made, home=clerk.home, trust_token=True)
        verify(token, b"m", client.sign(token, b"m"))
        caller.run("key", "retire", made, "--yes")
        with pytest.raises(EvanesceError) as refused:
            client.sign(token, b"m")
    assert refused.value.code == "refused" and "retired" in refused.value.culprits[0].detail


def test_whom_it_does_not_work_for_is_told_so_and_whom_agents_do_not_know_gets_nothing(
    quorum: Quorum, service: Service, payments: Path
) -> None:
    stranger = quorum.newcomer("stranger")
    service.tell(stranger)
    stranger.fail(1, "identity", "sign", payments, "-m", "x", "--suite", "ed25519")
    service.allow("stranger", stranger.caller_id)
    refused = stranger.fail(2, "refused", "sign", payments, "-m", "x", "--suite", "ed25519")
    assert "does not know the caller" in refused.error["culprits"][0]["detail"]
    service.operator.run("reconstructor", "allow", service.folder, "--name", "stranger", "--remove")
    stranger.fail(1, "identity", "sign", payments, "-m", "x", "--suite", "ed25519")


def test_the_process_is_shut_in_and_has_no_interpreter(service: Service, clerk: Machine) -> None:
    proc = Path(f"/proc/{service.pid}")
    assert (proc / "exe").readlink() == program().resolve()
    maps = (proc / "maps").read_text()
    assert "python" not in maps.lower().replace(str(program().resolve()).lower(), "")
    status = (proc / "status").read_text()
    for field, wanted in (("Seccomp", "2"), ("NoNewPrivs", "1")):
        assert re.search(rf"^{field}:\t{wanted}$", status, re.M), status
    for task in (proc / "task").iterdir():
        assert "\nSeccomp:\t2\n" in (task / "status").read_text(), "every thread of it"
    assert re.search(r"Max core file size +0 +0", (proc / "limits").read_text())
    settled(clerk)
    found = clerk.try_("reconstructor", "status", "--json").json["reconstructor"]
    assert found["caller"] == "clerk" and found["agents"] == 5
    assert any("seccomp" in words for words in found["applied"])
    findings = {each["what"]: each for each in clerk.try_("doctor", "--json").json["findings"]}
    assert findings["reconstructor crucible"]["verdict"] == "ok"
    assert findings["agent agent-1"]["verdict"] == "ok", "a caller need be no more than that"


def test_a_trial_shows_that_what_must_fail_does() -> None:
    done = subprocess.run([program(), "trial"], capture_output=True, check=False, timeout=60)
    found = json.loads(done.stdout)
    with contextlib.suppress(OSError):
        folder = Path(found["folder"])
        (folder / "callers.toml").unlink()
        folder.rmdir()
    assert done.returncode == 0 and found["wrong"] == [], found
    assert len(found["refused"]) + len(found["unkept"]) == 19 and len(found["works"]) == 4
    assert not found["unkept"] or found["missing"], "what is not kept is for want of a kernel that could"


def test_agents_come_and_go_and_the_same_client_goes_on(quorum: Quorum, clerk: Machine, payments: Path) -> None:
    with Client(clerk.home, deadline=20) as client:
        token = Token.load(payments, home=clerk.home, trust_token=True)
        for name in ("agent-1", "agent-2", "agent-3"):
            with quorum.without(name, how=signal.SIGKILL):
                verify(token, b"m", client.sign(token, b"m", "ed25519"))
            # Back, with no memory of any session.
            verify(token, b"n", client.sign(token, b"n", "ed25519"))
    with quorum.without("agent-1", "agent-2", "agent-3"), Client(clerk.home, deadline=5) as client:
        with pytest.raises(EvanesceError) as unmet:
            client.sign(token, b"m", "ed25519")
        assert unmet.value.code == "quorum-not-met"
        assert {"agent-1", "agent-2", "agent-3"} <= {culprit.holder for culprit in unmet.value.culprits}
    settled(clerk)


def test_agents_that_hang_are_named_within_the_deadline(quorum: Quorum, clerk: Machine, payments: Path) -> None:
    hung = ("agent-2", "agent-3", "agent-4")
    with Client(clerk.home, deadline=5) as client:
        token = Token.load(payments, home=clerk.home, trust_token=True)
        client.sign(token, b"m", "ed25519")
        try:
            for name in hung:
                os.kill(quorum.agents[name].pid, signal.SIGSTOP)
            with pytest.raises(EvanesceError) as unmet:
                client.sign(token, b"m", "ed25519")
        finally:
            for name in hung:
                os.kill(quorum.agents[name].pid, signal.SIGCONT)
    assert unmet.value.code == "quorum-not-met", unmet.value
    assert set(hung) <= {culprit.holder for culprit in unmet.value.culprits}
    settled(clerk)


def test_without_it_nothing_is_done_and_it_is_said_why(service: Service, clerk: Machine, payments: Path) -> None:
    with Client(clerk.home, deadline=5) as client:
        token = Token.load(payments, home=clerk.home, trust_token=True)
        verify(token, b"m", client.sign(token, b"m", "ed25519"))
        service.end(signal.SIGKILL)
        with pytest.raises(EvanesceError) as gone:
            client.sign(token, b"m", "ed25519")
        assert gone.value.code == "reconstructor" and "crucible" in gone.value.message
        clerk.fail(1, "reconstructor", "sign", payments, "-m", "x", "--suite", "ed25519")
        service.start()
        verify(token, b"m", client.sign(token, b"m", "ed25519"))
    # One that is told to stop does so in good order, and its folder can be run again.
    assert service.end() == 0
    service.start()
    again = service.operator.fail(1, "running", "reconstructor", "run", service.folder)
    assert str(service.pid) in again.error["message"]


def test_many_at_once_go_through_it(clerk: Machine, payments: Path) -> None:
    async def all_of_them() -> None:
        async with AsyncClient(clerk.home, deadline=20) as client:
            token = Token.load(payments, home=clerk.home, trust_token=True)
            messages = [f"message {number}".encode() for number in range(200)]
            made = await asyncio.gather(*(client.sign(token, message, "ed25519") for message in messages))
            for message, signature in zip(messages, made, strict=True):
                verify(token, message, signature)

    asyncio.run(all_of_them())


def test_what_only_whoever_regenerates_can_do_is_refused_with_the_reason(clerk: Machine, payments: Path) -> None:
    with Client(clerk.home) as client:
        token = Token.load(payments, home=clerk.home, trust_token=True)
        with pytest.raises(EvanesceError) as refused:
            client.refresh(token, trust_token=True)
        assert refused.value.code == "role" and "reconstructor" in refused.value.hint
        with pytest.raises(EvanesceError) as refused:
            client.create("new", ["ed25519"], quorum="1 of (agent-1)")
        assert refused.value.code == "role"


def test_policy_check_names_those_who_are_their_own_reconstructors(
    quorum: Quorum, clerk: Machine, payments: Path, treasury: Path
) -> None:
    known = quorum.agents["agent-1"].folder / "known.toml"
    free = clerk.run("policy", "check", payments, "--known", known, "--json").json
    assert free["own_reconstructors"] == ["caller"], "not the clerk, and not the reconstructor"
    assert (
        "caller could be permitted, and is its own reconstructor"
        in clerk.run("policy", "check", payments, "--known", known).err
    )
    assert clerk.run("policy", "check", treasury, "--known", known, "--json").json["own_reconstructors"] == []
    assert "--known" in clerk.run("policy", "check", treasury).err


def test_policy_check_names_those_to_whom_a_delegable_policy_could_be_granted(
    quorum: Quorum, clerk: Machine, tmp_path: Path
) -> None:
    known = quorum.agents["agent-1"].folder / "known.toml"
    policy = tmp_path / "granted.cedar"
    text = 'permit(principal == Caller::"clerk", action == Action::"sign", resource);'
    for annotation, could in (("", []), ('@delegable("1")\n', ["caller"])):
        policy.write_text(annotation + text)
        checked = clerk.run("policy", "check", policy, "--known", known, "--json").json
        assert (checked["own_reconstructors"], checked["could_be_granted"]) == ([], could)
        said = clerk.run("policy", "check", policy, "--known", known).err
        assert ("caller could be granted it (@delegable), and is its own reconstructor" in said) is bool(could)
