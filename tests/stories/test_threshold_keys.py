"""Keys that are never put together, through the command line and both clients, at agents in processes of their own.

What they sign, OpenSSL and an independent verifier of BIP-340 accept.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from machines import Machine
from outside import accepts

from evanesce import AsyncClient, Client, EvanesceError, Request, Token, verify
from evanesce._mint import Model

SUITES = ("frost-ed25519", "frost-secp256k1-tr")
MODELS: tuple[Model, ...] = ("regen-mpc", "mpc")


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("model", MODELS)
def test_a_key_is_made_and_used_on_the_command_line(caller: Machine, tmp_path: Path, suite: str, model: Model) -> None:
    made = caller.run("key", "create", f"{model}-{suite}", "--model", model, "--suite", suite, "--json").json
    token, message, signature = Path(made["file"]), tmp_path / "message", tmp_path / "signature"
    assert made["model"] == model
    message.write_bytes(b"pay 100 to alice")
    receipts = tmp_path / "receipts"
    caller.run("sign", token, message, "--out", signature, "--receipts", receipts)
    words = ("--token", token, "--message", message)
    (found,) = caller.run("audit", "verify", receipts, *words, "--json").json["receipts"]
    assert found["verb"] == "mpc-commit" and found["sufficient"] and found["matched"] == 0, found
    loaded = Token.load(token, home=caller.home)
    assert accepts(loaded, b"pay 100 to alice", signature.read_bytes())
    assert not accepts(loaded, b"pay 900 to alice", signature.read_bytes())
    assert caller.run("verify", token, message, "--signature", signature).err
    message.write_bytes(b"pay 900 to alice")
    caller.fail(2, "invalid-signature", "verify", token, message, "--signature", signature)
    shown = caller.run("inspect", token, "--json").json
    assert shown["model"] == model and shown["suites"] == [suite]
    assert caller.run("check", token, "--json").json["seats"]


def test_both_clients_sign_and_say_what_such_a_key_does_not_do(caller: Machine) -> None:
    with Client(caller.home) as client:
        token = client.create_threshold("both", SUITES[1])
        messages = [b"%d" % number for number in range(5)]
        for message, signed in zip(messages, client.sign_many(token, messages), strict=True):
            verify(token, message, signed)
            assert accepts(token, message, signed.value)
            assert signed.receipts[0].verify()["operations"][0]["action"] == "sign"
        each = client.sign_each([(token, message) for message in messages])
        assert all(not isinstance(signed, EvanesceError) for signed in each)
        for doing in (
            lambda: client.mac(token, b"m"),
            lambda: client.refresh(token),
            lambda: client.check(token, open=True),
            lambda: client.create("x", SUITES[:1]),
            lambda: client.create_threshold("x", "ed25519"),
            lambda: client.perform(Request(token, "retire", "", client.caller_id, b"")),
        ):
            with pytest.raises(EvanesceError) as caught:
                doing()
            assert caught.value.code in ("unsupported", "unfit-operation", "bad-input")

        async def many() -> None:
            async with AsyncClient(caller.home) as asking:
                signed = await asyncio.gather(*(asking.sign(token, message) for message in messages))
            assert all(accepts(token, m, s.value) for m, s in zip(messages, signed, strict=True))

        asyncio.run(many())
        assert client.retire(token).dead
        with pytest.raises(EvanesceError) as caught:
            client.sign(token, b"m")
        assert caught.value.code == "refused" and "retired" in caught.value.culprits[0].detail


def test_the_shares_of_one_model_are_on_disk_and_those_of_the_other_nowhere(caller: Machine) -> None:
    def kept() -> int:
        with Client(caller.home) as client:
            return sum(agent.report["shares"] for agent in client.status() if agent.report)

    before = kept()
    with Client(caller.home) as client:
        client.create_threshold("nowhere", SUITES[0], "regen-mpc", quorum="2 of (agent-1, agent-2, agent-3)")
        assert kept() == before
        token = client.create_threshold("kept", SUITES[0], "mpc", quorum="2 of (agent-1, agent-2, agent-3)")
        assert kept() == before + 3
        client.revoke(token)
        assert kept() == before


def test_kept_shares_become_regenerated_ones_of_the_same_key(caller: Machine, tmp_path: Path) -> None:
    policy, message = tmp_path / "policy", tmp_path / "message"
    policy.write_text("permit(principal, action, resource);")
    message.write_bytes(b"m")
    words = ("--model", "mpc", "--suite", SUITES[1], "--policy", policy, "--json")
    old = Path(caller.run("key", "create", "turned", *words).json["file"])
    out = tmp_path / "new.regen"
    done = caller.run("key", "refresh-shares", old, "--out", out, "--model", "regen-mpc", "--revoke-old", "--json").json
    assert done["removed"] == len(Token.load(old, home=caller.home).seats) and done["revoked"], done
    new, before = Token.load(out, home=caller.home), Token.load(old, home=caller.home)
    assert new.model == "regen-mpc" and new.pinned == "kept"
    assert new.public_key() == before.public_key(trust_token=True)
    caller.run("sign", out, message, "--out", tmp_path / "signature")
    assert accepts(new, b"m", (tmp_path / "signature").read_bytes())

    async def again() -> Token:
        async with AsyncClient(caller.home) as client:
            with pytest.raises(EvanesceError, match="exists"):
                await client.refresh_shares(new, out)
            return (await client.refresh_shares(new, tmp_path / "newer.regen")).token

    newer = asyncio.run(again())
    assert newer == Token.load(tmp_path / "newer.regen") and newer.replaces == new.id
    assert newer.public_key() == new.public_key()
    caller.fail(2, "refused", "sign", old, message, "--out", tmp_path / "another")
