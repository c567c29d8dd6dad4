"""Approvals: people on machines of their own approve what a caller asks for, and it is done once enough have."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from machines import EVANESCE, Machine, Quorum

from evanesce import Approval, AsyncClient, Client, EvanesceError, Grant, Request, Token, _core, verify

PAYMENT = {"amount": 12_500, "currency": "EUR"}
CANONICAL = b'{"amount":12500,"currency":"EUR"}'


@dataclass(frozen=True)
class People:
    """Those who approve, and the token whose policy needs them."""

    cfo: Machine
    ceo: Machine
    shared: Path
    token: Path


@pytest.fixture(scope="module")
def people(quorum: Quorum, caller: Machine) -> People:
    """The CFO and the CEO, whom the agents' directories know as approvers; neither connects to an agent."""
    cfo, ceo = Machine(quorum.folder / "cfo"), Machine(quorum.folder / "ceo")
    for name, machine in (("cfo", cfo), ("ceo", ceo)):
        machine.run("identity", "init")
        quorum.admit(name, machine, "approver")
    policy = caller.home / "both.cedar"
    policy.write_text(
        '@payload("{ amount: Long, currency: String }") permit(principal, action == Action::"sign", resource)\n'
        'when { context.approvals.names.containsAll(["cfo", "ceo"]) };\n'
        'permit(principal, action == Action::"derive", resource) when { context.approvals.count >= 1 };'
    )
    suites = ("--suite", "ed25519", "--suite", "hkdf-sha256")
    made = caller.run("key", "create", "both", *suites, "--policy", policy, "--json").json
    shared = quorum.folder / "shared"
    shared.mkdir()
    return People(cfo, ceo, shared, Path(made["file"]))


def ask(caller: Machine, people: People, *words: str | Path, stdin: bytes = b"") -> tuple[str, Path]:
    made = caller.run("request", people.token, *words, "--folder", people.shared, "--json", stdin=stdin).json
    return made["id"], Path(made["folder"])


def test_an_operation_waits_for_people_and_is_done_when_the_last_has_approved(
    quorum: Quorum, caller: Machine, people: People, tmp_path: Path
) -> None:
    asked, folder = ask(caller, people, "--payload", "-", stdin=json.dumps(PAYMENT).encode())
    signature, receipts = tmp_path / "payment.sig", tmp_path / "receipts.json"
    words = ("wait", asked, "--folder", people.shared, "--out", signature, "--receipts", receipts, "--json")
    waiting = subprocess.Popen(
        [*EVANESCE, *map(str, words)],
        stdout=subprocess.PIPE,
        cwd=caller.home,
        env=os.environ | {"EVANESCE_HOME": str(caller.home)},
    )
    try:
        shown = people.cfo.run("approve", folder, "--yes", "--json").json
        assert shown["text"].startswith(f'sign with the key "both" as ed25519\ntoken {Token.load(people.token).id}\n')
        assert shown["text"].endswith('payload {\n  "amount": 12500,\n  "currency": "EUR"\n}')
        time.sleep(2)
        assert waiting.poll() is None, "one of two is not enough"
        assert not signature.exists()
        people.ceo.run("approve", folder, "--yes")
        out, _ = waiting.communicate(timeout=60)
    finally:
        waiting.kill()
    assert waiting.returncode == 0, out
    done = json.loads(out)
    assert set(done["approved_by"]) == {people.cfo.caller_id, people.ceo.caller_id}
    caller.run("verify", people.token, "-", "--signature", signature, stdin=CANONICAL)
    proven = caller.run("audit", "verify", receipts, "--token", people.token, "--json").json["receipts"][0]
    for agent in proven["agents"]:
        assert {(name, key) for name, key, _ in agent["approvals"]} == {
            ("cfo", people.cfo.caller_id),
            ("ceo", people.ceo.caller_id),
        }
    assert f"approved by ceo, {people.ceo.caller_id}" in caller.run("audit", "verify", receipts).out.decode()
    files = [word for path in folder.glob("*.approval") for word in ("--approval", path)]
    texts = caller.run("audit", "verify", receipts, *files, "--json").json["receipts"][0]["texts"]
    assert list(texts.values()) == [shown["text"]] * 2
    folders = [agent.folder for agent in quorum.agents.values()]
    searched = ("audit", "search", *folders, "--approver")
    assert 3 <= caller.run(*searched, people.cfo.caller_id, "--code", "done", "--json").json["found"] <= 5
    assert caller.run(*searched, caller.caller_id, "--json").json["found"] == 0
    # Spent: not again, neither now nor with one of them anew.
    again = caller.fail(1, "not-approved", "wait", asked, "--folder", people.shared, "--timeout", "0")
    assert "spent before" in again.error["message"]


def test_requests_show_who_has_approved(caller: Machine, people: People, tmp_path: Path) -> None:
    asked, folder = ask(caller, people, "--payload", "-", stdin=json.dumps(PAYMENT).encode())
    approval = tmp_path / "cfo.approval"
    people.cfo.run("approve", folder / "request.json", "--yes", "--out", approval)
    caller.fail(1, "usage", "approve", folder, "--yes")

    def listed() -> list[str]:
        rows = caller.run("requests", "--folder", people.shared, "--json").json["requests"]
        row = next(row for row in rows if row["id"] == asked)
        assert all(not given["problem"] for given in row["approvals"])
        return [given["approver"] for given in row["approvals"]]

    assert listed() == []
    late = caller.fail(
        1, "not-approved", "wait", asked, "--folder", people.shared, "--approval", approval, "--timeout", "0"
    )
    assert "does not permit" in late.error["message"]
    assert listed() == [people.cfo.caller_id]
    # What somebody drops among the approvals neither counts nor is in the way.
    stranger = Machine(tmp_path / "stranger")
    stranger.run("identity", "init")
    stranger.run("approve", folder, "--yes")
    (folder / "nonsense.approval").write_bytes(b"\xa0")
    people.ceo.run("approve", folder, "--yes")
    done = caller.run("wait", asked[:8], "--folder", people.shared, "--timeout", "20", "--json").json
    verify(Token.load(people.token, home=caller.home), CANONICAL, base64.b64decode(done["signature"]))
    rows = caller.run("requests", "--folder", people.shared, "--json").json["requests"]
    assert asked not in [row["id"] for row in rows], "it was done"


def test_a_secret_goes_where_it_is_told_once_it_was_approved(caller: Machine, people: People, tmp_path: Path) -> None:
    words = ("--action", "derive", "-m", "backup/2026", "--length", "40", "--word", "the backup of May")
    asked, folder = ask(caller, people, *words)
    shown = people.ceo.run("approve", folder, "--yes", "--json").json["text"]
    assert shown.endswith("in the requester's words, which no agent can check:\nthe backup of May")
    caller.run("wait", asked, "--folder", people.shared, "--out", tmp_path / "key")
    assert (tmp_path / "key").stat().st_size == 40


def test_a_request_that_is_altered_on_its_way_is_another(caller: Machine, people: People, tmp_path: Path) -> None:
    asked, folder = ask(caller, people, "--payload", "-", stdin=json.dumps(PAYMENT).encode())
    document = json.loads((folder / "request.json").read_text())
    other = tmp_path / "request.json"
    for change in (
        {"payload": '{"amount":12501,"currency":"EUR"}'},
        {"caller": "00" * 32},
        {"salt": "11" * 32},
        {"action": "mac", "suite": "ed25519"},
    ):
        other.write_text(json.dumps(document | change))
        people.cfo.run("approve", other, "--yes", "--out", folder / f"{len(change)}{time.monotonic_ns()}.approval")
    other.write_text(json.dumps(document | {"payload": '{ "amount":12500,"currency":"EUR"}'}))
    people.cfo.fail(1, "bad-input", "approve", other, "--yes")
    people.ceo.run("approve", folder, "--yes")
    late = caller.fail(1, "not-approved", "wait", asked, "--folder", people.shared, "--timeout", "0")
    assert "does not permit" in late.error["message"]


@contextlib.contextmanager
def waiting(caller: Machine, *words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """`evanesce wait`, meanwhile."""
    running = subprocess.Popen(
        [*EVANESCE, "wait", *map(str, words)],
        stderr=subprocess.PIPE,
        cwd=caller.home,
        env=os.environ | {"EVANESCE_HOME": str(caller.home)},
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def test_agents_that_are_away_for_a_while_are_waited_for(
    quorum: Quorum, caller: Machine, people: People, tmp_path: Path
) -> None:
    asked, folder = ask(caller, people, "--payload", "-", stdin=json.dumps(PAYMENT).encode())
    words = (asked, "--folder", people.shared, "--out", tmp_path / "payment.sig")
    with contextlib.ExitStack() as stack:
        with quorum.without("agent-1", "agent-2", "agent-3"):
            away = caller.fail(1, "quorum-not-met", "wait", *words, "--timeout", "0")
            assert "no approval was spent" in away.error["message"]
            running = stack.enter_context(waiting(caller, *words))
            time.sleep(3)
            assert running.poll() is None, running.stderr and running.stderr.read()
            for person in (people.cfo, people.ceo):
                person.run("approve", folder, "--yes")
            time.sleep(3)
            assert running.poll() is None, running.stderr and running.stderr.read()
        _, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert b"too few agents" in err
    caller.run("verify", people.token, "-", "--signature", tmp_path / "payment.sig", stdin=CANONICAL)
    # One that is away while the others still miss somebody's approval is no reason to give up either.
    asked, folder = ask(caller, people, "--payload", "-", stdin=json.dumps(PAYMENT).encode())
    with quorum.without("agent-5"), waiting(caller, asked, "--folder", people.shared) as running:
        people.cfo.run("approve", folder, "--yes")
        time.sleep(3)
        assert running.poll() is None, running.stderr and running.stderr.read()
        people.ceo.run("approve", folder, "--yes")
        _, err = running.communicate(timeout=60)
    assert running.returncode == 0, err


def test_an_approver_whom_the_agents_come_to_know_later_counts_without_approving_again(
    quorum: Quorum, caller: Machine, people: People, tmp_path: Path
) -> None:
    deputy = Machine(tmp_path / "deputy")
    deputy.run("identity", "init")
    asked, folder = ask(caller, people, "--action", "derive", "-m", "backup/2028")
    deputy.run("approve", folder, "--yes")
    words = (asked, "--folder", people.shared, "--out", tmp_path / "key")
    with waiting(caller, *words) as running:
        time.sleep(3)
        assert running.poll() is None
        quorum.admit("deputy", deputy, "approver")
        _, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert (tmp_path / "key").stat().st_size == 32


def test_an_approver_is_shown_all_that_the_digest_covers(
    caller: Machine, people: People, payments: Path, tmp_path: Path
) -> None:
    sealed = tmp_path / "sealed"
    caller.run(
        "encrypt", payments, "-", "--suite", "xaes-256-gcm", "--aad", "payroll\nof May", "--out", sealed, stdin=b"x"
    )
    words = ("--action", "decrypt", "--suite", "xaes-256-gcm", "--aad", "payroll\nof May")
    folder = Path(caller.run("request", payments, sealed, *words, "--json").json["folder"])
    said = people.cfo.run("approve", folder, "--yes").err
    assert f"Content: {sealed.stat().st_size} bytes, SHA-256 {hashlib.sha256(sealed.read_bytes()).hexdigest()}" in said
    digest = hashlib.sha256(b"payroll\nof May").hexdigest()
    assert f"Additional data: 14 bytes, SHA-256 {digest}\n| payroll\n| of May\n" in said
    _, folder = ask(caller, people, "--action", "derive", "-m", "backup/2029", "--length", "40")
    said = people.cfo.run("approve", folder, "--yes").err
    assert "\n| backup/2029\nLength of the derived key: 40 bytes\n" in said
    _, folder = ask(caller, people, "--action", "derive", "-m", "", "--length", "41")
    assert "Content: none\nLength of the derived key: 41 bytes\n" in people.cfo.run("approve", folder, "--yes").err


def test_what_whoever_can_write_to_the_folder_puts_in_a_requests_place_is_not_performed(
    caller: Machine, people: People, tmp_path: Path
) -> None:
    derive = ("--action", "derive", "--length", "40", "-m")
    asked, folder = ask(caller, people, *derive, "backup/2026")
    harmless = (folder / "request.json").read_bytes()
    token = Token.load(people.token, home=caller.home)
    # The CEO, whose approval is enough, has one of their own performed instead; and one of a token that asks nobody.
    forged = Request.to_derive(token, caller.caller_id, b"payroll/2026", 40)
    forged.save(folder / "request.json", force=True)
    (folder / "x.approval").write_bytes(forged.approve(people.ceo.home / "identity.key").data)
    refused = ("wait", asked, "--folder", people.shared, "--out", tmp_path / "key", "--timeout", "0")
    assert forged.id in caller.fail(1, "bad-input", *refused).error["message"]
    free = caller.run("key", "create", "free", "--suite", "hkdf-sha256", "--json").json["file"]
    original = Request.decode(harmless, home=caller.home)
    replace(original, token=Token.load(free, home=caller.home)).save(folder / "request.json", force=True)
    assert "something else" in caller.fail(1, "bad-input", *refused).error["message"]
    assert not (tmp_path / "key").exists()
    (folder / "request.json").write_bytes(harmless)
    people.ceo.run("approve", folder, "--yes")
    caller.run(*refused)
    assert (tmp_path / "key").stat().st_size == 40
    # Another home of the same caller cannot compare, and says so.
    words = (*derive, "backup/2027", "--folder", people.shared, "--json")
    elsewhere = Path(caller.run("request", people.token, *words).json["folder"])
    (caller.home / "asked" / elsewhere.name).unlink()
    people.ceo.run("approve", elsewhere, "--yes")
    done = caller.run("wait", elsewhere, "--out", tmp_path / "other")
    assert "did not ask for it" in done.err
    assert "derive with the key" in done.err


def test_a_person_at_a_terminal_is_shown_what_it_is_and_asked(caller: Machine, people: People) -> None:
    _, folder = ask(caller, people, "--payload", "-", stdin=json.dumps(PAYMENT).encode())

    def answer(word: bytes) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        with os.fdopen(ours, "rb+", buffering=0) as terminal:
            asked = subprocess.Popen(
                [*EVANESCE, "approve", str(folder)],
                stdin=theirs,
                stderr=subprocess.PIPE,
                cwd=people.cfo.home,
                env=os.environ | {"EVANESCE_HOME": str(people.cfo.home)},
            )
            os.close(theirs)
            terminal.write(word)
            _, said = asked.communicate(timeout=60)
        return asked.returncode, said.decode()

    status, said = answer(b"n\n")
    assert '"amount": 12500' in said
    assert "Approve this?" in said
    assert (status, list(folder.glob("*.approval"))) == (1, [])
    status, said = answer(b"y\n")
    assert status == 0, said
    assert len(list(folder.glob("*.approval"))) == 1
    unasked = people.cfo.fail(1, "usage", "approve", folder)
    assert "nobody is there" in unasked.error["message"]


def test_people_approve_from_python(caller: Machine, people: People) -> None:
    token = Token.load(people.token, home=caller.home)
    keys = [machine.home / "identity.key" for machine in (people.cfo, people.ceo)]
    with Client(caller.home) as client:
        request = Request.to_sign(token, client.caller_id, payload=PAYMENT)
        copy = Request.decode(request.encode())
        assert copy.text == request.text
        approvals = [copy.approve(key) for key in keys]
        assert [request.judge(approval) for approval in approvals] == ["", ""]
        assert "ended" in request.judge(approvals[0], time.time() + 900)
        with pytest.raises(EvanesceError) as caught:
            client.perform(request, approvals[:1])
        assert caught.value.code == "refused"
        signature = client.perform(request, approvals)
        verify(token, CANONICAL, signature)
        assert signature.salt == request.salt

        async def ask() -> bytes:
            async with AsyncClient(caller.home) as other:
                anew = [copy.approve(key) for key in keys]
                return (await other.perform(request, anew)).value

        assert asyncio.run(ask()) == signature.value


def test_an_authenticator_approves_on_its_own_site(caller: Machine, people: People, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "board.der").write_bytes(spki)
    identifier = people.cfo.run("identity", "show", "--public-key", tmp_path / "board.der", "--json").json["caller_id"]
    policy = tmp_path / "board.cedar"
    policy.write_text(
        f'@approvers("board = {identifier} webauthn example.com") permit(principal, action, resource)\n'
        "when { context.approvals.count == 1 };"
    )
    made = caller.run("key", "create", "board", "--suite", "ed25519", "--policy", policy, "--json").json
    asked = caller.run("request", made["file"], "-m", "hello", "--json").json
    folder = Path(asked["folder"])
    steps, assertion = tmp_path / "challenge.json", tmp_path / "assertion.json"
    people.cfo.run("approve", folder, "--challenge", steps)
    options = json.loads(steps.read_text())["publicKey"]
    assert options["rpId"] == "example.com"

    def sign(origin: str, flags: int = 0x05) -> None:
        """What a browser and a software authenticator make of it (W3C WebAuthn Level 2)."""
        client = json.dumps({"type": "webauthn.get", "challenge": options["challenge"], "origin": origin}).encode()
        data = hashlib.sha256(b"example.com").digest() + bytes([flags]) + bytes(4)
        signature = key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        parts = {"clientDataJSON": client, "authenticatorData": data, "signature": signature}
        response = {name: base64.urlsafe_b64encode(value).decode().rstrip("=") for name, value in parts.items()}
        assertion.write_text(json.dumps({"type": "public-key", "id": "x", "rawId": "x", "response": response}))

    words = ("approve", folder, "--challenge", steps, "--webauthn", assertion, "--public-key", tmp_path / "board.der")
    sign("https://example.org")
    assert "another page" in people.cfo.fail(2, "approval-invalid", *words).error["message"]
    sign("https://login.example.com", flags=0x01)
    assert "not verified" in people.cfo.fail(2, "approval-invalid", *words).error["message"]
    sign("https://login.example.com")
    people.cfo.run(*words)
    receipts = tmp_path / "receipts.json"
    done = caller.run("wait", asked["id"], "--receipts", receipts, "--json").json
    assert done["approved_by"] == ["board"]
    (approval,) = folder.glob("*.approval")
    audit = ("audit", "verify", receipts, "--approval", approval)
    caller.fail(2, "approval-invalid", *audit)
    caller.fail(2, "approval-invalid", *audit, "--site", "example.org")
    for words in (("--token", made["file"]), ("--site", "example.com")):
        assert "input digest" in caller.run(*audit, *words).out.decode()
    verify(Token.load(made["file"], home=caller.home), b"hello", base64.b64decode(done["signature"]))


def test_where_a_quorum_splits_in_two_it_is_said_that_an_approval_could_be_spent_twice(
    caller: Machine, tmp_path: Path
) -> None:
    policy = tmp_path / "split.cedar"
    policy.write_text("permit(principal, action, resource) when { context.approvals.count > 0 };")
    found = caller.run("policy", "check", policy, "--quorum", "2 of (a, b, c, d)", "--json").json["warnings"]
    assert any("used twice" in warning for warning in found)
    found = caller.run("policy", "check", policy, "--quorum", "3 of (a, b, c, d)", "--json").json["warnings"]
    assert not any("used twice" in warning for warning in found)
    made = caller.try_(
        "key",
        "create",
        "split",
        "--suite",
        "ed25519",
        "--policy",
        policy,
        "--quorum",
        "2 of (agent-1, agent-2, agent-3, agent-4)",
    )
    assert made.status == 0
    assert "used twice" in made.err
    assert _core.quorum_splits("1 of (a, b)")


def test_what_waits_for_people_is_asked_for_and_what_no_order_can_reach_is_warned_of(
    caller: Machine, quorum: Quorum, tmp_path: Path
) -> None:
    policy = tmp_path / "waits.cedar"
    policy.write_text("permit(principal, action, resource) when { context.approvals.count > 0 };")
    words = ("key", "create", "waiting", "--suite", "ed25519", "--policy", policy)
    made = caller.run(*words, "--json").json
    assert [warning for warning in made["warnings"] if "which orders do not carry" in warning], made
    # Who mints here could be permitted, and has the key in its own process.
    own = [warning for warning in made["warnings"] if "its own reconstructor" in warning]
    assert len(own) == 1
    known = next(iter(quorum.agents.values())).folder / "known.toml"
    checked = caller.run("policy", "check", policy, "--known", known, "--json").json
    again = caller.run(*words, "--known", known, "--out", tmp_path / "again.regen", "--json").json
    named = [warning.partition(" ")[0] for warning in again["warnings"] if "its own reconstructor" in warning]
    assert named == checked["own_reconstructors"]
    assert own[0].partition(" ")[0] in named
    refused = caller.try_("key", "refresh", made["file"])
    assert refused.status == 2
    assert "--ask" in refused.err
    left = caller.try_("key", "retire", made["file"], "--yes")
    assert left.status == 2
    assert "--ask" in left.err
    # Of a new policy and quorum it is said before people are asked.
    told = caller.run("key", "reshare", made["file"], "--quorum", "1 of (agent-1, agent-2)", "--ask", "--json")
    assert [warning for warning in told.json["warnings"] if "which orders do not carry" in warning], told.json
    assert [warning for warning in told.json["warnings"] if "used twice" in warning], told.json


def test_a_delegate_completes_what_the_policy_lets_its_grantor_do_with_approvals(
    caller: Machine, quorum: Quorum, people: People, tmp_path: Path
) -> None:
    policy = tmp_path / "delegable.cedar"
    policy.write_text(
        '@delegable("1") @payload("{ amount: Long, currency: String }")\n'
        'permit(principal == Caller::"caller", action == Action::"sign", resource)\n'
        'when { context.approvals.names.contains("cfo") };'
    )
    made = caller.run("key", "create", "lent", "--suite", "ed25519", "--policy", policy, "--json").json
    clerk = quorum.newcomer("clerk")
    quorum.admit("clerk", clerk, "caller", "reconstructor")
    time.sleep(0.3)
    grant, payment = tmp_path / "clerk.grant", tmp_path / "payment.json"
    words = ("--to", clerk.caller_id, "--action", "sign", "--bound", "amount<=20000", "--expires", "1h")
    given = caller.run("grant", "create", made["file"], *words, "--out", grant, "--json").json["grant"]
    payment.write_text(json.dumps(PAYMENT))

    def asked(*under: str | Path) -> tuple[str, Path]:
        words = (made["file"], "--pin", made["token"], "--payload", payment, "--folder", people.shared, "--json")
        found = clerk.run("request", *words, *under).json
        return found["id"], Path(found["folder"])

    def wait(request: str, *words: str | Path) -> tuple[str | Path, ...]:
        return ("wait", request, "--folder", people.shared, "--timeout", "0", *words)

    request, folder = asked("--grant", grant)
    # The chain goes along, whatever becomes of the file; approvals are needed all the same.
    kept = grant.read_bytes()
    grant.unlink()
    assert "does not permit" in clerk.fail(1, "not-approved", *wait(request)).error["message"]
    people.ceo.run("approve", folder, "--yes")
    assert "does not permit" in clerk.fail(1, "not-approved", *wait(request)).error["message"]
    shown = people.cfo.run("approve", folder, "--yes", "--json").json["text"]
    assert f"asked for by {clerk.caller_id}" in shown
    receipts = tmp_path / "receipts.json"
    done = clerk.run(*wait(request, "--receipts", receipts), "--json").json
    verify(Token.load(made["file"], home=caller.home), CANONICAL, base64.b64decode(done["signature"]))
    agents = clerk.run("audit", "verify", receipts, "--token", made["file"], "--json").json["receipts"][0]["agents"]
    for agent in agents:
        assert agent["grants"] == [given]
        assert ("cfo", people.cfo.caller_id) in {(name, key) for name, key, _ in agent["approvals"]}

    # Asked for without a grant, approvals do not make up for it; one that is named later does.
    request, folder = asked()
    people.cfo.run("approve", folder, "--yes")
    assert "does not permit" in clerk.fail(1, "not-approved", *wait(request)).error["message"]
    grant.write_bytes(kept)
    clerk.run(*wait(request, "--grant", grant))
    # What others put beside a request is not taken for its grant.
    request, folder = asked()
    people.cfo.run("approve", folder, "--yes")
    for name in (f"{request}.grant", "request.grant", "grant"):
        (folder / name).write_bytes(kept)
    clerk.fail(1, "not-approved", *wait(request))


def test_a_grantor_does_not_approve_what_its_delegate_asks_for(
    caller: Machine, quorum: Quorum, people: People, tmp_path: Path
) -> None:
    policy = tmp_path / "own.cedar"
    policy.write_text(
        f'@delegable("1") @approvers("boss = {caller.caller_id}, cfo = {people.cfo.caller_id}")\n'
        'permit(principal == Caller::"caller", action == Action::"sign", resource)\n'
        "when { context.approvals.count == 1 };"
    )
    made = caller.run("key", "create", "own", "--suite", "ed25519", "--policy", policy, "--json").json
    steward = quorum.newcomer("steward")
    quorum.admit("steward", steward, "caller", "reconstructor")
    time.sleep(0.3)
    grant = tmp_path / "steward.grant"
    words = ("--to", steward.caller_id, "--action", "sign", "--expires", "1h", "--out", grant)
    caller.run("grant", "create", made["file"], *words)
    words = ("-m", "hello", "--grant", grant, "--folder", people.shared, "--json")
    asked = steward.run("request", made["file"], "--pin", made["token"], *words).json
    wait = ("wait", asked["id"], "--folder", people.shared, "--timeout", "0")
    caller.run("approve", asked["folder"], "--yes")
    late = steward.try_(*wait)
    assert late.status == 1
    assert "without boss: whoever grants this cannot approve it" in late.err
    # The agents themselves refuse what comes with it, so that wait leaves it out: it is not in the way of who can.
    request = Request.load(Path(asked["folder"]) / "request.json")
    (own,) = (Approval.decode(path.read_bytes()) for path in Path(asked["folder"]).glob("*.approval"))
    with Client(steward.home, grant=Grant.load(grant)) as client, pytest.raises(EvanesceError) as caught:
        client.perform(request, [own])
    assert "whoever asks cannot approve it" in caught.value.culprits[0].detail
    people.cfo.run("approve", asked["folder"], "--yes")
    assert steward.run(*wait, "--json").json["approved_by"] == ["cfo"]


def test_a_home_forgets_what_it_asked_for_long_ago_and_not_what_was_begun(
    caller: Machine, people: People, tmp_path: Path
) -> None:
    asked, _ = ask(caller, people, "--action", "derive", "-m", "backup/2031")
    kept = caller.home / "asked"
    begun, place = kept / "begun" / ("ab" * 32), kept / "places" / asked
    for path in (begun, place):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    fresh, _ = ask(caller, people, "--action", "derive", "-m", "backup/2032")
    assert (kept / asked).exists(), "of today"
    for path in (kept / asked, begun, place):
        os.utime(path, (time.time() - 31 * 86_400,) * 2)
    ask(caller, people, "--action", "derive", "-m", "backup/2033")
    assert not (kept / asked).exists()
    assert not place.exists()
    assert begun.exists()
    assert (kept / fresh).exists()
    late = caller.try_("wait", asked, "--folder", people.shared, "--out", tmp_path / "key", "--timeout", "0")
    assert "this home did not ask for it" in late.err
