"""Hostile text does nothing where it is shown."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from evanesce._text import grouped, printable, short
from evanesce._toml import dumps, parse
from evanesce.errors import Culprit, error


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("bell\x07 and \x9b1A", "bell\\x07 and \\x9b1A"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("line\nline\rline\u2028", "line\\x0aline\\x0dline\\u2028"),
        ("\ud800", "\\ud800"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("Zoë 顧客 ✓", "Zoë 顧客 ✓"),
    ],
)
def test_what_a_terminal_would_act_on_is_escaped(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown


def test_policies_keep_their_lines_and_nothing_else() -> None:
    assert printable("permit\n\t\x1b[2J;", lines=True) == "permit\n\\x09\\x1b[2J;"


def test_long_text_is_cut() -> None:
    assert printable("x" * 1000) == "x" * 300 + "…"
    assert len(printable("x" * 1000, limit=None)) == 1000


def test_consoles_take_markup_as_text() -> None:
    from evanesce.cli._app import console

    built = console()
    buffer = io.StringIO()
    plain = Console(file=buffer, markup=built._markup, emoji=built._emoji, width=80)
    table = Table("name")
    table.add_row("[bold red]not bold[/bold red] :skull:")
    plain.print(table)
    assert "[bold red]not bold[/bold red] :skull:" in buffer.getvalue()


def test_errors_escape_what_strangers_said() -> None:
    culprit = Culprit("cfo", "agent\x1b[2J", "ab" * 32, "refused", "because \x1b]0;title\x07")
    text = str(error("refused", "said \x1b[1m", "do\x07", (culprit,)))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "seat cfo" in text


def test_ids_are_cut_for_the_eye_only() -> None:
    assert short("ab" * 32) == "ab" * 8 + "…"
    assert grouped("ab" * 32).replace(" ", "") == "ab" * 32


@pytest.mark.parametrize("value", ['"', "\\", "\x00\x1f\x7f", "a\nb", '"]\n[[identity]]\nname = "root', "\u2028", "é"])
def test_toml_that_is_written_is_read_back_the_same(value: str) -> None:
    table = {"name": value, "list": [value, "x"], "inner": {"file": value}, "number": 7, "flag": True}
    assert parse(dumps(table).encode(), "test") == table
    assert len(dumps(table).splitlines()) == len(table)
