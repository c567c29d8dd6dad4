"""An auditor at work: receipts, exported logs, witnesses; and what was done to them shows."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from machines import PATIENCE, Machine, Quorum

from evanesce._core import input_digest
from evanesce.audit.logs import open_all
from evanesce.audit.receipts import load
from evanesce.audit.reconcile import reconcile

MESSAGE = b"pay 100 to alice\n"
POLICY = 'permit (principal, action == Action::"sign", resource);\n'


@pytest.fixture(scope="module")
def quorum(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quorum]:
    with Quorum(tmp_path_factory.mktemp("audited"), count=3) as running:
        yield running


class Auditor(Machine):
    """A machine with no identity: it knows the agents' ids, and has been sent files."""

    def __init__(self, home: Path, quorum: Quorum) -> None:
        super().__init__(home)
        quorum.tell(self)
        self.quorum = quorum

    def export(self) -> dict[str, Path]:
        """Every agent's operator exports and sends what is new."""
        logs = {name: self.home / "logs" / name for name in self.quorum.agents}
        for name, agent in self.quorum.agents.items():
            _settle(agent.folder)
            self.run("agent", "log", "export", agent.folder, logs[name])
        return logs


def _settle(folder: Path) -> None:
    """Until the head covers all that is written."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        head, entries = folder / "log" / "head", folder / "log" / "entries"
        if head.exists() and f"\nlength {entries.stat().st_size}\n" in head.read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"{folder} stores no head")


@pytest.fixture
def scene(quorum: Quorum, tmp_path: Path) -> tuple[Auditor, Path, Path, Path]:
    """An auditor, a token, a signed message and the receipts for it."""
    caller = quorum.caller
    policy = tmp_path / "policy"
    policy.write_text(POLICY)
    token, message, receipts = tmp_path / "audited.regen", tmp_path / "message", tmp_path / "seen" / "receipts.json"
    receipts.parent.mkdir()
    message.write_bytes(MESSAGE)
    caller.run("key", "create", "audited", "--suite", "ed25519", "--policy", policy, "--out", token)
    caller.run("sign", token, message, "--out", tmp_path / "sig", "--receipts", receipts)
    return Auditor(tmp_path / "auditor", quorum), token, message, receipts


def _first(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())["receipts"][0])


def test_an_auditor_learns_who_permitted_what_for_whom_and_when(scene: tuple[Auditor, Path, Path, Path]) -> None:
    auditor, token, message, receipts = scene
    auditor.export()
    words = ["--token", token, "--log", auditor.home / "logs", "--message", message]
    (found,) = auditor.run("audit", "verify", receipts, *words, "--json").json["receipts"]
    assert found["policy"] == POLICY and found["sufficient"] and found["matched"] == 0
    assert [(each["action"], each["suite"]) for each in found["operations"]] == [("sign", "ed25519")]
    assert found["caller"] == auditor.quorum.caller.caller_id
    assert len(found["agents"]) == 2
    for word in found["agents"]:
        assert word["name"] in auditor.quorum.agents and word["caller_name"] == "caller"
        assert word["code"] == "done" and word["standing"]["verdict"] == "holds"
    shown = auditor.run("audit", "verify", receipts, *words).out.decode()
    for expected in ("of the input given", "a sufficient set of 2 of", POLICY.strip(), "unchanged"):
        assert expected in shown

    message.write_bytes(MESSAGE.replace(b"100", b"900"))
    auditor.fail(2, "receipt-invalid", "audit", "verify", receipts, *words)
    no_salt = receipts.with_name("no-salt")
    no_salt.write_text(json.dumps(json.loads(receipts.read_text()) | {"salts": []}))
    message.write_bytes(MESSAGE)
    auditor.fail(1, "usage", "audit", "verify", no_salt, *words)
    salt = json.loads(receipts.read_text())["salts"][0]
    auditor.run("audit", "verify", no_salt, *words, "--salt", salt)


def test_batches_and_actions_of_several_inputs_are_matched_too(
    scene: tuple[Auditor, Path, Path, Path], tmp_path: Path
) -> None:
    auditor, _, message, _ = scene
    caller, kept = auditor.quorum.caller, tmp_path / "kept.json"
    suites = ("--suite", "ed25519", "--suite", "xaes-256-gcm")
    token = tmp_path / "both.regen"
    caller.run("key", "create", "both", *suites, "--out", token)
    (tmp_path / "aad").write_bytes(b"for alice")
    words = ("--aad-file", tmp_path / "aad", "--out", tmp_path / "sealed", "--receipts", kept)
    caller.run("encrypt", token, message, *words)
    inputs = ["--input", message, "--input", tmp_path / "aad"]
    auditor.run("audit", "verify", kept, *inputs)
    auditor.fail(2, "receipt-invalid", "audit", "verify", kept, *inputs[2:], *inputs[:2])
    auditor.fail(2, "receipt-invalid", "audit", "verify", kept, "--message", message)
    auditor.fail(1, "usage", "audit", "verify", kept, "--message", message, *inputs)

    files = [tmp_path / name for name in ("a", "b", "c")]
    for file in files:
        file.write_text(file.name)
    (tmp_path / "out").mkdir()
    caller.run("sign", token, *files, "--out-dir", tmp_path / "out", "--receipts", kept, "--force")
    for place, file in enumerate(files):
        (found,) = auditor.run("audit", "verify", kept, "--message", file, "--json").json["receipts"]
        assert found["matched"] == place and len(found["operations"]) == 3
    auditor.fail(2, "receipt-invalid", "audit", "verify", kept, "--message", message)


def test_receipts_of_strangers_and_changed_ones_prove_nothing(
    scene: tuple[Auditor, Path, Path, Path], tmp_path: Path
) -> None:
    auditor, _, _, receipts = scene
    agents = (auditor.home / "quorum.toml").read_text().split("\n\n")
    fewer = tmp_path / "fewer.toml"
    contributed = {row["agent"] for row in json.loads(receipts.read_text())["receipts"]}
    fewer.write_text("\n\n".join(a for a in agents if not any(c in a for c in list(contributed)[:1])))
    auditor.fail(2, "receipt-invalid", "audit", "verify", receipts, "--agents", fewer)

    document = json.loads(receipts.read_text())
    data = bytearray(base64.b64decode(document["receipts"][0]["receipt"]))
    data[len(data) // 2] ^= 1
    document["receipts"][0]["receipt"] = base64.b64encode(data).decode()
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(document))
    assert auditor.try_("audit", "verify", changed).status in (1, 2)
    changed.write_text("{}")
    auditor.fail(1, "bad-input", "audit", "verify", changed)


def test_a_rewritten_log_is_found_by_receipts_and_reconciling(
    scene: tuple[Auditor, Path, Path, Path], quorum: Quorum
) -> None:
    auditor, _, message, receipts = scene
    logs = auditor.export()
    row = _first(receipts)
    name = next(name for name, agent in quorum.agents.items() if agent.id == row["agent"])
    auditor.run("audit", "verify", receipts, "--log", logs[name])
    bundle = max((logs[name] / "tile" / "entries").rglob("*"), key=lambda p: p.stat().st_mtime if p.is_file() else 0)
    whole = bundle.read_bytes()
    bundle.write_bytes(whole.replace(b"audited", b"AUDITED"))
    auditor.fail(2, "log-invalid", "audit", "search", logs[name])
    auditor.fail(2, "log-invalid", "audit", "reconcile", logs[name], "--seen", receipts)
    bundle.write_bytes(whole)
    auditor.run("audit", "search", logs[name])

    # Tiles that were changed prove nothing, even where only they are asked.
    for tile in (logs[name] / "tile" / "0").rglob("*"):
        if tile.is_file():
            tile.write_bytes(bytes(b ^ 1 for b in tile.read_bytes()))
    auditor.fail(2, "log-invalid", "audit", "verify", receipts, "--log", logs[name], "--message", message)


def test_searching_exported_and_live_logs_finds_the_same(scene: tuple[Auditor, Path, Path, Path]) -> None:
    auditor, token, _, _ = scene
    logs = auditor.export()
    wanted = json.loads(auditor.quorum.caller.run("inspect", token, "--json", "--trust-token").out)["token"]
    words = ("--token", wanted, "--action", "sign", "--code", "done", "--json")
    exported = auditor.run("audit", "search", auditor.home / "logs", *words).json
    assert exported["found"] == 2 and len(exported["logs"]) == 3
    live = [auditor.quorum.agents[name].folder for name in logs]
    assert auditor.run("audit", "search", *live, *words).json["entries"] == exported["entries"]
    assert auditor.run("audit", "search", *live, *words, "--until", "2020-01-01").json["found"] == 0
    assert auditor.run("audit", "search", *live, *words, "--since", "2020-01-01").json["found"] == 2
    auditor.fail(1, "usage", "audit", "search", *live, "--since", "yesterday")
    assert {log["signature"] for log in exported["logs"]} == {"not checked"}
    (first, keys) = (next(iter(logs)), [logs[name] / "vkey" for name in logs])
    given = [word for key in keys for word in ("--log-key", key)]
    checked = auditor.run("audit", "search", auditor.home / "logs", *words, *given).json
    assert {log["signature"] for log in checked["logs"]} == {"good"}
    checkpoint = logs[first] / "checkpoint"
    body, signature = checkpoint.read_text().split("\n\n")
    name, blob = signature.rsplit(" ", 1)
    forged = bytearray(base64.b64decode(blob))
    forged[20] ^= 1
    checkpoint.write_text(f"{body}\n\n{name} {base64.b64encode(forged).decode()}\n")
    auditor.fail(2, "log-invalid", "audit", "search", auditor.home / "logs", *given)
    auditor.fail(1, "not-found", "audit", "search", auditor.home)
    table = auditor.run("audit", "search", *live, "--token", wanted).out.decode()
    assert "sign ed25519" in table and "audited" in table


def test_reconciling_names_what_either_side_has_too_much_of(
    scene: tuple[Auditor, Path, Path, Path], quorum: Quorum
) -> None:
    auditor, token, message, receipts = scene
    other = quorum.newcomer(f"other-{token.parent.name}")
    quorum.admit(f"other-{token.parent.name}"[:60], other)
    seen = receipts.parent / "other.json"
    signed = ("sign", token, message, "--trust-token", "--out")
    other.run(*signed, receipts.parent.parent / "s1", "--receipts", seen)
    logs = auditor.export()
    at = auditor.home / "logs"
    agree = auditor.run("audit", "reconcile", at, "--seen", seen, "--json").json
    assert agree["agree"] and agree["matched"] == 2 and not agree["beyond"]

    # An operation under the same identity that the caller does not know of.
    other.run(*signed, receipts.parent.parent / "s2")
    auditor.export()
    surplus = auditor.try_("audit", "reconcile", at, "--seen", seen, "--json")
    assert surplus.status == 2
    assert len(surplus.json["unseen"]) == 2 and not surplus.json["missing"]
    words = auditor.try_("audit", "reconcile", at, "--seen", seen)
    assert b"no receipt is of" in words.out

    # A receipt from beyond what was exported.
    other.run(*signed, receipts.parent.parent / "s3", "--receipts", receipts.parent / "late.json")
    beyond = auditor.try_("audit", "reconcile", at, "--seen", receipts.parent / "late.json", "--json").json
    assert len(beyond["beyond"]) == 2 and beyond["matched"] == 0
    assert all("ends at entry" in each["why"] for each in beyond["beyond"])
    assert logs


def test_a_thief_who_asks_again_under_a_digest_of_the_callers_is_named(
    scene: tuple[Auditor, Path, Path, Path], quorum: Quorum, tmp_path: Path
) -> None:
    auditor, token, message, _ = scene
    name = tmp_path.name[-40:]
    other = quorum.newcomer(name)
    quorum.admit(name, other)
    kept, at = tmp_path / "seen.json", auditor.home / "logs"
    asked = other.run("request", token, message, "--trust-token", "--json").json["id"]
    # Whoever has a copy of the request has its salt, and so its digest.
    (marker,) = (path.parent / "done" for path in other.home.rglob("request.json"))
    first, second, third = quorum.agents

    def perform(without: str, *words: str | Path) -> None:
        with quorum.without(without):
            quorum.tell(other)
            other.run("wait", asked, "--timeout", "5", "--out", tmp_path / "out", "--force", *words)
        marker.unlink()

    def compare(*words: str | Path) -> dict[str, Any]:
        auditor.export()
        return dict(auditor.try_("audit", "reconcile", at, "--seen", kept, "--json", *words).json)

    perform(third, "--receipts", kept)
    agree = compare()
    assert agree["agree"] and agree["matched"] == 2 and not agree["unanswered"]

    # Of one agent's entry nobody can tell whose it is: it could be a hedge. Of the other's, the caller has the answer.
    perform(first)
    ids = {name: agent.id for name, agent in quorum.agents.items()}
    found = compare()
    assert not found["agree"]
    assert [each["agent"] for each in found["unseen"]] == [ids[second]]
    assert [each["agent"] for each in found["unanswered"]] == [ids[third]]
    # And a second one there is one too many: one operation was seen.
    perform(second)
    found = compare()
    assert sorted(each["agent"] for each in found["unseen"]) == sorted(ids.values())
    assert [each["agent"] for each in found["unanswered"]] == [ids[third]]
    # What is kept twice is not two operations.
    shutil.copy(kept, tmp_path / "again.json")
    assert len(compare("--seen", tmp_path / "again.json")["unseen"]) == 3

    # Nor is it an answer that came late if it comes at another time altogether.
    (loaded,), logs = load(kept), open_all([at])
    for hours, late in ((0, 1), (-1, 0), (1, 0)):
        moved = [{**entry, "time": entry["time"] + hours * 3_600_000} for entry in loaded.entries]
        assert len(reconcile([replace(loaded, entries=tuple(moved))], logs).unanswered) == late


def test_seats_and_orders_that_the_caller_did_not_give_are_named(
    scene: tuple[Auditor, Path, Path, Path], quorum: Quorum, tmp_path: Path
) -> None:
    auditor, _, _, _ = scene
    name = tmp_path.name[-40:]
    other = quorum.newcomer(name)
    quorum.admit(name, other)
    seen, at = tmp_path / "all", auditor.home / "logs"
    seen.mkdir()
    token = tmp_path / "mine.regen"

    def do(kept: str | None, *words: str | Path) -> None:
        other.run("key", *words, *(() if kept is None else ("--receipts", seen / kept)))

    def compare() -> dict[str, Any]:
        auditor.export()
        return dict(auditor.try_("audit", "reconcile", at, "--seen", seen, "--json").json)

    do("create", "create", "mine", "--suite", "ed25519", "--out", token)
    do("freeze", "freeze", token)
    do("thaw", "thaw", token)
    do("refresh", "refresh", token, "--retire-old")
    do("revoke", "revoke", token, "--yes")
    agree = compare()
    assert agree["agree"], agree
    # Three agents were seated, told of three orders, seated anew and told to retire; two at least opened each time.
    assert agree["matched"] >= 3 + 9 + 2 + 3 + 2 + 3
    # Each of these openings is evidence by itself.
    proven = auditor.run("audit", "verify", seen / "refresh", "--json").json["receipts"]
    assert [(each["verb"], [one["action"] for one in each["operations"]]) for each in proven] == [
        ("contribute", ["reshare"]),
        ("seat", []),
        ("contribute", ["open"]),
        ("retire", ["retire"]),
    ]
    # So is that the old token was retired, and another by its own verb: with the salt, what was asked can be shown.
    spare = tmp_path / "spare.regen"
    do("spare", "create", "spare", "--suite", "ed25519", "--out", spare)
    do("retire", "retire", spare, "--yes")
    for kept in (*load(seen / "refresh"), *load(seen / "retire")):
        for action, suite, digest in kept.operations:
            if action == "retire":
                (salt,) = kept.salts
                assert input_digest(salt, action, suite, []).hex() == digest
    other.fail(1, "exists", "key", "revoke", token, "--yes", "--receipts", seen / "revoke")

    # Whoever has the identity mints, and freezes what it minted.
    do(None, "create", "theirs", "--suite", "ed25519", "--out", tmp_path / "theirs.regen")
    do(None, "freeze", tmp_path / "theirs.regen")
    found = compare()
    assert not found["agree"]
    assert (
        sorted((each["verb"], each["key_name"]) for each in found["unseen"])
        == [("order", "theirs")] * 3 + [("seat", "theirs")] * 3
    )
    assert not found["missing"]


def test_a_witness_signs_what_has_grown_and_nothing_else(scene: tuple[Auditor, Path, Path, Path]) -> None:
    auditor, token, message, receipts = scene
    name = next(n for n, a in auditor.quorum.agents.items() if a.id == _first(receipts)["agent"])
    log = auditor.export()[name]
    vkey = (log / "vkey").read_text().strip()
    old = auditor.home / "old"
    shutil.copytree(log, old)
    key = auditor.home / "witness.key"
    look = ("audit", "witness", "--key", key, "--name", "witness.example/w1")
    auditor.fail(1, "usage", *look, "--create-key", log)
    made = auditor.run(*look, log, "--log-key", vkey, "--json").json
    assert made["before"] == 0 and made["size"] > 0
    again = auditor.run(*look, log / "checkpoint", "--json").json
    assert again["before"] == again["size"] == made["size"]
    words = ("audit", "verify", receipts, "--log", log, "--require-witnesses", "1", "--witness")
    others = [auditor.home / "logs" / n for n in auditor.quorum.agents if n != name]
    (found,) = auditor.run(*words, made["vkey"], "--json").json["receipts"]
    standing = next(w["standing"] for w in found["agents"] if w["name"] == name)
    assert [each[0] for each in standing["witnesses"]] == ["witness.example/w1"]
    auditor.fail(2, "log-invalid", *words, made["vkey"], "--log", others[0], "--log", others[1])

    auditor.quorum.caller.run("sign", token, message, "--out", auditor.home / "sig")
    auditor.quorum.caller.run("sign", token, message, "--out", auditor.home / "sig2")
    auditor.export()
    grown = auditor.run(*look, log, "--json").json
    assert grown["before"] == made["size"]
    if grown["size"] > grown["before"]:
        auditor.fail(2, "log-invalid", *look, old)
    checkpoint = (log / "checkpoint").read_text()
    assert checkpoint.count("witness.example/w1") == 1

    # A fork, as far as a witness can tell: what it remembers is not what the tiles lead to.
    state = auditor.home / "witness.json"
    remembered = json.loads(state.read_text())
    for row in remembered.values():
        row["root"] = "00" * 32
    state.write_text(json.dumps(remembered))
    auditor.fail(2, "log-invalid", *look, log)
    assert (log / "checkpoint").read_text() == checkpoint
    state.write_text("{}x")
    auditor.fail(1, "config", *look, log)


def test_a_cosignature_verifies_with_openssl_alone(scene: tuple[Auditor, Path, Path, Path], tmp_path: Path) -> None:
    """What is signed is what C2SP tlog-cosignature says, and nothing of ours is needed to see it."""
    auditor, _, _, _ = scene
    log = next(iter(auditor.export().values()))
    look = ("audit", "witness", "--key", tmp_path / "w.key", "--create-key", "--name", "w2", "--state", tmp_path / "st")
    made = auditor.run(*look, log, "--log-key", log / "vkey", "--json").json
    body, signatures = (log / "checkpoint").read_text().split("\n\n")
    line = next(line for line in signatures.splitlines() if line.startswith("\N{EM DASH} w2 "))
    blob = base64.b64decode(line.split(" ")[2])
    when = int.from_bytes(blob[4:12])
    (tmp_path / "signed").write_text(f"cosignature/v1\ntime {when}\n{body}\n")
    (tmp_path / "signature").write_bytes(blob[12:])
    key = base64.b64decode(made["vkey"].split("+", 2)[2])[1:]
    (tmp_path / "public").write_bytes(bytes.fromhex("302a300506032b6570032100") + key)
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", tmp_path / "public"]
    command += ["-in", tmp_path / "signed", "-sigfile", tmp_path / "signature"]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def test_seats_count_for_those_who_sit_there(scene: tuple[Auditor, Path, Path, Path], quorum: Quorum) -> None:
    """Another token of this id, as far as ids go: its rows name other agents, and one receipt is no quorum."""
    auditor, token, _, receipts = scene
    (found,) = auditor.run("audit", "verify", receipts, "--token", token, "--json").json["receipts"]
    assert found["sufficient"]
    document = json.loads(receipts.read_text())
    one = receipts.with_name("one.json")
    one.write_text(json.dumps(document | {"receipts": document["receipts"][:1]}))
    (found,) = auditor.run("audit", "verify", one, "--token", token, "--json").json["receipts"]
    assert found["sufficient"] is False
    assert "no sufficient set" in auditor.run("audit", "verify", one, "--token", token).err
    moved = receipts.with_name("moved.regen")
    data = token.read_bytes()
    ids = [bytes.fromhex(agent.id) for agent in quorum.agents.values()]
    for held, other in zip(ids, ids[1:] + ids[:1], strict=True):
        data = data.replace(held, other[::-1])
    for other in ids:
        data = data.replace(other[::-1], other)
    moved.write_bytes(data)
    (found,) = auditor.run("audit", "verify", receipts, "--token", moved, "--json").json["receipts"]
    assert found["sufficient"] is False and found["policy"] == POLICY
    assert "gives to others" in auditor.run("audit", "verify", receipts, "--token", moved).err


def test_an_agent_restored_from_a_copy_contradicts_itself(tmp_path: Path) -> None:
    with Quorum(tmp_path / "one", count=1) as alone:
        (agent,) = alone.agents.values()
        token = tmp_path / "token.regen"
        alone.caller.run("key", "create", "k", "--suite", "ed25519", "--out", token)
        agent.end()
        shutil.copytree(agent.folder / "log", tmp_path / "copy")
        receipts = [tmp_path / "first.json", tmp_path / "second.json"]
        auditor = Machine(tmp_path / "auditor")
        alone.tell(auditor)
        exported = tmp_path / "exported"
        for kept in receipts:
            shutil.rmtree(agent.folder / "log")
            shutil.copytree(tmp_path / "copy", agent.folder / "log")
            agent.start()
            alone.tell(alone.caller)
            alone.caller.run("sign", token, "-m", kept.name, "--out", tmp_path / kept.stem, "--receipts", kept)
            agent.end()
            if kept == receipts[0]:
                auditor.run("agent", "log", "export", agent.folder, exported)
        for kept in receipts:
            auditor.run("audit", "verify", kept)
        forked = auditor.fail(2, "log-invalid", "audit", "verify", *receipts)
        assert "signed two logs" in forked.error["message"]
        auditor.run("audit", "verify", receipts[0], "--log", exported)
        auditor.fail(2, "log-invalid", "audit", "verify", receipts[1], "--log", exported)
        missing = auditor.try_("audit", "reconcile", agent.folder, "--seen", receipts[0], "--json")
        assert missing.status == 2 and len(missing.json["missing"]) == 1
        before = (exported / "checkpoint").read_text()
        auditor.fail(2, "log-invalid", "agent", "log", "export", agent.folder, exported)
        assert (exported / "checkpoint").read_text() == before
        agent.start()
