"""Agents whose roots are in PKCS#11 tokens: SoftHSM, with nothing weak, and NSS softokn, weak and so named.

The published vectors bring their roots, which a test tool imports. The runner judges what every status and
every receipt says of the elements; that it would notice is shown here, and so are the other places where a
weakness must be named.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from agents import Fleet, write_identity
from elements import NSS, SOFTHSM, ElementFailed, Kind, import_tool
from running import ANY_CALLER, reconstructor, run
from test_conformance import PUBLISHED, check, last_line, processes_in
from vectors import Agent, Case, read

from evanesce import _core
from evanesce.home import Agent as Entry

EVANESCE = (sys.executable, "-m", "evanesce")
ACCEPT = "accept_weak_element = true\n"


@dataclasses.dataclass(frozen=True)
class Scene:
    """A case of the published vectors with its agents running, and the identity of the caller they know."""

    case: Case
    fleet: Fleet
    caller: Path

    @property
    def agent(self) -> Agent:
        return self.case.agents[0]

    @property
    def folder(self) -> Path:
        return self.fleet.folder(self.agent)

    def evanesce(self, *arguments: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
        """The command line, beside the first agent's element."""
        environment = self.fleet.environment(self.agent) | {"EVANESCE_HOME": str(home)}
        command = [*EVANESCE, *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    def probe(self, folder: Path | None = None) -> dict[str, Any]:
        """What the core says of the first agent's element, as `folder` has it, in a process of its own: a module
        can be started in one way only."""
        code = (
            "import json, sys\nfrom evanesce import _core\n"
            "try: print(json.dumps(_core.element_probe(sys.argv[1])))\n"
            "except _core.CoreError as e: print(json.dumps({'code': e.code, 'message': e.message}))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder or self.folder)],
            env=self.fleet.environment(self.agent),
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
        probed: dict[str, Any] = json.loads(done.stdout)
        return probed


def scene(folder: Path, kind: Kind) -> Iterator[Scene]:
    kind.prepare()
    case = next(case for case in read(PUBLISHED) if case.operations and len(case.agents) == len(case.answering) == 3)
    caller = folder / "caller.key"
    _, caller_id = write_identity(caller, os.urandom(32))
    with Fleet(folder, {ANY_CALLER: caller_id}, kind) as fleet:
        fleet.addresses(case.agents)
        yield Scene(case, fleet, caller)


@pytest.fixture(scope="module")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from scene(tmp_path_factory.mktemp("softhsm"), SOFTHSM)


@pytest.fixture(scope="module")
def nss(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from scene(tmp_path_factory.mktemp("nss"), NSS)


def verbs(weaknesses: Sequence[str]) -> set[str]:
    return {weakness.partition(":")[0] for weakness in weaknesses}


def home(scene: Scene, folder: Path) -> Path:
    """A caller's home with the scene's quorum."""
    folder.mkdir(mode=0o700)
    (folder / "identity.key").touch(mode=0o600)
    (folder / "identity.key").write_bytes(scene.caller.read_bytes())
    addresses = scene.fleet.addresses(scene.case.agents)
    entries = [Entry(agent.name, agent.id.hex(), addresses[agent]) for agent in scene.case.agents]
    (folder / "quorum.toml").write_text("\n".join(entry.stanza() for entry in entries))
    return folder


def test_the_published_vectors_pass_on_softhsm_with_nothing_weak(tmp_path: Path) -> None:
    ran = check(tmp_path / "work", "--element", "softhsm", PUBLISHED)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert last_line(ran) == f"{len(read(PUBLISHED))} passed, 0 failed"
    (elements,) = (line for line in ran.stdout.splitlines() if " agents, " in line)
    assert elements.endswith(" agents, SoftHSM elements: nothing weak")
    assert processes_in(tmp_path) == [] and list((tmp_path / "work").iterdir()) == []


def test_the_published_vectors_pass_on_nss_with_its_weaknesses_named(tmp_path: Path) -> None:
    ran = check(tmp_path / "work", "--element", "nss", PUBLISHED)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert last_line(ran) == f"{len(read(PUBLISHED))} passed, 0 failed"
    elements = [line for line in ran.stdout.splitlines() if " agents, NSS elements: " in line]
    assert elements and "nothing weak" not in ran.stdout
    for line in elements:
        assert all(f"{verb}: " in line for verb in NSS.weak), line
    assert processes_in(tmp_path) == [] and list((tmp_path / "work").iterdir()) == []


def test_the_runner_notices_a_weakness_and_its_absence(softhsm: Scene, nss: Scene) -> None:
    """In statuses and in receipts: it is told that NSS must be strong, and then that SoftHSM must be weak."""
    for scene, weak in ((nss, frozenset[str]()), (softhsm, NSS.weak)):
        scene.fleet.kind, right = dataclasses.replace(scene.fleet.kind, weak=weak), scene.fleet.kind
        try:
            differences = run(scene.case, scene.fleet, {ANY_CALLER: scene.caller})
        finally:
            scene.fleet.kind = right
        statuses = [line for line in differences if line.startswith("status of ")]
        receipts = [line for line in differences if line.startswith("receipt of ")]
        operated = sum(operation.op != "verify" for operation in scene.case.operations)
        assert len(statuses) == len(scene.case.agents)
        assert len(receipts) >= 2 * operated, "2 of 3 seats answer each operation"
        assert len(differences) == len(statuses) + len(receipts), differences
        assert all("weakness" in line for line in differences)


def test_softhsm_holds_the_imported_roots_alone_and_nothing_calls_it_weak(softhsm: Scene, tmp_path: Path) -> None:
    assert not (softhsm.folder / "roots").exists()
    probed = softhsm.probe()
    assert probed["epochs"] == [epoch for epoch, _ in softhsm.agent.roots]
    assert probed["agent_id"] == softhsm.agent.id.hex()
    assert probed["weaknesses"] == probed["notes"] == [] and not probed["development"] and "SoftHSM" in probed["label"]
    caller = home(softhsm, tmp_path / "home")
    asked = softhsm.evanesce("agent", "status", home=caller)
    assert asked.returncode == 0 and "weak" not in asked.stdout + asked.stderr, asked.stdout + asked.stderr
    doctor = softhsm.evanesce("doctor", "--agent", softhsm.folder, "--json", home=caller)
    found = [finding for finding in json.loads(doctor.stdout)["findings"] if finding["what"].startswith("element ")]
    assert len(found) == 1 + len(softhsm.case.agents)
    assert {finding["verdict"] for finding in found} == {"ok"}, found


def test_accepted_weaknesses_are_named_in_status_probe_doctor_and_receipts(nss: Scene, tmp_path: Path) -> None:
    probed = nss.probe()
    named = probed["weaknesses"]
    assert verbs(named) >= NSS.weak and not probed["development"]
    # One way out each, so that none stands behind another's name.
    assert len(set(named)) == len(named) > len(verbs(named))
    assert all("," not in weakness for weakness in named), named
    client = reconstructor(nss.case, nss.fleet, {ANY_CALLER: nss.caller})
    for _, _, status, why in client.status():
        assert status is not None, why
        assert status["weaknesses"] == named
    token, suite = _signing(nss.case)
    for receipt in client.run(token, [(suite, "sign", b"message", b"", 0)]).receipts:
        assert receipt.verify()["weaknesses"] == named
    caller = home(nss, tmp_path / "home")
    asked = nss.evanesce("agent", "status", home=caller)
    doctor = nss.evanesce("doctor", "--agent", nss.folder, "--json", home=caller)
    assert asked.returncode == 0 and doctor.returncode == 1
    findings = json.loads(doctor.stdout)["findings"]
    details = [finding["detail"] for finding in findings if finding["verdict"] == "weak"]
    for weakness in named:
        for agent in nss.case.agents:
            assert _one_line(f"{agent.name}: weak element, accepted: {weakness}") in _one_line(asked.stderr)
        assert sum(detail.endswith(f": {weakness}") for detail in details) == 1 + len(nss.case.agents), details


def test_what_the_probe_could_not_try_is_a_note_and_no_weakness(nss: Scene, tmp_path: Path) -> None:
    probed = nss.probe()
    assert any(note.startswith("offered for wrapping or deriving, but not tried: ") for note in probed["notes"])
    assert not set(probed["notes"]) & set(probed["weaknesses"])
    told = nss.evanesce("doctor", "--agent", nss.folder, "--json", home=home(nss, tmp_path / "home"))
    noted = [finding for finding in json.loads(told.stdout)["findings"] if finding["verdict"] == "note"]
    # That the agents have no peers is a note too.
    found = [finding for finding in noted if not finding["what"].startswith("peers of ")]
    assert [finding["detail"] for finding in found] == [f"{probed['label']}: {note}" for note in probed["notes"]]
    assert {finding["what"] for finding in found} == {f"element of {nss.folder}"}


def test_a_weak_element_is_refused_with_its_weaknesses_unless_they_are_accepted(nss: Scene, tmp_path: Path) -> None:
    named = nss.probe()["weaknesses"]
    accepting = (nss.folder / "agent.toml").read_text()
    assert ACCEPT in accepting
    strict = tmp_path / "strict"
    shutil.copytree(nss.folder, strict, ignore=shutil.ignore_patterns("nss", "log", "agent.*", "output"))
    (strict / "agent.toml").write_text(accepting.replace(ACCEPT, ""))
    refused = nss.probe(strict)
    started = nss.evanesce("agent", "run", strict, home=tmp_path)
    assert refused["code"] == "element"
    assert started.returncode != 0 and not (strict / "agent.addr").exists()
    for weakness in named:
        assert weakness in refused["message"]
        assert _one_line(weakness) in _one_line(started.stderr)


def test_the_import_tool_refuses_a_weak_token_too_and_leaves_no_root_in_it(nss: Scene, tmp_path: Path) -> None:
    table = tomllib.loads((nss.folder / "agent.toml").read_text())["element"]
    roots = tmp_path / "roots"
    roots.touch(mode=0o600)
    roots.write_text(f"evanesce software roots v1\n7 {os.urandom(32).hex()}\n")
    options = ["--module", table["module"], "--token", table["token"], "--init-args", table["init_args"]]
    done = subprocess.run([import_tool(), *options, roots], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    for verb in NSS.weak:
        assert f"{verb}: " in done.stderr
    assert nss.probe()["epochs"] == [epoch for epoch, _ in nss.agent.roots]


def test_what_is_missing_is_named_with_how_to_get_it() -> None:
    for kind, packages in ((SOFTHSM, "softhsm2"), (NSS, "libnss3 libnss3-tools")):
        for absent in (dataclasses.replace(kind, modules=("/nowhere.so",)), dataclasses.replace(kind, tool="no-tool")):
            with pytest.raises(ElementFailed, match=f"apt-get install {packages}$"):
                absent.prepare()


def _signing(case: Case) -> tuple[_core.Token, str]:
    suite = next(operation.suite for operation in case.operations if operation.op == "sign")
    return _core.Token.decode(case.token), suite


def _one_line(text: str) -> str:
    """Without the breaks that fit a text to a terminal's width."""
    return "".join(text.split())
