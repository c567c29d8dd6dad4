"""The runner judged: by the published vectors, by what it writes itself, and by wrong answers it must catch.

What the product writes is opened by the second implementation (`independent`), which the published
vectors hold true in turn.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import check as runner
import independent
import independent_suites
import pytest
from shapes import SHAPES
from vectors import Case, read, write

from evanesce import _core

CHECK = Path(__file__).with_name("check.py")
REPOSITORY = CHECK.parents[2]
SHARED = Path(os.environ.get("EVANESCE_SHARED") or REPOSITORY)
PUBLISHED = SHARED / "vectors" / "tokens.json"
MINUTES = 300


def check(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the runner as a user would, from another folder and with `folder` for temporary files."""
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, str(CHECK), *map(str, arguments)],
        cwd="/",
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=MINUTES,
    )


def last_line(ran: subprocess.CompletedProcess[str]) -> str:
    return ran.stdout.splitlines()[-1]


def processes_in(folder: Path) -> list[int]:
    """Processes whose command line names something in `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.fsencode(folder) in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it has just ended
            continue
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A file of freshly minted vectors for each shape."""
    target = tmp_path_factory.mktemp("written")
    ran = check(tmp_path_factory.mktemp("work"), "--write", target)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert last_line(ran) == f"{len(SHAPES)} passed, 0 failed"
    return sorted(target.iterdir())


def opened(case: Case) -> tuple[independent.Token, bytes]:
    """The case's token and seed, by the second implementation from the answering agents' roots."""
    token = independent.Token.decode(case.token)
    roots = {agent.id: dict(agent.roots) for agent in case.agents if agent.name in case.answering}
    return token, independent.open_seed(token, roots)


def confirm(case: Case) -> int:
    """Holds every result of the case to the second implementation; how many there were."""
    token, seed = opened(case)
    assert token.id == case.token_id
    assert (
        token.public == case.public == {suite: independent_suites.public(token, seed, suite) for suite in token.public}
    )
    for agent in case.agents:
        assert independent_suites.agent_id(agent.identity) == agent.id
    for operation in case.operations:
        result = independent_suites.result(
            token, seed, operation.op, operation.suite, operation.inputs, operation.length
        )
        assert result == operation.result, f"{case.name}: {operation.op} {operation.suite}"
    return len(case.operations)


def test_the_published_vectors_pass_and_nothing_is_left_behind(tmp_path: Path) -> None:
    ran = check(tmp_path / "work", PUBLISHED)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert last_line(ran) == f"{len(read(PUBLISHED))} passed, 0 failed"
    assert list((tmp_path / "work").iterdir()) == []
    assert processes_in(tmp_path) == []


def test_the_second_implementation_agrees_with_the_published_vectors() -> None:
    confirmed = 0
    for case in read(PUBLISHED):
        try:
            independent.Token.decode(case.token)
        except independent.Malformed:
            assert case.error is not None and "malformed" in case.error, case.name
            continue
        assert case.error != {"malformed"}, case.name
        if case.error is None:
            confirmed += confirm(case)
    assert confirmed > 50


def test_written_vectors_are_of_many_shapes_and_run_again_elsewhere(written: list[Path], tmp_path: Path) -> None:
    assert len(written) >= 5
    quorums = {re.sub(r"[a-z][a-z0-9-]*(?=[,)])", "seat", read(path)[0].name.split(": ")[1]) for path in written}
    assert len(quorums) >= 5
    ran = check(tmp_path / "work", *written)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert last_line(ran) == f"{len(written)} passed, 0 failed"


def test_another_implementation_opens_what_was_written(written: list[Path]) -> None:
    for path in written:
        (case,) = read(path)
        assert confirm(case) >= len(independent.Token.decode(case.token).header["suites"]), path


def mutations(case: Case) -> Iterator[tuple[str, Case]]:
    """The case with one thing wrong, and a word by which the runner must name it."""
    first, *rest = (operation for operation in case.operations if isinstance(operation.result, bytes))
    result = bytes([first.result[0] ^ 1]) + first.result[1:]  # type: ignore[index]
    wrong = dataclasses.replace(first, result=result)
    yield f"{first.op} {first.suite}", dataclasses.replace(case, operations=(wrong, *rest))
    yield "id", dataclasses.replace(case, token_id=bytes(32))
    yield "public", dataclasses.replace(case, public={})
    yield "unable to regenerate", dataclasses.replace(case, faulty=frozenset({"seat-1"}))
    yield "succeeds", dataclasses.replace(case, operations=(), error=frozenset({"refused"}))
    yield "accepted", dataclasses.replace(case, operations=(), error=frozenset({"malformed"}))
    yield "quorum-not-met", dataclasses.replace(case, answering=frozenset(sorted(case.answering)[:1]))
    yield "refused", dataclasses.replace(case, token=case.token[:-1])


def test_one_wrong_answer_fails_the_run_and_is_named(written: list[Path], tmp_path: Path) -> None:
    (case,) = read(next(path for path in written if path.stem == "flat-3-of-5"))
    expected = []
    for number, (word, wrong) in enumerate(mutations(case)):
        expected.append((f"wrong {number}", word))
        write(tmp_path / f"{number}.json", [dataclasses.replace(wrong, name=f"wrong {number}"), case])
    ran = check(tmp_path / "work", *(tmp_path / f"{number}.json" for number in range(len(expected))))
    assert ran.returncode == 1
    assert last_line(ran) == f"{len(expected)} passed, {len(expected)} failed"
    for name, word in expected:
        said = [line for line in ran.stdout.splitlines() if name in line]
        assert any(word in line for line in said), f"{name}: {said} does not say {word!r}"


def test_a_file_that_is_no_vector_file_is_a_failure_with_words(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"protocol": "evanesce/v1", "cases": [{"name": "x", "token": "zz"}]}')
    ran = check(tmp_path / "work", tmp_path / "bad.json", tmp_path / "absent.json")
    assert ran.returncode == 1
    assert last_line(ran) == "0 passed, 2 failed"
    assert "bad.json: case 0 (x)" in ran.stdout and "absent.json: cannot be read" in ran.stdout


def oddities(case: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The case as it may not be, and a word by which the runner must name why."""
    first, *rest = case["agents"]
    for epoch in ("zero", "-1", "1.5", "", "0x1", str(2**53)):
        yield "roots", case | {"agents": [first | {"roots": {epoch: "00" * 32}}, *rest]}
    for roots in (None, [], "0", {"0": 5}, {"0": "00" * 31}):
        yield "", case | {"agents": [first | {"roots": roots}, *rest]}
    yield "agents", case | {"agents": 5}
    yield "agent", case | {"agents": [None, *rest]}
    for wrong in ([{}], [None], [["agent-1"]], ["\ud800"], 5, None):
        yield "answering", case | {"answering": wrong}
    yield "faulty", case | {"faulty": [{}]}
    yield "operations", case | {"operations": 5}
    yield "operation", case | {"operations": [5]}
    yield "operation", case | {"operations": [{"op": [], "suite": "ed25519"}]}
    yield "length", case | {"operations": [case["operations"][0] | {"length": "long"}]}
    yield "length", case | {"operations": [case["operations"][0] | {"length": -1}]}
    yield "error", case | {"operations": [], "error": [{}]}
    yield "public", case | {"public": []}
    yield "policy_caller", case | {"policy_caller": 5}
    yield "policy_caller", case | {"policy_caller": ""}
    yield "token", case | {"token": None}


def test_one_odd_case_is_one_failure_and_the_rest_is_run(written: list[Path], tmp_path: Path) -> None:
    content = json.loads(next(path for path in written if path.stem == "flat-3-of-5").read_text())
    (case,) = content["cases"]
    expected = [(f"odd {number}", word, odd) for number, (word, odd) in enumerate(oddities(case))]
    cases = [case, *(odd | {"name": name} for name, _, odd in expected), 5, case | {"name": None}, case]
    (tmp_path / "odd.json").write_text(json.dumps(content | {"cases": cases}))
    ran = check(tmp_path / "work", tmp_path / "odd.json")
    assert ran.returncode == 1
    assert ran.stderr == ""
    assert last_line(ran) == f"2 passed, {len(cases) - 2} failed"
    for name, word, _ in expected:
        (said,) = (line for line in ran.stdout.splitlines() if f"({name})" in line)
        assert word in said


def test_an_agent_without_roots_holds_no_epoch(written: list[Path], tmp_path: Path) -> None:
    (case,) = read(next(path for path in written if path.stem == "flat-3-of-5"))
    case = dataclasses.replace(case, answering=frozenset(agent.name for agent in case.agents))
    seats = {holder: seat for seat, holder, _ in _core.Token.decode(case.token).rows}
    first, second, third, *rest = case.agents
    without = [dataclasses.replace(agent, roots=()) for agent in (first, second, third)]
    one = dataclasses.replace(
        case, name="one", agents=(without[0], second, third, *rest), faulty=frozenset({seats[first.id]})
    )
    three = dataclasses.replace(
        case,
        name="three",
        agents=(*without, *rest),
        operations=(),
        error=frozenset({"quorum-not-met", "token-altered"}),
        faulty=frozenset(seats[agent.id] for agent in without),
    )
    unsaid = dataclasses.replace(one, name="unsaid", faulty=frozenset())
    write(tmp_path / "rootless.json", [one, three, unsaid])
    ran = check(tmp_path / "work", tmp_path / "rootless.json")
    assert last_line(ran) == "2 passed, 1 failed", ran.stdout
    assert "unsaid" in ran.stdout
    assert f"{seats[first.id]} epoch-not-held" in ran.stdout


def test_a_case_at_which_the_runner_fails_is_one_failure(
    written: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (case,) = read(next(path for path in written if path.stem == "flat-3-of-5"))
    good = dataclasses.replace(case, name="good")
    write(tmp_path / "two.json", [dataclasses.replace(case, name="bad\n9 passed"), good])

    def run(case: Case, *_: object) -> list[str]:
        if case.name != "good":
            raise ZeroDivisionError("unforeseen")
        return []

    monkeypatch.setattr(runner, "run", run)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert runner.main([str(tmp_path / "two.json")]) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    *failed, last = capsys.readouterr().out.splitlines()
    assert last == "1 passed, 1 failed"
    (line,) = failed
    assert "ZeroDivisionError: unforeseen" in line


def test_a_runner_that_is_stopped_takes_its_agents_along(written: list[Path], tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    runner = subprocess.Popen(
        [sys.executable, str(CHECK), *map(str, written)],
        env={**os.environ, "TMPDIR": str(work)},
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not processes_in(work) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert processes_in(work), "no agent was started"
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(30) == 143
    finally:
        if runner.poll() is None:
            runner.kill()
            runner.wait()
    assert processes_in(work) == [] and list(work.iterdir()) == []
