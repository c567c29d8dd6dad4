"""The documentation's table of models is what the code does, and the tests that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

from evanesce.custody.table import markdown

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "custody.md"


def test_the_table_in_the_documentation_is_the_one_that_the_code_makes() -> None:
    text = DOCUMENT.read_text()
    _, begin, rest = text.partition("<!-- table: python -m evanesce.custody.table -->\n")
    table, end, _ = rest.partition("<!-- end of table -->")
    assert begin and end, "docs/custody.md has no table"
    assert table.strip() == markdown().strip(), "run: python -m evanesce.custody.table docs/custody.md"


def test_the_tests_that_the_compositions_name_are_where_it_says() -> None:
    section = DOCUMENT.read_text().partition("## Three compositions\n")[2].partition("\n## ")[0]
    named: set[str] = set()
    # Names, then the file that they are in.
    for words, file in re.findall(r"((?:`test_\w+`[ ,and(]*)+)`(tests/[\w/.]+)`", section):
        names = re.findall(r"test_\w+", words)
        text = (ROOT / file).read_text()
        assert [name for name in names if f"def {name}(" not in text] == [], file
        named.update(names)
    assert named == set(re.findall(r"`(test_\w+)`", section)) and len(named) == 8
