"""`evanesce advise`: which custody model fits which workload, and why; or: keep your HSM."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from evanesce import advisor
from evanesce._text import printable
from evanesce.advisor import engine
from evanesce.advisor import facts as facts_file
from evanesce.advisor import rules as rules_file
from evanesce.advisor import workload as workload_file
from evanesce.advisor.sizing import FORMULA, Sizing
from evanesce.cli._app import App, verb
from evanesce.errors import error

_MOST_FLIPS = 10
_LARGEST_FLIP = 10.0
"""Changes shown to a person: how many, and up to how many doublings. --json has them all."""
_DEFAULTS = {field.name: field.default for field in workload_file.FIELDS}


def register(root: click.Group) -> None:
    """Adds the verb."""

    @verb(root, "advise")
    @click.argument("workloads", metavar="[FILE]", required=False)
    @click.option("--rules", "rules_path", metavar="FILE", help="Your own rules instead of the package's.")
    @click.option("--facts", "facts_path", metavar="FILE", help="Your own facts instead of the package's.")
    @click.option("--measured", metavar="FILE", help="Figures of your own: results of `make bench` or `compare`.")
    @click.option("--show-rules", is_flag=True, help="Print the package's rules, to read and to change.")
    @click.option("--show-facts", is_flag=True, help="Print the package's facts, with their sources.")
    def advise(
        app: App,
        workloads: str | None,
        rules_path: str | None,
        facts_path: str | None,
        measured: str | None,
        show_rules: bool,
        show_facts: bool,
    ) -> None:
        """Say which custody model fits the workloads of FILE (YAML), and why; without FILE, ask.

        Every point is traced to a rule and a fact. What is excluded comes first; what would change the verdict, the
        size of the quorum and the weaknesses of the first choice come with it. See docs/advise.md.
        """
        if show_rules or show_facts:
            data = (rules_file if show_rules else facts_file).packaged()
            click.echo(data.decode(), nl=False)
            return
        facts = facts_file.load(Path(facts_path) if facts_path else None)
        if measured is not None:
            facts, count = facts_file.measured(facts, Path(measured))
            app.say(f"{count} facts are those measured in {measured}.")
        rules = rules_file.load(facts, Path(rules_path) if rules_path else None)
        asked = (_ask(app, rules, facts),) if workloads is None else workload_file.load(Path(workloads))
        with app.working("judging"):
            advice = advisor.advise(asked, rules, facts)
        app.emit({"advice": [one.as_dict() for one in advice]})
        if not app.json:
            for one in advice:
                _show(app, one)


def _ask(app: App, rules: rules_file.Rules, facts: facts_file.Facts) -> workload_file.Workload:
    """One workload, by questions."""
    if app.json:
        raise error("usage", "there is no file of workloads", "Give one; questions and --json do not go together.")
    values: dict[str, workload_file.Value] = {}
    for field in workload_file.FIELDS:
        if field.asked_if_it_matters:
            so_far = workload_file.Workload(_DEFAULTS | values)
            if not engine.matters(field, so_far, rules, facts):
                values[field.name] = field.default
                continue
        read = partial(_answer, field)
        values[field.name] = click.prompt(field.question + _hint(field), _default(field), value_proc=read, err=True)
    return workload_file.Workload(values)


def _hint(field: workload_file.Field) -> str:
    if field.kind == "choices":
        return f"\n  (some of {', '.join(field.choices)}; commas between{'' if field.default else ', - for none'})"
    if field.choices:
        return f"\n  (one of {', '.join(field.choices)})"
    return f" ({field.unit})" if field.unit else ""


def _default(field: workload_file.Field) -> str:
    return ", ".join(field.default) or "-" if isinstance(field.default, tuple) else str(field.default)


def _answer(field: workload_file.Field, given: str) -> workload_file.Value:
    given = given.strip()
    value: object = given
    if field.kind == "number":
        try:
            value = float(given)
        except ValueError:
            raise click.BadParameter(f"{field.name} must be a number") from None
    elif field.kind == "choices":
        value = [] if given == "-" else [word.strip() for word in given.split(",")]
    try:
        return workload_file.checked(field, value)
    except ValueError as e:
        raise click.BadParameter(str(e)) from None


def _show(app: App, advice: advisor.Advice) -> None:
    ranking = advice.ranking
    out = app.out
    out.print(Rule(Text(printable(ranking.workload.name), style="bold"), align="left"))
    _line(app, advice.verdict, "bold green" if ranking.fits else "bold yellow")
    if ranking.excluded:
        _line(app, "")
        _line(app, "Excluded", "bold")
        for candidate, findings in ranking.excluded:
            _line(app, f"{candidate.id}: {candidate.title}")
            for finding in findings:
                _line(app, f"  {finding.says} [{finding.rule}: {'; '.join(finding.compared)}]", "dim")
    if ranking.fits:
        _line(app, "")
        _line(app, "Ranking", "bold")
        table = Table("points", "candidate", "because (rule)", box=None, pad_edge=False)
        for ranked in ranking.fits:
            because = [f"{finding.points:+d} {finding.says} ({finding.rule})" for finding in ranked.findings]
            table.add_row(str(ranked.points), ranked.candidate.id, Text("\n".join(because)))
        out.print(Padding(table, (0, 0, 0, 2), expand=False))
    _sizing(app, advice)
    _line(app, "")
    _line(app, "What would change the verdict (each by itself, smallest first)", "bold")
    shown = [flip for flip in advice.flips if flip.size <= _LARGEST_FLIP][:_MOST_FLIPS]
    for flip in shown:
        kind = "the fact " if flip.is_fact else ""
        _line(app, f"{kind}{flip.what}: {_value(flip.was)} → {_value(flip.becomes)} {_then(flip.first)}")
    if not advice.flips:
        _line(app, "No field and no fact by itself.")
    elif len(advice.flips) > len(shown):
        _line(app, f"and {len(advice.flips) - len(shown)} more (--json)", "dim")
    unknown = sorted({name for one in ranking.unknown for name in one.missing})
    if unknown:
        _line(app, "")
        _line(app, "Not known, so that nothing was concluded from it: " + ", ".join(unknown), "yellow")
    if ranking.fits:
        _line(app, "")
        _line(app, f"Weaknesses of {ranking.fits[0].candidate.id}", "bold")
        for says, names in advice.weaknesses:
            _line(app, says + (f" [{', '.join(names)}]" if names else ""))
    _facts(app, advice)
    out.print()


def _sizing(app: App, advice: advisor.Advice) -> None:
    if advice.modules is not None:
        _line(app, "")
        _line(app, f"Modules: {advice.modules}, one to spare, at the published or measured rate of one.")
    size = advice.sizing
    if size is None:
        return
    _line(app, "")
    _line(app, "Size of the quorum", "bold")
    if size.chosen is None:
        _line(app, f"None: {size.why}.", "yellow")
    else:
        chosen = size.chosen
        _line(
            app,
            f"{chosen.t} of {chosen.n}: {size.why}. Available {_nines(chosen.availability)} of the time; lost in a "
            f"year with probability {chosen.yearly_loss:.1g}; {chosen.t} to open, {chosen.to_block} to block; outlives "
            f"{chosen.sites_survived} failed site(s).",
        )
    _line(app, FORMULA, "dim")
    _line(app, _with(advice, size), "dim")


def _with(advice: advisor.Advice, size: Sizing) -> str:
    number = advice.ranking.workload.number
    near = ", ".join(f"{one.t} of {one.n}: {_nines(one.availability)}" for one in size.tried[:6])
    return (
        f"with a = {number('agent_availability'):g}, q = {number('device_loss'):g} a year, "
        f"r = {number('repair_days'):g} days; failures taken as independent. {near}"
    )


def _nines(availability: float) -> str:
    """As many digits as say something."""
    missing = 1 - availability
    digits = 4
    while digits < 12 and round(missing, digits) == 0:
        digits += 1
    return f"{availability:.{digits}f}"


def _facts(app: App, advice: advisor.Advice) -> None:
    ranking = advice.ranking
    if not ranking.fits:
        names = {name for _, findings in ranking.excluded for finding in findings for name in finding.facts}
    else:
        names = {name for finding in ranking.fits[0].findings for name in finding.facts}
        names |= {name for _, of in advice.weaknesses for name in of}
        names |= {name for _, findings in ranking.excluded for finding in findings for name in finding.facts}
    if names:
        _line(app, "")
        _line(app, "Facts", "bold")
        # Lists are in the comparisons already.
        for name in sorted(name for name in names if not isinstance(advice.facts[name].value, tuple)):
            _line(app, advice.facts[name].cited(), "dim")


def _then(first: str | None) -> str:
    return f"makes it {first}" if first else "leaves nothing"


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _line(app: App, text: str, style: str = "") -> None:
    """A line below the headline; what is wrapped stays under its beginning."""
    words = text.lstrip(" ")
    if not words:
        app.out.print()
        return
    indent = 2 + len(text) - len(words)
    app.out.print(Padding(Text(printable(words, limit=None), style=style), (0, 0, 0, indent), expand=False))
