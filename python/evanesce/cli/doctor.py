"""`evanesce doctor`: what is weak about this machine and its agents, and what to do about it."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click
from rich.table import Table

from evanesce import AgentStatus, Client, EvanesceError, _core, _toml
from evanesce._agentdir import AgentFolder
from evanesce._connect import lacks_agents_only
from evanesce._text import printable
from evanesce.cli import _options
from evanesce.cli._app import App, verb
from evanesce.custody import Reference, modules
from evanesce.errors import translate

CLOCK_TOLERANCE = 2.0
"""Seconds by which a clock may differ, beyond what the measurement itself leaves open."""

Verdict = Literal["ok", "note", "weak", "bad"]
"""A note is worth knowing, and nothing to put right."""
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    verdict: Verdict
    detail: str
    advice: str = ""


def register(root: click.Group) -> None:
    """Adds this verb."""
    verb(root)(doctor)


@click.option("--agent", "folders", metavar="DIR", multiple=True, help="Look at an agent here, and its element, too.")
@_options.deadline_option
def doctor(app: App, folders: tuple[str, ...], deadline: int | None) -> None:
    """Say what is weak here, and what to do about it.

    Probes memory protection, elements, PKCS#11 tokens, agents and clocks. Exits 1 if anything is weak.
    """
    findings = [*memory(_core.memory_report())]
    for folder in folders:
        findings += element(Path(folder))
        findings += prepared(Path(folder), _CPUINFO)
    findings += tokens(app.home.modules)
    with app.working("asking the agents"):
        findings += agents(app, deadline)
    wanting = sum(finding.verdict in ("weak", "bad") for finding in findings)
    well = wanting == 0
    app.emit({"ok": well, "findings": [asdict(finding) for finding in findings]})
    if not app.json:
        table = Table("", "what", "found", "what to do")
        styles = {"ok": "green", "note": "", "weak": "yellow", "bad": "red"}
        for finding in findings:
            cells = map(printable, (finding.verdict, finding.what, finding.detail, finding.advice))
            table.add_row(*cells, style=styles[finding.verdict])
        app.out.print(table)
        app.say("Nothing is weak." if well else f"{wanting} of {len(findings)} findings need attention.")
    if not well:
        raise click.exceptions.Exit(1)


def memory(report: dict[str, Any]) -> Iterator[Finding]:
    """How secrets are kept in this process's memory."""
    backing = str(report["backing"])
    if report.get("audit"):
        yield Finding("memory", "bad", "an audit build: secrets lie in dumpable memory", "Use the ordinary build.")
    elif backing == "memfd_secret":
        yield Finding("memory", "ok", f"memfd_secret, {report['arena_bytes'] >> 10} KiB: in no other process's reach")
    else:
        yield Finding(
            "memory",
            "weak",
            f"{backing}: {report.get('why') or 'no memfd_secret'}",
            "Boot with secretmem.enable=1 (Linux 5.14 and later), or raise the locked-memory limit (ulimit -l).",
        )
    hardened = report["undumpable"] and report["core_limit_zero"]
    if hardened:
        yield Finding("hardening", "ok", "this process cannot be dumped or traced; no core files")
    else:
        opted = os.environ.get("EVANESCE_NO_HARDEN") == "1"
        why = "switched off by EVANESCE_NO_HARDEN=1" if opted else "not in force"
        yield Finding("hardening", "weak", f"{why}: this process can be dumped", "Unset EVANESCE_NO_HARDEN.")
    threads = int(report["crucible_threads"])
    if threads:
        sizes = f"{threads} stacks of {report['stack_bytes'] >> 10} KiB"
        if report["unlocked_bytes"]:
            yield Finding("crucible", "weak", f"{sizes}, not all locked", "Raise the locked-memory limit (ulimit -l).")
        else:
            yield Finding("crucible", "ok", f"{sizes}, locked")
    else:
        yield Finding("crucible", "weak", "no locked stacks", "Raise the locked-memory limit (ulimit -l).")
    if report["spilled"]:
        yield Finding(
            "arena",
            "weak",
            f"{report['spilled']} allocations did not fit into locked memory",
            "Raise the locked-memory limit (ulimit -l).",
        )
    if not report["awslc_in_arena"]:
        yield Finding(
            "cryptographic library",
            "weak",
            "its own memory is not locked",
            "Import evanesce before other AWS-LC users.",
        )


def element(folder: Path) -> Iterator[Finding]:
    """The secure element of an agent on this machine."""
    what = f"element of {folder}"
    try:
        AgentFolder(folder.absolute()).require()
        probe = _core.element_probe(str(folder.absolute()))
    except (EvanesceError, _core.CoreError) as e:
        yield _bad(what, e)
        return
    yield from _element(what, probe["label"], probe["development"], probe["weaknesses"])
    for note in probe["notes"]:
        yield Finding(what, "note", f"{probe['label']}: {note}")


def prepared(folder: Path, cpuinfo: Path) -> Iterator[Finding]:
    """Nonces that an agent on this machine keeps for signatures to come, where the processor shows a hypervisor. Where
    it shows none nothing is known, and nothing said (docs/decisions/prepared-nonces.md)."""
    try:
        declared = _toml.load(AgentFolder(folder).config).get("threshold", {})
        shown = cpuinfo.read_text()
    except (EvanesceError, OSError):
        # What is wrong with the folder is said of its element.
        return
    if isinstance(declared, dict) and "prepared" in declared and _has_hypervisor(shown):
        yield Finding(
            f"prepared nonces of {folder}",
            "weak",
            "this machine is virtual: its hypervisor can resume an earlier state of its memory, unseen from here, and "
            "nonces that sign twice give shares away",
            "Make sure that what [threshold] prepared declares holds for the hypervisor too, or take it out.",
        )


def _has_hypervisor(cpuinfo: str) -> bool:
    """Linux on x86 lists it among the flags of each processor."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return any(name.strip() == "flags" and "hypervisor" in flags.split() for name, _, flags in lines)


def _bad(what: str, e: EvanesceError | _core.CoreError) -> Finding:
    failure = translate(e) if isinstance(e, _core.CoreError) else e
    return Finding(what, "bad", failure.message, failure.hint)


def _element(what: str, label: str, development: bool, weaknesses: list[str]) -> Iterator[Finding]:
    if development:
        yield Finding(what, "weak", label, "Use an HSM for real keys (`agent init --element pkcs11`).")
    elif not weaknesses:
        yield Finding(what, "ok", label)
    for weakness in weaknesses:
        yield Finding(what, "weak", f"{label}: {weakness}", "Replace this element: it lets its roots out.")


def tokens(path: Path) -> Iterator[Finding]:
    """The PKCS#11 tokens of `hsm.toml`: whether they can be logged in to, and their keys used. A PIN that is not kept
    in a file is not asked for here."""
    if not path.exists():
        return
    try:
        named = modules.read(path)
    except EvanesceError as e:
        yield _bad("PKCS#11 tokens", e)
        return
    for name, module in named.items():
        what = f"token {name}"
        if module.pin is not None and module.pin[0] != "file":
            yield Finding(what, "note", f"not looked at: its PIN is read from a {module.pin[0]}")
            continue
        try:
            token = modules.open_token(path, name)
            yield Finding(what, "ok", token.token)
            rows = token.keys()
            for label, kind, stays, _, leaves in rows:
                yield _key(f"key {Reference('hsm', name, label)}", token, label, kind, stays, leaves)
        except (EvanesceError, _core.CoreError) as e:
            yield _bad(what, e)


def _key(what: str, token: _core.Hsm, label: str, kind: str | None, stays: bool, leaves: str) -> Finding:
    if kind is None:
        return Finding(what, "note", "of no kind that is served here")
    try:
        token.key(label)
    except _core.CoreError as e:
        return _bad(what, e)
    if stays:
        return Finding(what, "ok", f"{kind}; it does not leave the token")
    if leaves == "under a trusted key":
        return Finding(what, "ok", f"{kind}; it leaves under a key alone that the security officer trusts")
    return Finding(what, "weak", f"{kind}; whoever has the PIN can have it", "Make another, and destroy this one.")


def agents(app: App, deadline: int | None) -> Iterator[Finding]:
    """Reachability, elements, memory and clocks of the agents in the quorum file."""
    try:
        with app.client(deadline) as client:
            answers = client.status()
            elsewhere = client.reconstructor is not None
            if elsewhere:
                yield from reconstructor(client)
    except EvanesceError as e:
        if lacks_agents_only(app.home, e):
            yield Finding("agents", "note", f"none: {e.message}", "Nothing to do where PKCS#11 tokens are all it uses.")
        else:
            yield _bad("agents", e)
        return
    for answer in answers:
        if answer.report is None:
            yield Finding(
                f"agent {answer.name}",
                "bad",
                answer.problem or "no answer",
                "Start it, or correct its address and id in the quorum file.",
            )
            continue
        roles = list(answer.report["roles"])
        known = f"up; knows you as {answer.report['caller']} ({', '.join(roles) or 'no role'})"
        needed = {"caller"} if elsewhere else {"caller", "reconstructor"}
        usable = needed <= set(roles)
        advice = "" if usable else f"It must allow you the role {' and '.join(sorted(needed))} (`agent allow`)."
        if elsewhere and "reconstructor" in roles:
            usable, advice = False, "Take the role reconstructor away: another one does what this caller asks for."
        yield Finding(f"agent {answer.name}", "ok" if usable else "weak", known, advice)
        yield from standing(answer.name, answer.report)
        yield from _element(
            f"element of {answer.name}",
            str(answer.report["element"]),
            bool(answer.report["development"]),
            list(answer.report["weaknesses"]),
        )
        yield agent_memory(answer.name, str(answer.report["memory"]))
    yield from clocks(answers)


def standing(name: str, report: Mapping[str, Any]) -> Iterator[Finding]:
    """How an agent stands with its peers (docs/revocation.md)."""
    what = f"peers of {name}"
    if report["standing"]:
        yield Finding(what, "bad", str(report["standing"]), "See docs/revocation.md: it answers nothing until then.")
    elif report["peers"]:
        yield Finding(what, "ok", f"{report['heard']} of {report['peers']} heard since it started")
    else:
        advice = "Give it peers (`agent peers`): alone it cannot know that it was restored from an old copy."
        yield Finding(what, "note", "none", advice)


def reconstructor(client: Client) -> Iterator[Finding]:
    """The reconstructor that works for this home, by its own word."""
    try:
        found = client.reconstructor_status()
    except EvanesceError as e:
        yield _bad("reconstructor", e)
        return
    known = f"up; knows you as {found['caller']}; has a session with {found['agents']} agents"
    yield Finding(f"reconstructor {found['name']}", "ok", known)
    yield agent_memory(str(found["name"]), str(found["memory"]))
    for missing in found["missing"]:
        yield Finding(f"confinement of {found['name']}", "weak", missing, "Run it on a newer kernel.")


def agent_memory(name: str, said: str) -> Finding:
    """What an agent says that its secrets lie in (docs/agent-api.md, `memory`). Only one answer is good: a newer
    agent's unknown word is not taken for protection."""
    what = f"memory of {name}"
    if said == "memfd_secret":
        return Finding(what, "ok", said)
    if said.startswith("audit build"):
        return Finding(what, "weak", said, "Run the ordinary build there: this one can be dumped.")
    advice = "Boot its machine with secretmem.enable=1 (Linux 5.14 and later), or raise its locked-memory limit."
    return Finding(what, "weak", said, advice)


def clocks(answers: tuple[AgentStatus, ...]) -> Iterator[Finding]:
    """Each agent's clock against the agents' median, and this machine's too."""
    reports = {answer.name: answer.report for answer in answers if answer.report is not None}
    if not reports:
        return
    ahead = {name: report["clock_offset_ms"] / 1000 for name, report in reports.items()}
    # An answer says what time it was to within how long it took.
    tolerance = CLOCK_TOLERANCE + max(report["milliseconds"] for report in reports.values()) / 1000
    median = statistics.median(ahead.values())
    off = {name: difference - median for name, difference in ahead.items() if abs(difference - median) > tolerance}
    for name, away in off.items():
        advice = "Set it (NTP): expiry and policies are judged by each agent's own clock."
        yield Finding(f"clock of {name}", "weak", f"{away:+.1f} s from the agents' median", advice)
    if abs(median) > tolerance:
        yield Finding("clock here", "weak", f"{-median:+.1f} s from the agents' median", "Set this machine's clock.")
    elif not off:
        yield Finding("clocks", "ok", f"all within {tolerance:.1f} s; their median is {median:+.2f} s from here")
