"""What each model does, as docs/custody.md shows it: made from the models themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from evanesce.custody.custodian import MODELS
from evanesce.custody.model import LIFECYCLE, OPERATIONS, Model


def markdown() -> str:
    """Two tables: the lifecycle, and the operations with the suites that a key may do each with."""
    return f"{_table(LIFECYCLE, _lifecycle)}\n{_table(OPERATIONS, _operation)}"


def _table(verbs: tuple[str, ...], cell: Callable[[type[Model], str], str]) -> str:
    lines = [
        f"| | {' | '.join(f'`{model.name}`' for model in MODELS)} |",
        f"|---|{'---|' * len(MODELS)}",
        *(f"| {verb.replace('-', ' ')} | {' | '.join(cell(model, verb) for model in MODELS)} |" for verb in verbs),
    ]
    return "\n".join(lines) + "\n"


def _lifecycle(model: type[Model], verb: str) -> str:
    return model.supports[verb] if verb in model.supports else _no(model, verb)


def _operation(model: type[Model], verb: str) -> str:
    served = model.operations().get(verb)
    return ", ".join(f"`{suite}`" for suite in served) if served else _no(model, verb)


def _no(model: type[Model], verb: str) -> str:
    return f"**no**: {model.refuses[verb]}"


BEGIN = "<!-- table: python -m evanesce.custody.table -->\n"
END = "<!-- end of table -->"


def write(document: Path) -> None:
    """Puts the tables into the document, between its marks."""
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, f"{document} has no place for the table"
    document.write_text(f"{before}{BEGIN}\n{markdown()}\n{END}{after}")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
