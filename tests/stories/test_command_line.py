"""Every verb, as people and scripts use it: files, pipes, terminals, JSON, exit codes."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import pty
import select
import subprocess
import termios
from pathlib import Path

import pytest
from machines import EVANESCE, Machine, Quorum

from evanesce import Receipt, Token


def on_a_terminal(machine: Machine, *arguments: str | Path, feed: bytes = b"") -> tuple[int, str]:
    """Runs it with all of stdin, stdout and stderr on a terminal; returns its status and what the
    terminal showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*EVANESCE, *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=machine.home,
        env=os.environ | {"EVANESCE_HOME": str(machine.home), "TERM": "xterm", "COLUMNS": "200"},
        # It is the session's own terminal too, as it is for people: /dev/tty.
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    os.write(ours, feed)
    shown = b""
    with contextlib.suppress(OSError):
        while select.select([ours], [], [], 60)[0]:
            piece = os.read(ours, 65536)
            if not piece:
                break
            shown += piece
    os.close(ours)
    return process.wait(60), shown.decode(errors="replace")


def test_sign_and_verify_with_files(caller: Machine, payments: Path, tmp_path: Path) -> None:
    message, signature = tmp_path / "message", tmp_path / "signature"
    message.write_bytes(b"pay 100 to alice\n")
    caller.run("sign", payments, message, "--suite", "ed25519", "--out", signature)
    assert len(signature.read_bytes()) == 64
    assert caller.run("verify", payments, message, "--signature", signature, "--suite", "ed25519").err
    message.write_bytes(b"pay 900 to alice\n")
    wrong = caller.fail(
        2, "invalid-signature", "verify", payments, message, "--signature", signature, "--suite", "ed25519"
    )
    assert wrong.error["hint"]
    caller.fail(1, "exists", "sign", payments, message, "--suite", "ed25519", "--out", signature)
    caller.run("sign", payments, message, "--suite", "ed25519", "--out", signature, "--force")
    caller.run("verify", payments, message, "--signature", signature, "--suite", "ed25519")


def test_sign_and_verify_with_pipes(caller: Machine, tmp_path: Path, payments: Path) -> None:
    piped = caller.run("sign", "payments", "--suite", "ed25519", stdin=b"from a pipe")
    assert len(piped.out) == 64
    message = tmp_path / "m"
    message.write_bytes(b"from a pipe")
    caller.run("verify", payments, message, "--signature", "-", "--suite", "ed25519", stdin=piped.out)
    for form in ("base64", "hex"):
        text = caller.run("sign", payments, "-", "--suite", "ed25519", "--format", form, stdin=b"from a pipe").out
        caller.run("verify", payments, message, "--signature", "-", "--suite", "ed25519", stdin=text)
    armored = caller.run("key", "create", "piped", "--suite", "ed25519", "--armor", "--out", "-").out
    assert armored.startswith(b"-----BEGIN EVANESCE REGEN TOKEN-----")
    assert len(caller.run("sign", "-", "-m", "token from stdin", stdin=armored).out) == 64


def test_hybrid_and_batch_come_from_one_opening(caller: Machine, payments: Path, tmp_path: Path) -> None:
    made = caller.run(
        "sign",
        payments,
        "--suite",
        "ed25519",
        "--suite",
        "ml-dsa-65",
        "-m",
        "both",
        "--out",
        tmp_path / "both",
        "--json",
    ).json
    assert [one["suite"] for one in made["signatures"]] == ["ed25519", "ml-dsa-65"]
    for one in made["signatures"]:
        written = Path(one["written"])
        assert base64.b64decode(one["signature"]) == written.read_bytes()
        caller.run("verify", payments, "-m", "both", "--signature", written, "--suite", one["suite"])
    lines = caller.run("sign", payments, "--suite", "ed25519", "--suite", "ml-dsa-65", "-m", "both").out.splitlines()
    assert [line.split()[0] for line in lines] == [b"ed25519", b"ml-dsa-65"]

    files = [tmp_path / f"{number}.txt" for number in range(3)]
    for file in files:
        file.write_text(file.name)
    (tmp_path / "signed").mkdir()
    batch = caller.run(
        "sign", payments, *files, "--suite", "ecdsa-p256", "--out-dir", tmp_path / "signed", "--json"
    ).json
    assert len(batch["receipts"]) < 6
    for file in files:
        signature = tmp_path / "signed" / f"{file.name}.sig"
        caller.run("verify", payments, file, "--signature", signature, "--suite", "ecdsa-p256")
    caller.fail(1, "usage", "sign", "--suite", "ed25519", "-m", "x", payments, files[0])


def test_macs(caller: Machine, payments: Path, tmp_path: Path) -> None:
    mac = tmp_path / "mac"
    caller.run("mac", payments, "-m", "hello", "--out", mac)
    assert len(mac.read_bytes()) == 32
    caller.run("verify-mac", payments, "-m", "hello", "--mac", mac)
    caller.fail(2, "invalid-signature", "verify-mac", payments, "-m", "hullo", "--mac", mac)


def test_encryption(caller: Machine, payments: Path, tmp_path: Path) -> None:
    secret, sealed, opened = tmp_path / "secret", tmp_path / "sealed", tmp_path / "opened"
    secret.write_bytes(b"attack at dawn")
    caller.run("encrypt", payments, secret, "--aad", "orders", "--out", sealed)
    assert len(sealed.read_bytes()) == 24 + 14 + 16
    caller.run("decrypt", payments, sealed, "--aad", "orders", "--out", opened)
    assert opened.read_bytes() == b"attack at dawn"
    assert opened.stat().st_mode & 0o777 == 0o600
    assert caller.run("decrypt", payments, "-", "--aad", "orders", stdin=sealed.read_bytes()).out == b"attack at dawn"
    caller.fail(2, "decryption-failed", "decrypt", payments, sealed, "--aad", "others", "--out", tmp_path / "x")
    caller.fail(1, "exists", "decrypt", payments, sealed, "--aad", "orders", "--out", opened)
    assert not (tmp_path / "x").exists()


def test_derived_and_agreed_secrets(caller: Machine, payments: Path, tmp_path: Path) -> None:
    first = caller.run("derive", payments, "--context", "tls", "--length", "48").out
    assert len(first) == 48
    assert caller.run("derive", payments, "--context", "tls", "--length", "48").out == first
    assert caller.run("derive", payments, "--context", "ssh", "--length", "48").out != first

    caller.run("key", "create", "friend", "--suite", "x25519")
    theirs, ours = tmp_path / "theirs.pem", tmp_path / "ours.der"
    caller.run("public-key", "friend", "--out", theirs)
    caller.run("public-key", payments, "--suite", "x25519", "--form", "der", "--out", ours)
    one = caller.run("agree", payments, theirs).out
    assert len(one) == 32
    assert caller.run("agree", "friend", ours).out == one

    carried, mine = tmp_path / "carried", tmp_path / "mine"
    caller.run("encapsulate", payments, "--ciphertext", carried, "--out", mine)
    assert caller.run("decapsulate", payments, carried).out == mine.read_bytes()


def test_public_keys_are_what_openssl_reads(caller: Machine, payments: Path, tmp_path: Path) -> None:
    for suite in ("ed25519", "ecdsa-p256"):
        pem = caller.run("public-key", payments, "--suite", suite).out
        openssl = ["openssl", "pkey", "-pubin", "-noout", "-text"]
        assert subprocess.run(openssl, input=pem, capture_output=True, check=False).returncode == 0
    signature, message, key = tmp_path / "s", tmp_path / "m", tmp_path / "k"
    message.write_bytes(b"hello")
    key.write_bytes(caller.run("public-key", payments, "--suite", "ecdsa-p256").out)
    caller.run("sign", payments, message, "--suite", "ecdsa-p256", "--out", signature)
    openssl = ["openssl", "dgst", "-sha256", "-verify", str(key), "-signature", str(signature), str(message)]
    assert subprocess.run(openssl, capture_output=True, check=False).stdout == b"Verified OK\n"


def test_inspect_shows_all_and_proves_nothing(caller: Machine, payments: Path) -> None:
    document = caller.run("inspect", payments, "--json").json
    assert document["name"] == "payments"
    assert document["pinned"] == "kept"
    assert len(document["token"]) == 64
    assert {seat["name"] for seat in document["seats"]} == {f"agent-{n}" for n in range(1, 6)}
    assert len(document["public"]["ed25519"]["sha256"]) == 64
    words = caller.run("inspect", payments).out.decode()
    assert document["public"]["ed25519"]["sha256"][:8] in words
    assert "3 of (agent-1" in words


@pytest.mark.usefixtures("payments")
def test_keys_are_listed(caller: Machine) -> None:
    (caller.home / "tokens" / "broken.regen").write_bytes(b"not a token")
    try:
        listed = {Path(token["file"]).name: token for token in caller.run("key", "list", "--json").json["tokens"]}
        assert listed["payments.regen"]["pinned"] == "kept"
        assert listed["broken.regen"]["error"]["code"] == "malformed"
        assert "payments" in caller.run("key", "list").out.decode()
    finally:
        (caller.home / "tokens" / "broken.regen").unlink()
    caller.fail(1, "exists", "key", "create", "payments", "--suite", "ed25519")


def test_a_terminal_gets_text_and_no_secrets_unasked(caller: Machine, payments: Path) -> None:
    status, shown = on_a_terminal(caller, "sign", payments, "--suite", "ed25519", "-m", "hello")
    assert status == 0
    assert len(base64.b64decode(shown.split()[0])) == 64

    status, shown = on_a_terminal(caller, "derive", payments, "--context", "c")
    assert status == 1
    assert "not printed to a terminal unasked" in shown

    expected = caller.run("derive", payments, "--context", "c").out.hex()
    status, shown = on_a_terminal(caller, "derive", payments, "--context", "c", "--show")
    assert status == 0
    assert expected in shown

    sealed = caller.run("encrypt", payments, "-", stdin=b"plain \x1b[31m text").out
    (caller.home / "sealed").write_bytes(sealed)
    status, shown = on_a_terminal(caller, "decrypt", payments, "sealed", "--show")
    assert status == 0
    assert "plain \\x1b[31m text" in shown
    assert "\x1b[31m" not in shown


def test_a_token_on_stdout_is_inside_the_json_document(caller: Machine) -> None:
    # `.json` takes all of stdout: it would not decode with anything before or after the document.
    for armor in ((), ("--armor",)):
        made = caller.run("key", "create", "inline", "--suite", "ed25519", "--out", "-", *armor, "--json").json
        assert made["file"] is None
        assert Token.decode(made["armor"], pin=made["token"]).name == "inline"
    assert len(caller.run("sign", "-", "-m", "x", stdin=made["armor"].encode()).out) == 64
    key = caller.home / "imported"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(32))
    words = ("key", "import", "inline", "--suite", "hmac-sha256", "--from", key, "--out", "-", "--json")
    made = caller.run(*words).json
    assert Token.decode(made["armor"], pin=made["token"]).imported
    assert "armor" not in caller.run("key", "create", "aside", "--suite", "ed25519", "--json").json


@pytest.mark.parametrize(
    "name",
    ["-", "/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2", "/proc/self/fd/1", "/dev/tty", "/dev/./tty", "link"],
)
def test_no_name_of_a_terminal_gets_a_secret_out_unasked(
    caller: Machine, payments: Path, tmp_path: Path, name: str
) -> None:
    if name == "link":
        name = str(tmp_path / "link")
        Path(name).symlink_to("/dev/tty")
    secret = caller.run("derive", payments, "--context", "c").out
    # Never with --force: run by root, a mistake would put a file where the machine's device is.
    words = ("derive", payments, "--context", "c", "--out", name)
    status, shown = on_a_terminal(caller, *words)
    assert status == 1
    assert "not printed to a terminal unasked" in shown
    assert secret.hex() not in shown
    assert secret.decode(errors="replace") not in shown
    status, shown = on_a_terminal(caller, *words, "--show")
    assert status == 0
    assert secret.hex() in shown


def test_devices_and_descriptors_take_results_and_stdout_takes_one(
    caller: Machine, payments: Path, tmp_path: Path
) -> None:
    caller.run("derive", payments, "--context", "c", "--out", "/dev/null")
    caller.run("sign", payments, "-m", "x", "--suite", "ed25519", "--out", "/dev/null")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    caller.fail(1, "exists", "derive", payments, "--context", "c", "--out", pipe, "--force")
    caller.fail(1, "exists", "sign", payments, "-m", "x", "--suite", "ed25519", "--out", pipe, "--force")
    assert pipe.is_fifo()
    assert len(caller.run("derive", payments, "--context", "c", "--out", "/dev/stdout").out) == 32
    caller.fail(1, "usage", "derive", payments, "--context", "c", "--out", "/dev/stdout")
    caller.fail(1, "io", "derive", payments, "--context", "c", "--out", "/dev/fd/77")
    words = ("-m", "x", "--suite", "ed25519", "--out", "/dev/fd/1", "--receipts", "/dev/stdout", "--json")
    assert len(base64.b64decode(caller.run("sign", payments, *words).json["signature"])) == 64
    kept = caller.run("mac", payments, "-m", "x", "--out", tmp_path / "mac", "--receipts", "-").json
    assert len(kept["receipts"]) >= 3
    piped = caller.run("key", "create", "device", "--suite", "ed25519", "--out", "/dev/stdout").out
    assert Token.decode(piped, home=caller.home).name == "device"


def test_json_never_holds_a_secret(caller: Machine, payments: Path, tmp_path: Path) -> None:
    caller.fail(1, "usage", "derive", payments, "--context", "c")
    made = caller.run("derive", payments, "--context", "c", "--out", tmp_path / "key", "--json").json
    assert made["length"] == 32
    key = (tmp_path / "key").read_bytes()
    text = str(made)
    assert key.hex() not in text
    assert base64.b64encode(key).decode() not in text


def test_receipts_are_kept(caller: Machine, payments: Path, tmp_path: Path) -> None:
    caller.run("mac", payments, "-m", "x", "--receipts", tmp_path / "receipts.json", "--out", tmp_path / "mac")
    kept = json.loads((tmp_path / "receipts.json").read_text())
    assert len(kept["receipts"]) >= 3
    assert [len(bytes.fromhex(salt)) for salt in kept["salts"]] == [32]
    for one in kept["receipts"]:
        receipt = Receipt.decode(base64.b64decode(one["receipt"]))
        assert receipt.agent == one["agent"]
        assert receipt.verify()["operations"][0]["suite"] == "hmac-sha256"


def test_receipts_that_cannot_be_kept_are_refused_before_anyone_is_asked(
    caller: Machine, payments: Path, tmp_path: Path
) -> None:
    def entries() -> list[int]:
        return [agent["status"]["entries"] for agent in caller.run("agent", "status", "--json").json["agents"]]

    kept, mac, sealed = tmp_path / "receipts.json", tmp_path / "mac", tmp_path / "sealed"
    caller.run("mac", payments, "-m", "x", "--receipts", kept, "--out", mac)
    assert kept.stat().st_mode & 0o777 == 0o600
    sealed.write_bytes(caller.run("encrypt", payments, stdin=b"x").out)
    first = kept.read_bytes()
    (tmp_path / "loose").symlink_to(tmp_path / "nowhere")
    before = entries()
    for verb in (
        ("mac", payments, "-m", "x"),
        ("verify-mac", payments, "-m", "x", "--mac", mac),
        ("sign", payments, "-m", "x", "--suite", "ed25519"),
        ("sign", payments, mac, sealed, "--suite", "ed25519"),
        ("encrypt", payments, mac),
        ("decrypt", payments, sealed, "--out", tmp_path / "never"),
        ("derive", payments, "--context", "c", "--out", tmp_path / "never"),
    ):
        caller.fail(1, "exists", *verb, "--receipts", kept)
        caller.fail(1, "exists", *verb, "--receipts", tmp_path / "loose")
        caller.fail(1, "exists", *verb, "--receipts", tmp_path, "--force")
        caller.fail(1, "not-found", *verb, "--receipts", tmp_path / "missing" / "receipts.json")
    caller.fail(1, "usage", "mac", payments, "-m", "x", "--out", tmp_path / "one", "--receipts", tmp_path / "one")
    assert kept.read_bytes() == first
    assert not (tmp_path / "never").exists()
    assert entries() == before
    caller.run("verify-mac", payments, "-m", "x", "--mac", mac, "--receipts", kept, "--force")
    assert kept.read_bytes() != first
    assert kept.stat().st_mode & 0o777 == 0o600
    assert entries() != before


def test_an_agent_that_refused_left_a_receipt_and_contributed_nothing(
    caller: Machine, quorum: Quorum, tmp_path: Path
) -> None:
    three = ("--quorum", "2 of (agent-1, agent-2, agent-3)")
    created = caller.run("key", "create", "gone-at-one", "--suite", "ed25519", *three, "--json").json
    assert [receipt["code"] for receipt in created["receipts"]] == ["done"] * 3
    with quorum.without("agent-1", "agent-3"):
        partly = caller.try_("key", "retire", "gone-at-one", "--yes", "--json")
        assert (partly.status, partly.json["dead"]) == (1, False)
    words = ("sign", "gone-at-one", "-m", "x", "--format", "hex", "--receipts", tmp_path / "kept", "--force")
    for _ in range(20):
        status, shown = on_a_terminal(caller, *words)
        assert status == 0
        assert "2 agents contributed" in shown
        found = {r["agent"]: r for r in json.loads((tmp_path / "kept").read_text())["receipts"]}
        codes = {agent.name: found[agent.id]["code"] for agent in quorum.agents.values() if agent.id in found}
        if len(codes) == 3:
            break
    # Who was asked first is the client's choice; before long it was the one that has retired the token.
    assert codes == {"agent-1": "done", "agent-2": "retired", "agent-3": "done"}
    refusal = Receipt.decode(base64.b64decode(found[quorum.agents["agent-2"].id]["receipt"]))
    assert refusal.verify()["code"] == "retired"


@pytest.mark.usefixtures("payments")
@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["sign"],
        ["sign", "no-such-token", "-m", "x"],
        ["sign", "payments", "no-such-file", "--suite", "ed25519"],
        ["sign", "payments", "-m", "x"],
        ["sign", "payments", "-m", "x", "--suite", "rot13"],
        ["sign", "payments", "-m", "x", "--suite", "hmac-sha256"],
        ["sign", "payments", "-m", "x", "--deadline", "0"],
        ["verify", "payments", "-m", "x"],
        ["derive", "payments"],
        ["key", "create", "new"],
        ["key", "create", "new", "--suite", "rot13"],
        ["key", "create", "new", "--suite", "ed25519", "--quorum", "two of us"],
        ["key", "create", "new", "--suite", "ed25519", "--quorum", "1 of (nobody)"],
        ["key", "create", "../new", "--suite", "ed25519"],
        ["key", "create", "new", "--suite", "rsa-pss-sha256"],
        ["key", "import", "new", "--suite", "rsa-pss-sha256"],
        ["key", "retire", "payments"],
        ["agree", "payments", "/dev/null"],
        ["identity", "init"],
        ["agent", "run", "/nonexistent"],
    ],
)
def test_wrong_usage_is_explained_and_exits_1(caller: Machine, arguments: list[str]) -> None:
    words = caller.try_(*arguments)
    assert words.status == 1
    assert words.out == b""
    assert words.err.strip()
    if arguments:
        document = caller.try_(*arguments, "--json")
        assert document.status == 1
        assert document.error["message"]
        assert document.error["hint"]


@pytest.mark.usefixtures("payments")
def test_a_reader_that_leaves_is_no_drama(caller: Machine) -> None:
    command = " ".join(EVANESCE) + " key list --json | true"
    environment = os.environ | {"EVANESCE_HOME": str(caller.home)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment, check=False)
    assert done.stderr == b""


def test_process_substitution_works_though_the_process_is_hardened(caller: Machine, payments: Path) -> None:
    command = f"{' '.join(EVANESCE)} sign {payments} <(printf hello) --suite ed25519 --format hex --out /dev/stdout"
    environment = os.environ | {"EVANESCE_HOME": str(caller.home)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment, check=True)
    assert len(bytes.fromhex(done.stdout.decode())) == 64


@pytest.mark.usefixtures("payments")
def test_doctor_says_what_is_weak(caller: Machine) -> None:
    found = caller.try_("doctor", "--json")
    assert found.status == 1
    findings = {finding["what"]: finding for finding in found.json["findings"]}
    assert findings["element of agent-1"]["verdict"] == "weak"
    assert "development" in findings["element of agent-1"]["detail"]
    assert findings["agent agent-1"]["verdict"] == "ok"
    # The agents are on this machine and have what it has.
    assert findings["memory of agent-1"]["verdict"] == findings["memory"]["verdict"]
    assert findings["clocks"]["verdict"] == "ok"
    assert findings["hardening"]["verdict"] == "ok"
    relaxed = caller.try_("doctor", "--json", EVANESCE_NO_HARDEN="1")
    assert relaxed.status == 1
    (hardening,) = (f for f in relaxed.json["findings"] if f["what"] == "hardening")
    assert hardening["verdict"] == "weak"
    assert "EVANESCE_NO_HARDEN" in hardening["detail"]
    assert "hardening" in caller.try_("doctor").out.decode()
