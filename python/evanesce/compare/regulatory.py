"""Regulatory fit: which clauses each model has something to show for, from data/regulatory.yaml. Nothing is measured
here."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from evanesce import _yaml
from evanesce.compare.results import Clause, Regulatory
from evanesce.compare.subject import SUBJECTS

EVIDENCE = ("full", "partial", "none", "not-applicable")


def load(path: Path | None = None) -> dict[str, Regulatory]:
    """Each model's, from a file or from this package's. Raises `config` with file and line."""
    if path is not None:
        return parse(_yaml.load(path))
    data = resources.files(__package__).joinpath("data/regulatory.yaml").read_bytes()
    return parse(_yaml.parse(data, "regulatory.yaml"))


def parse(document: _yaml.Map) -> dict[str, Regulatory]:
    document.only(("clauses",))
    found: dict[str, list[Clause]] = {name: [] for name in SUBJECTS}
    for entry in document.maps("clauses"):
        entry.only(("framework", "clause", "asks", "source", "date", "models"))
        models = entry["models"]
        if not isinstance(models, _yaml.Map):
            raise entry.wrong("models must be a mapping", "models")
        models.only(tuple(SUBJECTS))
        for name in SUBJECTS:
            shown = models[name]
            if not isinstance(shown, _yaml.Map):
                raise models.wrong(f"{name} must be a mapping", name)
            shown.only(("evidence", "shows"))
            if shown.text("evidence") not in EVIDENCE:
                raise shown.wrong(f"evidence must be one of {', '.join(EVIDENCE)}", "evidence")
            words = {key: entry.text(key) for key in ("framework", "clause", "asks", "source", "date")}
            found[name].append(Clause(**words, evidence=shown.text("evidence"), shows=shown.text("shows")))
    return {name: Regulatory(tuple(clauses)) for name, clauses in found.items()}
