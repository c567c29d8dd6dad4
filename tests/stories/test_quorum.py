"""A quorum signs, goes on without two, refuses without three, and recovers by signing."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machines import Machine, Quorum

from evanesce import Client, QuorumError, Token, verify


def sign(machine: Machine, token: Path | str) -> dict[str, object]:
    found: dict[str, object] = machine.run("sign", token, "--suite", "ed25519", "-m", "hello", "--json").json
    return found


def test_a_quorum_signs_and_its_receipts_say_who(caller: Machine, quorum: Quorum, payments: Path) -> None:
    with Client(caller.home) as client:
        token = Token.load(payments, home=caller.home)
        signature = client.sign(token, b"hello", "ed25519")
        verify(token, b"hello", signature)
        entries = {receipt.agent: receipt.verify() for receipt in signature.receipts}
    assert len(entries) >= 3
    assert set(entries) <= {agent.id for agent in quorum.agents.values()}
    for entry in entries.values():
        assert entry["token"] == token.id
        assert entry["caller_name"] == "caller"
        assert entry["operations"][0]["action"] == "sign"
        assert entry["development" if "development" in entry else "element"]


def test_it_goes_on_with_two_dead_and_refuses_with_three(caller: Machine, quorum: Quorum, payments: Path) -> None:
    with quorum.without("agent-1", "agent-4"):
        sign(caller, payments)
        with quorum.without("agent-2", how=signal.SIGKILL):
            start = time.monotonic()
            refused = caller.fail(1, "quorum-not-met", "sign", payments, "--suite", "ed25519", "-m", "hello")
            assert time.monotonic() - start < 6
            named = {culprit["holder"] for culprit in refused.error["culprits"]}
            assert {"agent-1", "agent-2", "agent-4"} <= named
            assert {c["kind"] for c in refused.error["culprits"]} == {"unreachable"}
            assert refused.error["hint"]
            words = caller.try_("sign", payments, "--suite", "ed25519", "-m", "hello")
            assert words.status == 1
            assert words.out == b""
            assert "agent-2: unreachable" in words.err
            assert "What to do:" in words.err
    sign(caller, payments)


def test_silent_agents_do_not_cost_the_operation(caller: Machine, quorum: Quorum, payments: Path) -> None:
    token = Token.load(payments, home=caller.home)
    with Client(caller.home, deadline=20) as client:
        for _ in range(20):
            client.sign(token, b"warm", "ed25519")
        quorum.agents["agent-1"].process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
        quorum.agents["agent-2"].process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
        try:
            start = time.monotonic()
            for _ in range(2):
                client.sign(token, b"hello", "ed25519")
            # Nobody waited for them until the deadline.
            assert time.monotonic() - start < 10
        finally:
            quorum.agents["agent-1"].process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
            quorum.agents["agent-2"].process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]


def test_three_silent_agents_are_named_within_the_deadline(caller: Machine, quorum: Quorum, payments: Path) -> None:
    silent = ["agent-1", "agent-2", "agent-3"]
    token = Token.load(payments, home=caller.home)
    with Client(caller.home) as client:
        client.sign(token, b"warm", "ed25519")
        for name in silent:
            quorum.agents[name].process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
        try:
            start = time.monotonic()
            with pytest.raises(QuorumError) as caught:
                client.sign(token, b"hello", "ed25519", deadline=0.5)
            assert time.monotonic() - start < 5
            assert set(silent) <= {culprit.holder for culprit in caught.value.culprits}
        finally:
            for name in silent:
                quorum.agents[name].process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]


def test_on_a_new_machine_the_next_signature_is_the_recovery(quorum: Quorum, payments: Path) -> None:
    machine = quorum.newcomer("new-machine")
    quorum.admit("new-machine", machine)
    shutil.copy(payments, machine.home / "payments.regen")
    assert sorted(path.name for path in machine.home.iterdir()) == ["identity.key", "payments.regen", "quorum.toml"]
    made = sign(machine, "payments.regen")
    assert made["signature"]
    assert machine.run("check", "payments.regen", "--open", "--json").json["ok"] is True


def test_agents_killed_and_restarted_in_mid_traffic_harm_no_signature(
    caller: Machine, quorum: Quorum, payments: Path
) -> None:
    token = Token.load(payments, home=caller.home)
    stop = threading.Event()
    good: list[int] = []
    failures: list[BaseException] = []

    def traffic() -> None:
        message = b"traffic"
        while not stop.is_set():
            try:
                verify(token, message, client.sign(token, message, "ed25519"))
                good.append(1)
            except BaseException as e:
                failures.append(e)

    with Client(caller.home) as client:
        threads = [threading.Thread(target=traffic) for _ in range(4)]
        for thread in threads:
            thread.start()
        for name in ("agent-5", "agent-2", "agent-5"):
            time.sleep(0.3)
            quorum.end(name, how=signal.SIGKILL)
            time.sleep(0.3)
            quorum.start(name)
        time.sleep(0.3)
        stop.set()
        for thread in threads:
            thread.join(10)
    assert len(good) > 50
    assert failures == []
    # What was killed can do its part again, and its log goes on.
    assert caller.run("check", payments, "--json").json["ok"] is True


def test_sigterm_ends_an_agent_gracefully(caller: Machine, quorum: Quorum, payments: Path) -> None:
    agent = quorum.agents["agent-3"]
    assert agent.end() == 0
    assert not (agent.folder / "agent.addr").exists()
    assert not (agent.folder / "agent.pid").exists()
    agent.start()
    sign(caller, payments)


def test_check_says_what_each_seat_can_do(caller: Machine, quorum: Quorum, payments: Path) -> None:
    found = caller.run("check", payments, "--open", "--json").json
    assert found["ok"] is True
    assert found["opened"] is True
    assert [seat["verdict"] for seat in found["seats"]] == ["ok"] * 5
    with quorum.without("agent-2"):
        partly = caller.try_("check", payments, "--json")
        assert partly.status == 1
        verdicts = {seat["holder"]: seat["verdict"] for seat in partly.json["seats"]}
        assert verdicts.pop("agent-2") == "unreachable"
        assert set(verdicts.values()) == {"ok"}
        words = caller.try_("check", payments)
        assert "4 of 5 seats" in words.err
        assert b"unreachable" in words.out


def test_a_check_that_cannot_open_says_why_and_shows_every_seat_all_the_same(
    caller: Machine, quorum: Quorum, payments: Path
) -> None:
    with quorum.without("agent-1", "agent-2", "agent-3"):
        found = caller.fail(1, "quorum-not-met", "check", payments, "--open").json
        assert found["opened"] is False
        assert [seat["verdict"] for seat in found["seats"]].count("ok") == 2
        words = caller.try_("check", payments, "--open")
        assert words.status == 1
        assert "2 of 5 seats" in words.err
        assert "What to do" in words.err
        assert b"agent-4" in words.out


def one_signature(client: Client, token: Token) -> object:
    return client.sign(token, b"hello", "ed25519")


def many_signatures(client: Client, token: Token) -> object:
    return client.sign_each([(token, b"hello")] * 10, "ed25519")


def many_macs(client: Client, token: Token) -> object:
    return client.mac_each([(token, b"hello")] * 10, "hmac-sha256")


@pytest.fixture
def heard() -> Iterator[None]:
    """What a shell starts in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("call", [one_signature, many_signatures, many_macs])
def test_ctrl_c_is_heard_while_a_call_waits(
    caller: Machine, quorum: Quorum, payments: Path, call: Callable[[Client, Token], object]
) -> None:
    token = Token.load(payments, home=caller.home)
    silent = ["agent-1", "agent-2", "agent-3"]
    with Client(caller.home, deadline=20) as client:
        client.sign(token, b"warm", "ed25519")
        for name in silent:
            quorum.agents[name].process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
        interrupt = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        try:
            interrupt.start()
            start = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                call(client, token)
            assert time.monotonic() - start < 10
        finally:
            interrupt.join()
            for name in silent:
                quorum.agents[name].process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
        # What was given up harms nothing that follows.
        assert call(client, token)


def test_a_quorum_as_people_write_it(caller: Machine, quorum: Quorum) -> None:
    created = caller.run(
        "key", "create", "board", "--suite", "ed25519",
        "--quorum", "2 of (ceo, 2 of (board-1, board-2, board-3))",
        "--seat", "ceo=agent-1", "--seat", "board-1=agent-2", "--seat", "board-2=agent-3", "--seat", "board-3=agent-4",
        "--json",
    ).json  # fmt: skip
    assert created["quorum"] == "2 of (ceo, 2 of (board-1, board-2, board-3))"
    caller.run("sign", "board", "-m", "x")
    with quorum.without("agent-2"):
        caller.run("sign", "board", "-m", "x")
    with quorum.without("agent-1"):
        refused = caller.fail(1, "quorum-not-met", "sign", "board", "-m", "x")
        assert [(c["seat"], c["holder"]) for c in refused.error["culprits"]] == [("ceo", "agent-1")]


def test_too_few_because_of_refusals_exits_as_a_refusal(caller: Machine, quorum: Quorum) -> None:
    caller.run("key", "create", "half-retired", "--suite", "ed25519")
    with quorum.without("agent-1", "agent-2"):
        assert caller.try_("key", "retire", "half-retired", "--yes", "--json").json["dead"] is True
    refused = caller.fail(2, "quorum-not-met", "sign", "half-retired", "-m", "x")
    assert {culprit["kind"] for culprit in refused.error["culprits"]} == {"refused"}
    # One that cannot be asked might have agreed.
    with quorum.without("agent-5"):
        unmet = caller.fail(1, "quorum-not-met", "sign", "half-retired", "-m", "x")
        assert {culprit["kind"] for culprit in unmet.error["culprits"]} == {"refused", "unreachable"}


def test_a_mint_with_an_agent_down_names_it_and_leaves_nothing(caller: Machine, quorum: Quorum) -> None:
    with quorum.without("agent-4"):
        failed = caller.fail(1, "quorum-not-met", "key", "create", "halfway", "--suite", "ed25519")
        assert "agent-4" in {culprit["holder"] for culprit in failed.error["culprits"]}
    assert not (caller.home / "tokens/halfway.regen").exists()
    assert "halfway" not in (caller.home / "pins").read_text()
