"""The documentation's table of models is what the code does."""

from __future__ import annotations

from pathlib import Path

from evanesce.custody.table import markdown

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "custody.md"


def test_the_table_in_the_documentation_is_the_one_that_the_code_makes() -> None:
    text = DOCUMENT.read_text()
    _, begin, rest = text.partition("<!-- table: python -m evanesce.custody.table -->\n")
    table, end, _ = rest.partition("<!-- end of table -->")
    assert begin and end, "docs/custody.md has no table"
    assert table.strip() == markdown().strip(), "run: python -m evanesce.custody.table docs/custody.md"
