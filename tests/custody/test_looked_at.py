"""What `doctor` makes of the PKCS#11 tokens that a home names: each can be used, or it says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from elements import PIN
from files import private, quoted
from places import Place, command

from evanesce.custody import modules


def doctor(place: Place, home: Path) -> dict[str, tuple[str, str]]:
    """Its findings about tokens, keys and agents, in a process of its own, which has not read any PIN."""
    done = command(home, "doctor", "--json", status=None, **place.environment)
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return {row["what"]: (row["verdict"], row["detail"]) for row in found}


def test_tokens_and_their_keys_are_looked_at(softhsm: Place) -> None:
    with softhsm.client() as client:
        stays, leaves = softhsm.fresh(), softhsm.fresh()
        client.custody.create(stays, ["ecdsa-p256"])
        client.custody.create(leaves, ["ecdsa-p256"], for_backup=True)
    found = doctor(softhsm, softhsm.home)
    assert found["token prod"][0] == found["token second"][0] == "ok"
    assert "SoftHSM" in found["token prod"][1]
    assert found[f"key {stays}"] == ("ok", "p256; it does not leave the token")
    assert found[f"key {leaves}"][0] == "ok" and "security officer" in found[f"key {leaves}"][1]
    assert found["agents"][0] == "note", "a home of modules alone lacks nothing"


def test_what_is_wrong_with_a_token_is_said_of_it_and_of_no_other(softhsm: Place, tmp_path: Path) -> None:
    module = quoted(str(next(iter(_modules(softhsm)))))
    private(tmp_path / "pin", f"{PIN}\n")
    private(tmp_path / "open", f"{PIN}\n")
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "hsm.toml").write_text(
        f"""
        [[hsm]]
        name = "well"
        module = {module}
        token = "prod"
        pin = {{ file = "pin" }}
        [[hsm]]
        name = "open"
        module = {module}
        token = "second"
        pin = {{ file = "open" }}
        [[hsm]]
        name = "nowhere"
        module = {module}
        token = "none of this name"
        pin = {{ file = "pin" }}
        [[hsm]]
        name = "missing"
        module = "/nowhere/module.so"
        [[hsm]]
        name = "asks"
        module = {module}
        token = "prod"
        pin = {{ terminal = true }}
        """
    )
    found = doctor(softhsm, tmp_path)
    assert found["token well"][0] == "ok"
    assert found["token asks"][0] == "note"
    for name, why in (("open", "open"), ("nowhere", "none of this name"), ("missing", "/nowhere/module.so")):
        verdict, detail = found[f"token {name}"]
        assert verdict == "bad" and why in detail, detail
        assert PIN not in detail
    (tmp_path / "hsm.toml").write_text("[[hsm]]\n")
    assert doctor(softhsm, tmp_path)["PKCS#11 tokens"][0] == "bad"


def _modules(place: Place) -> set[str]:
    return {module.module for module in modules.read(place.home / "hsm.toml").values()}
