"""What the help says of deadlines is what the core does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from evanesce._connect import DEADLINES
from evanesce.cli import root

ROOT = Path(__file__).resolve().parents[2]


def verbs(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def test_the_defaults_are_the_cores() -> None:
    source = (ROOT / "rust/quorum/src/holder.rs").read_text()
    found = dict(re.findall(r"\b(deadline|mint_deadline): Duration::from_secs\(([0-9]+)\)", source))
    assert {"mint": int(found["mint_deadline"]) * 1000, "all else": int(found["deadline"]) * 1000} == DEADLINES


def test_the_help_says_how_long_each_verb_may_take() -> None:
    said = {}
    for name, command in verbs(root):
        for option in command.params:
            if option.name == "deadline":
                assert isinstance(option, click.Option)
                assert option.help
                said[name] = int(re.findall(r"\[default: ([0-9]+)\]", option.help)[0])
    mints = {"key create", "key import", "key refresh", "key reshare", "key repair", "key refresh-shares"}
    assert {name for name, default in said.items() if default == DEADLINES["mint"]} == mints
    assert {name for name, default in said.items() if default == DEADLINES["all else"]} == set(said) - mints
    assert {"sign", "mac", "derive", "key retire"} <= set(said) - mints
