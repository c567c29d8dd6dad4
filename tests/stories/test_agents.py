"""Agents and whom they serve: strangers, roles, second agents in a folder, wrong PINs, full disks,
hostile names."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from machines import EVANESCE, AgentMachine, Machine, Quorum

from evanesce import _core

SOFTHSM = next(
    (
        path
        for path in ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
        if Path(path).exists()
    ),
    None,
)


def test_agents_tell_how_they_are(caller: Machine, quorum: Quorum) -> None:
    told = caller.run("agent", "status", "--json").json["agents"]
    assert [agent["name"] for agent in told] == list(quorum.agents)
    for agent in told:
        assert agent["reachable"] is True
        assert agent["status"]["development"] is True
        assert agent["status"]["caller"] == "caller"
        assert set(agent["status"]["roles"]) == {"caller", "minter", "reconstructor"}
    words = caller.run("agent", "status")
    assert "development element" in words.err
    # Here the agents are on the caller's machine and have what it has.
    assert _core.memory_report()["backing"] in words.out.decode()
    with quorum.without("agent-5"):
        partly = caller.try_("agent", "status", "--json")
        assert partly.status == 1
        assert [agent["reachable"] for agent in partly.json["agents"]] == [True] * 4 + [False]
        assert partly.json["agents"][4]["problem"]


def test_a_stranger_is_refused_until_it_is_allowed(quorum: Quorum, payments: Path) -> None:
    machine = quorum.newcomer("stranger")
    refused = machine.fail(1, "identity", "sign", payments, "--suite", "ed25519", "-m", "x")
    assert refused.error["hint"]
    # Agents that run learn it at once.
    quorum.admit("stranger", machine, "caller", "reconstructor")
    deadline = time.monotonic() + 5
    while machine.try_("sign", payments, "--suite", "ed25519", "-m", "x").status != 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_minting_takes_the_minters_role(quorum: Quorum, payments: Path) -> None:
    machine = quorum.newcomer("clerk")
    quorum.admit("clerk", machine, "caller", "reconstructor")
    time.sleep(0.3)
    machine.run("sign", payments, "--suite", "ed25519", "-m", "x")
    refused = machine.fail(2, "role", "key", "create", "mine", "--suite", "ed25519")
    assert "minter" in refused.error["message"] + refused.error["hint"] + str(refused.error["culprits"])
    assert not (machine.home / "tokens/mine.regen").exists()


def test_shares_are_released_to_reconstructors_alone(quorum: Quorum, payments: Path) -> None:
    machine = quorum.newcomer("reader")
    quorum.admit("reader", machine, "caller")
    time.sleep(0.3)
    machine.fail(2, "role", "sign", payments, "--suite", "ed25519", "-m", "x")


def test_an_identity_that_is_not_there_or_not_private(quorum: Quorum, payments: Path) -> None:
    machine = quorum.newcomer("careless")
    (machine.home / "identity.key").chmod(0o644)
    failed = machine.fail(1, "identity", "sign", payments, "--suite", "ed25519", "-m", "x")
    assert "identity.key" in failed.error["message"]
    (machine.home / "identity.key").unlink()
    failed = machine.fail(1, "identity", "sign", payments, "--suite", "ed25519", "-m", "x")
    assert "identity init" in failed.error["hint"]


def test_a_folder_has_one_agent(quorum: Quorum) -> None:
    agent = quorum.agents["agent-1"]
    second = agent.admin.fail(1, "running", "agent", "run", agent.folder)
    assert str(agent.pid) in second.error["message"]
    agent.admin.fail(1, "exists", "agent", "init", agent.folder, "--name", "x", "--listen", "127.0.0.1:0")


def test_an_agent_that_prepares_nonces_on_a_virtual_machine_says_so(tmp_path: Path) -> None:
    virtual = "hypervisor" in Path("/proc/cpuinfo").read_text().split()
    agent = AgentMachine(tmp_path / "agent", "agent-1")

    def told() -> tuple[bool, bool]:
        """By the agent at its start, and by doctor."""
        agent.start()
        assert agent.end() == 0
        events = [json.loads(line)["event"] for line in agent.output().splitlines() if line.startswith("{")]
        assert "started" in events
        found = agent.admin.try_("doctor", "--agent", agent.folder, "--json").json["findings"]
        return "prepared-in-doubt" in events, any(each["what"].startswith("prepared nonces") for each in found)

    assert told() == (False, False)
    words = "no earlier state of this machine's memory is ever resumed: no snapshot, no clone, no checkpoint"
    with (agent.folder / "agent.toml").open("a") as config:
        config.write(f'\n[threshold]\nprepared = "{words}"\n')
    assert told() == (virtual, virtual)


def test_an_agent_forgets_at_once(quorum: Quorum, payments: Path) -> None:
    machine = quorum.newcomer("former")
    quorum.admit("former", machine)
    deadline = time.monotonic() + 5
    while machine.try_("sign", payments, "--suite", "ed25519", "-m", "x").status != 0:
        assert time.monotonic() < deadline
    for agent in quorum.agents.values():
        agent.admin.run("agent", "allow", agent.folder, "--name", "former", "--remove")
    deadline = time.monotonic() + 5
    while machine.try_("sign", payments, "--suite", "ed25519", "-m", "x").status == 0:
        assert time.monotonic() < deadline


def test_a_full_disk_under_the_log_stops_that_agent_only(caller: Machine, quorum: Quorum, payments: Path) -> None:
    agent = quorum.agents["agent-1"]
    largest = max(path.stat().st_size for path in agent.folder.rglob("*") if path.is_file())
    before = resource.prlimit(agent.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(agent.pid, resource.RLIMIT_FSIZE, (min(largest, 1), before[1]))
    try:
        with quorum.without("agent-4", "agent-5"):
            failed = caller.fail(1, "quorum-not-met", "sign", payments, "--suite", "ed25519", "-m", "x")
            told = {culprit["holder"]: culprit for culprit in failed.error["culprits"]}
            assert "agent-1" in told
            assert "log" in told["agent-1"]["detail"] or "log" in agent.output()
        caller.run("sign", payments, "--suite", "ed25519", "-m", "x")
    finally:
        if agent.running:
            agent.end(signal.SIGKILL)
        agent.start()
    # Nothing was lost: it starts from its log and does its part again.
    assert caller.run("check", payments, "--json").json["ok"] is True


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """A SoftHSM token called "vault": the module, and a file with its PIN."""
    if SOFTHSM is None or shutil.which("softhsm2-util") is None:
        pytest.fail("SoftHSM is missing: make test installs it")
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    words = ["softhsm2-util", "--init-token", "--free", "--label", "vault", "--so-pin", "12345678", "--pin", "240611"]
    subprocess.run(words, check=True, capture_output=True)
    pin = tmp_path / "pin"
    pin.touch(mode=0o600)
    pin.write_text("240611\n")
    return SOFTHSM, pin


def test_an_agent_with_an_hsm(hsm: tuple[str, Path], tmp_path: Path) -> None:
    module, pin = hsm
    options = ("--element", "pkcs11", "--module", module, "--token", "vault", "--pin-file", str(pin))
    with Quorum(tmp_path / "quorum", 1, options=options) as quorum:
        quorum.caller.run("key", "create", "k", "--suite", "ed25519")
        quorum.caller.run("sign", "k", "-m", "x")
        (told,) = quorum.caller.run("agent", "status", "--json").json["agents"]
        assert told["status"]["development"] is False
        assert told["status"]["weaknesses"] == []
        folder = quorum.agents["agent-1"].folder
        found = quorum.caller.try_("doctor", "--agent", folder, "--json").json["findings"]
        (probe,) = (finding for finding in found if finding["what"] == f"element of {folder}")
        assert probe["verdict"] == "ok", probe
        # Its token is another one now, or none: the agent says so.
        pin.write_text("999999\n")
        quorum.end("agent-1")
        agent = quorum.agents["agent-1"]
        wrong = agent.admin.fail(1, "element", "agent", "run", agent.folder)
        assert "PIN" in wrong.error["message"]
        assert "999999" not in wrong.out.decode() + wrong.err
        pin.write_text("240611\n")


def test_a_wrong_pin_makes_no_agent(hsm: tuple[str, Path], tmp_path: Path) -> None:
    module, pin = hsm
    pin.write_text("000000\n")
    machine = Machine(tmp_path / "admin")
    words = ("agent", "init", tmp_path / "agent", "--name", "a", "--listen", "127.0.0.1:0", "--element", "pkcs11")
    rest = ("--module", module, "--token", "vault", "--pin-file", pin)
    wrong = machine.fail(1, "element", *words, *rest)
    assert "PIN" in wrong.error["message"]
    assert "000000" not in wrong.out.decode() + wrong.err
    pin.write_text("240611\n")
    assert len(machine.run(*words, *rest, "--json").json["id"]) == 64


def test_hostile_names_do_nothing_to_a_terminal(quorum: Quorum, caller: Machine, tmp_path: Path) -> None:
    name = "pay\x1b[2J[bold red]roll[/]\u202etxt"
    policy = tmp_path / "policy"
    policy.write_text("// \x1b]0;owned\x07 [blink]\npermit (principal, action, resource);\n")
    path = tmp_path / "hostile.regen"
    created = caller.run("key", "create", name, "--suite", "ed25519", "--policy", policy, "--out", path)
    inspected = caller.run("inspect", path)
    (caller.home / "tokens").mkdir(exist_ok=True)
    shutil.copy(path, caller.home / "tokens/hostile.regen")
    try:
        listed = caller.run("key", "list")
        signed = caller.run("sign", path, "-m", "x", "--format", "hex")
    finally:
        (caller.home / "tokens/hostile.regen").unlink()
    for done in (created, inspected, listed, signed):
        for text in (done.out.decode(), done.err):
            assert not any(c in text for c in ("\x1b", "\x07", "\u202e")), done.arguments
    assert "[bold red]roll[/]" in inspected.out.decode()
    assert "[blink]" in inspected.out.decode()
    assert json.loads(caller.run("inspect", path, "--json").out)["name"] == name
    for agent in quorum.agents.values():
        assert "\x1b" not in agent.output()
        assert "\u202e" not in agent.output()


def test_readiness_is_one_json_line(tmp_path: Path) -> None:
    agent = AgentMachine(tmp_path / "agent", "solo")
    process = subprocess.Popen(
        [*EVANESCE, "agent", "run", str(agent.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ,
    )
    try:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert line["event"] == "listening"
        assert (agent.folder / "agent.addr").read_text() == line["address"] + "\n"
        assert int((agent.folder / "agent.pid").read_text()) == process.pid == line["pid"]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_three_agents_by_hand(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home")
    machine.run("identity", "init")
    processes = []
    try:
        for number in range(1, 4):
            folder = tmp_path / f"agent-{number}"
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                listen = f"127.0.0.1:{free.getsockname()[1]}"
            machine.run("agent", "init", folder, "--name", folder.name, "--listen", listen, "--register")
            roles = [word for role in ("caller", "minter", "reconstructor") for word in ("--role", role)]
            machine.run("agent", "allow", folder, "--name", "me", *roles)
            process = subprocess.Popen(
                [*EVANESCE, "agent", "run", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            processes.append(process)
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["address"] == listen
        machine.run("agent", "status")
        machine.run("key", "create", "payments", "--suite", "ed25519")
        machine.run("sign", "payments", "-m", "pay 100 to alice")
        again = machine.fail(
            1, "exists", "agent", "init", tmp_path / "other", "--name", "agent-1", "--listen", "h:1", "--register"
        )
        assert "agent-1" in again.error["message"]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
