"""`evanesce advise` at a terminal: from a file, by questions, with rules of one's own."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from pathlib import Path

from machines import EVANESCE, PATIENCE, Machine

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/workloads"


def test_a_file_of_workloads_is_judged_in_words(tmp_path: Path) -> None:
    said = Machine(tmp_path).run("advise", EXAMPLES / "typical.yaml").out.decode()
    assert "Keep your HSM." in said
    assert "Use regen." in said
    assert said.index("Excluded") < said.index("Ranking")
    for words in ("What would change the verdict", "Weaknesses of hsm", "Size of the quorum", "Σ_{k=t..n}", "https://"):
        assert words in said, words


def test_the_machine_form_has_rules_facts_and_sources(tmp_path: Path) -> None:
    told = Machine(tmp_path).run("advise", EXAMPLES / "typical.yaml", "--json").json["advice"]
    macs = told[0]
    assert macs["first"] == "hsm-regen-roots"
    assert macs["sizing"]["chosen"]["t"] == 2
    assert macs["modules"] == 11
    cited = {fact["id"]: fact for fact in macs["facts"]}
    for ranked in macs["ranking"]:
        for because in ranked["because"]:
            assert because["rule"]
            assert set(because["facts"]) <= set(cited)
    assert all(fact["source"] and fact["date"] for fact in cited.values())


def test_rules_and_facts_are_printed_changed_and_used(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    rules, facts = tmp_path / "rules.yaml", tmp_path / "facts.yaml"
    rules.write_bytes(machine.run("advise", "--show-rules").out)
    facts.write_bytes(machine.run("advise", "--show-facts").out)
    one = tmp_path / "one.yaml"
    text = (EXAMPLES / "typical.yaml").read_text()
    one.write_text("workloads:\n" + text[text.index("  - name: pin-keys") : text.index("  # A digital-asset")])
    mine = ("advise", one, "--rules", rules, "--facts", facts, "--json")
    assert machine.run(*mine).json == machine.run("advise", one, "--json").json
    assert machine.run(*mine).json["advice"][0]["verdict"] == "Keep your HSM."
    rules.write_text(rules.read_text().replace("certification: {has-any: [pci-pin]}", "rate: {above: 1000000}"))
    assert machine.run(*mine).json["advice"][0]["first"] == "regen-on-hsms"
    rules.write_text(rules.read_text().replace("existing: {is: hsm}", "existing: {is: hms}", 1))
    error = machine.fail(1, "config", *mine[:-1]).error
    assert "rules.yaml, line " in error["message"]
    assert "'hms'" in error["message"]


def test_without_a_file_it_asks_at_a_terminal_and_asks_again(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*EVANESCE, "advise"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"EVANESCE_HOME": str(tmp_path), "TERM": "dumb"},
    )
    os.close(theirs)
    seen = b""
    answers = {b"must be one of ed25519": b"ed25519", b"A name": b"mine", b"With which algorithm": b"ed255"}
    answers |= {b"independent of one another": b"3", b"At how many sites": b"3", b"changed to": b"new-build"}
    deadline = time.monotonic() + PATIENCE
    asked = b""
    while process.poll() is None and time.monotonic() < deadline:
        try:
            more = os.read(ours, 4096)
        except OSError:
            break
        seen += more
        asked += more
        if asked.rstrip().endswith(b"]:"):
            given = next((value for words, value in answers.items() if words in asked), b"")
            os.write(ours, given + b"\n")
            asked = b""
    out, _ = process.communicate(timeout=PATIENCE)
    os.close(ours)
    assert process.returncode == 0, seen
    assert b"must be one of ed25519" in seen
    # Ed25519 and three operators: shares could sign, and nonces for it be prepared.
    assert b"May nonces be prepared" in seen
    assert "Use regen." in out.decode(), out


def test_a_file_and_json_are_asked_for_together(tmp_path: Path) -> None:
    assert "questions and --json" in Machine(tmp_path).fail(1, "usage", "advise").error["hint"]
