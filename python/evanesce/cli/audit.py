"""`evanesce audit`: receipts and logs as evidence, offline; and witnesses. docs/audit.md says how to work with it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from evanesce import Token, _core, _files
from evanesce._connect import DEADLINES
from evanesce._text import printable, short
from evanesce.approvals import Approval, Site
from evanesce.audit import receipts as kept_receipts
from evanesce.audit.logs import Entry, Log, check_keys, open_all
from evanesce.audit.reconcile import Missing, Reconciled
from evanesce.audit.reconcile import reconcile as compare
from evanesce.audit.verify import Verdict, Word, approved, contradictions, sits
from evanesce.audit.verify import verify as judge
from evanesce.audit.witness import witness as look
from evanesce.cli import _io
from evanesce.cli._app import App, verb
from evanesce.errors import error, translate
from evanesce.home import read_agents


def register(root: click.Group) -> None:
    """Adds this group."""
    root.add_command(audit)


@click.group()
def audit() -> None:
    """Examine receipts and logs, offline, with public data alone."""


@verb(audit)
@click.argument("receipts", metavar="RECEIPT...", nargs=-1, required=True)
@click.option("--agents", metavar="FILE", help="The agents you know. [default: the home's quorum file]")
@click.option("--token", "tokens", metavar="TOKEN", multiple=True, help="For policy and quorum; may be repeated.")
@click.option("--log", "folders", metavar="DIR", multiple=True, help="Exported logs; may be repeated.")
@click.option("--witness", "keys", metavar="VKEY", multiple=True, help="A witness's vkey, or a file with some.")
@click.option("--require-witnesses", type=click.IntRange(0), default=0, metavar="N", help="So many on every log.")
@click.option("--message", metavar="FILE", help="What was signed: is the digest of it?")
@click.option("--input", "inputs", metavar="FILE", multiple=True, help="For actions with several inputs, in order.")
@click.option("--salt", metavar="HEX", help="Where it is not kept with the receipts.")
@click.option("--approval", "files", metavar="FILE", multiple=True, help="An approval: what did the person see?")
@click.option("--site", metavar="DOMAIN", help="Of an authenticator's key that the policy of no --token names.")
def verify(
    app: App,
    receipts: tuple[str, ...],
    agents: str | None,
    tokens: tuple[str, ...],
    folders: tuple[str, ...],
    keys: tuple[str, ...],
    require_witnesses: int,
    message: str | None,
    inputs: tuple[str, ...],
    salt: str | None,
    files: tuple[str, ...],
    site: str | None,
) -> None:
    """Say what each RECEIPT file proves, and check it.

    Which agents permitted what, for which caller, on which digest, when; with --token under which policy; with
    --log that the logs were not rewritten since. Exits 2 when anything does not hold.
    """
    if message is not None and inputs:
        raise error("usage", "--message is the one input, --input is one of several", "Use one of the two.")
    names = list(inputs) or ([message] if message is not None else [])
    given = [bytes(_io.read_input(app, name, "input")) for name in names] if names else None
    salted = None if salt is None else _hex(salt, "--salt")
    known = {agent.id: agent.name for agent in read_agents(Path(agents) if agents else app.home.quorum)}
    loaded = [Token.load(app.token_path(each), home=app.home.root) for each in tokens]
    logs = open_all(map(Path, folders))
    witnesses = _vkeys(keys)
    loaded_receipts = [kept for each in receipts for kept in kept_receipts.load(Path(each))]
    contradictions(loaded_receipts)
    verdicts = [
        judge(
            kept,
            known,
            tokens=loaded,
            logs=logs,
            witnesses=witnesses,
            require_witnesses=require_witnesses,
            inputs=given,
            salt=salted,
        )
        for kept in loaded_receipts
    ]
    given_approvals = [Approval.decode(_files.read(Path(each), limit=8 << 10)) for each in files]
    at = None if site is None else Site(site)
    proven = [approved(verdict, given_approvals, at) for verdict in verdicts]
    unused = {one.id for one in given_approvals} - {one.id for each in proven for one in each}
    if unused:
        raise error(
            "approval-invalid",
            f"none of these receipts is of the approval {short(min(unused))}",
            "Give the receipts of the operation that it permitted.",
        )
    documents = [
        {**_document(verdict), "texts": {one.id: one.text for one in each}}
        for verdict, each in zip(verdicts, proven, strict=True)
    ]
    app.emit({"receipts": documents})
    if not app.json:
        for verdict, each in zip(verdicts, proven, strict=True):
            _show(app, verdict)
            for one in each:
                app.out.print(f"  {short(one.approver)} has approved, by its own signature:")
                app.out.print(printable(one.text, lines=True, limit=None), soft_wrap=True)
    for verdict in verdicts:
        app.warn(_doubts(verdict, bool(loaded), bool(logs)))


def _doubts(verdict: Verdict, tokens: bool, logs: bool) -> list[str]:
    where = printable(verdict.path)
    doubts = []
    if tokens and verdict.known is None:
        doubts.append(f"{where}: none of the tokens given is {short(verdict.token)}; its policy is not shown")
    if verdict.sufficient is False and verdict.verb in ("contribute", "mpc-commit", "mpc-once"):
        doubts.append(f"{where}: these agents alone are no sufficient set; other receipts are missing")
    for word in verdict.words:
        name = printable(word.name)
        if word.code != "done":
            doubts.append(f"{where}: {name} refused: {printable(word.reason)}")
        if verdict.known is not None and not all(sits(word, seat, verdict.known) for seat in word.seats):
            doubts.append(f"{where}: {name} names seats that this copy of the token gives to others; they do not count")
        doubts += [f"{where}: {name} has a weak element: {printable(weakness)}" for weakness in word.weaknesses]
        if word.standing.verdict == "older":
            doubts.append(f"{where}: {word.standing.log} ends before {name}'s receipt: get a newer one")
        if logs and word.standing.verdict == "none":
            doubts.append(f"{where}: no log of {name} was given")
    return doubts


def _document(verdict: Verdict) -> dict[str, Any]:
    token = verdict.known
    return {
        "file": verdict.path,
        "token": verdict.token,
        "caller": verdict.caller,
        "verb": verdict.verb,
        "operations": [
            {"action": action, "suite": suite, "input": digest} for action, suite, digest in verdict.operations
        ],
        "matched": verdict.matched,
        "agents": [asdict(word) for word in verdict.words],
        "name": token.name if token else None,
        "quorum": token.quorum if token else None,
        "policy": token.policy if token else None,
        "sufficient": verdict.sufficient,
    }


def _show(app: App, verdict: Verdict) -> None:
    token = verdict.known
    say = app.out.print
    say(printable(verdict.path))
    say(f"  token    {verdict.token}" + (f"  {printable(token.name)}" if token else ""))
    names = sorted({printable(word.caller_name) for word in verdict.words})
    say(f"  caller   {verdict.caller}  known as {', '.join(names)}")
    for carrier in sorted({word.reconstructor for word in verdict.words if word.reconstructor}):
        say(f"  carried by {carrier}, the reconstructor")
    if not verdict.operations:
        say(f"  what     {printable(verdict.verb)}")
    for place, (action, suite, digest) in enumerate(verdict.operations):
        match = "  (of the input given)" if place == verdict.matched else ""
        say(f"  what     {printable(action)} {printable(suite)}, digest {digest}{match}")
    for word in verdict.words:
        if word.grants:
            say(f"  granted  {printable(word.name)}: {', '.join(word.grants)}", soft_wrap=True)
        if word.uses:
            counts = f"use {word.uses['key']} of the key, {word.uses['caller']} of {word.uses['of']}"
            say(f"  counted  {printable(word.name)}: {counts}", soft_wrap=True)
    people = sorted({(name, key) for word in verdict.words for name, key, _ in word.approvals})
    for place, (name, key) in enumerate(people):
        say(f"  {'' if place else 'approved':9}by {printable(name)}, {key}")
    table = Table("agent", "id", "decided", "when", "entry", "element", "its log today", "witnesses")
    for word in verdict.words:
        table.add_row(*map(printable, _row(word)), style=None if word.code == "done" else "red")
    say(table)
    if token is not None:
        enough = "a sufficient set of" if verdict.sufficient else "no sufficient set of"
        say(f"  quorum   {enough} {printable(token.quorum, limit=None)}")
        lines = token.policy.strip().splitlines() or ["(none: every caller that the agents know)"]
        for place, line in enumerate(lines):
            say(f"  {'' if place else 'policy':9}{printable(line, limit=None)}", soft_wrap=True)


def _row(word: Word) -> list[str]:
    standing = word.standing
    today = {
        "holds": f"unchanged, of {standing.size}",
        "older": "ends before",
        "none": "not given",
    }[standing.verdict]
    cosigned = ", ".join(f"{name} {_time(when * 1000)}" for name, when in standing.witnesses)
    decided = "permitted" if word.code == "done" else word.code
    entry = f"{word.index} of {word.size}"
    return [word.name, short(word.agent), decided, _time(word.time), entry, word.element, today, cosigned]


@verb(audit)
@click.argument("folders", metavar="DIR...", nargs=-1, required=True)
@click.option("--token", metavar="ID", help="This token id.")
@click.option("--caller", metavar="ID", help="This caller id.")
@click.option("--since", metavar="WHEN", help="ISO date or time, or Unix seconds.")
@click.option("--until", metavar="WHEN", help="Likewise; not included.")
@click.option("--code", metavar="CODE", help="done, refused, retired, …")
@click.option("--action", metavar="ACTION", help="sign, mac, …, or contribute, seat, retire.")
@click.option("--approver", metavar="ID", help="Where this key's approval was spent.")
@click.option("--log-key", "keys", metavar="VKEY", multiple=True, help="A log's vkey, or a file with some.")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="Shown of each log, at most.")
def search(
    app: App,
    folders: tuple[str, ...],
    token: str | None,
    caller: str | None,
    since: str | None,
    until: str | None,
    code: str | None,
    action: str | None,
    approver: str | None,
    keys: tuple[str, ...],
    limit: int,
) -> None:
    """Find entries in logs.

    Each DIR is an exported log, an agent's own folder (running or not), or holds such folders. Every log is checked
    against its checkpoint on the way, and the checkpoint's signature where --log-key gives the key; exits 2 when one
    is not what was signed.
    """
    logs = open_all(map(Path, folders))
    signed = check_keys(logs, _vkeys(keys))
    wanted = {
        "token": token and _hex(token, "--token").hex(),
        "caller": caller and _hex(caller, "--caller").hex(),
        "since": _when(since),
        "until": _when(until),
        "code": code,
        "action": action,
        "approver": approver and _hex(approver, "--approver").hex(),
        "limit": limit,
    }
    found: list[Entry] = []
    total = 0
    for log in logs:
        rows, count = log.search(**wanted)
        found += rows
        total += count
    found.sort(key=lambda entry: (entry.fields["time"], entry.agent, entry.index))
    app.emit(
        {"logs": [_log(log, signed) for log in logs], "found": total, "entries": [_entry(entry) for entry in found]}
    )
    if not app.json:
        app.out.print(_entries(found, _names(app)))
    if total > len(found):
        app.warn([f"{total} entries fit, {len(found)} are shown: say more, or raise --limit"])
    app.remark(f"{total} of {sum(log.core.size for log in logs)} entries; every log is what its checkpoint says.")


def _log(log: Log, signed: set[str]) -> dict[str, Any]:
    found = {"folder": str(log.path), "agent": log.agent, "size": log.core.size, "root": log.core.root.hex()}
    return {**found, "signature": "good" if log.agent in signed else "not checked"}


def _entry(entry: Entry) -> dict[str, Any]:
    return {"index": entry.index, **entry.fields}


def _entries(entries: Sequence[Entry], names: dict[str, str]) -> Table:
    table = Table("when", "agent", "entry", "code", "what", "token", "key", "caller", "reason")
    for entry in entries:
        fields = entry.fields
        what = sorted({f"{each['action']} {each['suite']}".strip() for each in fields["operations"]})
        count = len(fields["operations"])
        row = [
            _time(fields["time"]),
            names.get(entry.agent, short(entry.agent)),
            str(entry.index),
            fields["code"],
            (", ".join(what) or fields["verb"]) + (f" x{count}" if count > 1 else ""),
            short(fields["token"]),
            fields["key_name"],
            fields["caller_name"],
            fields["reason"],
        ]
        table.add_row(*map(printable, row), style=None if fields["code"] == "done" else "yellow")
    return table


@verb(audit)
@click.argument("folders", metavar="LOG...", nargs=-1, required=True)
@click.option("--seen", metavar="RECEIPTS", multiple=True, required=True, help="Receipts; may be repeated.")
@click.option("--caller", "callers", metavar="ID", multiple=True, help="More callers whose operations you kept.")
@click.option("--log-key", "keys", metavar="VKEY", multiple=True, help="A log's vkey, or a file with some.")
@click.option(
    "--deadline",
    type=click.IntRange(1, 600_000),
    metavar="MS",
    default=DEADLINES["all else"],
    help="That operations were given at most: what is logged much later is none of them. "
    f"[default: {DEADLINES['all else']}]",
)
def reconcile(
    app: App,
    folders: tuple[str, ...],
    seen: tuple[str, ...],
    callers: tuple[str, ...],
    keys: tuple[str, ...],
    deadline: int,
) -> None:
    """Compare receipts with what the agents logged.

    Names operations, orders and seats that the agents permitted and no receipt is of, and receipts that the logs do
    not bear out. Exits 2 when there are any. A --seen folder stands for all files in it.
    """
    files = [file for each in seen for file in _files_of(Path(each))]
    logs = open_all(map(Path, folders))
    check_keys(logs, _vkeys(keys))
    further = [_hex(each, "--caller").hex() for each in callers]
    kept = [each for file in files for each in kept_receipts.load(file)]
    done = compare(kept, logs, further, deadline / 1000)
    app.emit(
        {
            "agree": done.agree,
            "matched": done.matched,
            "unseen": [_entry(entry) for entry in done.unseen],
            "unanswered": [_entry(entry) for entry in done.unanswered],
            "missing": [asdict(each) for each in done.missing],
            "beyond": [asdict(each) for each in done.beyond],
        }
    )
    if not app.json:
        _show_reconciled(app, done)
    if not done.agree:
        raise click.exceptions.Exit(2)


def _show_reconciled(app: App, done: Reconciled) -> None:
    names = _names(app)
    app.out.print(f"{done.matched} receipts are in the logs.")
    if done.unanswered:
        app.out.print(f"{len(done.unanswered)} more entries are of operations that were seen (hedges, late answers).")
    if done.unseen:
        app.out.print("The agents permitted what no receipt is of:", style="bold red")
        app.out.print(_entries(done.unseen, names))
    if done.missing:
        app.out.print("Receipts that the logs do not bear out:", style="bold red")
        app.out.print(_receipts(done.missing, names))
    if done.beyond:
        app.out.print("Receipts that no log given reaches:", style="yellow")
        app.out.print(_receipts(done.beyond, names))


def _receipts(rows: Sequence[Missing], names: dict[str, str]) -> Table:
    table = Table("file", "agent", "entry", "why")
    for row in rows:
        agent = names.get(row.agent, short(row.agent))
        table.add_row(printable(row.path), printable(agent), str(row.index), printable(row.why, limit=None))
    return table


@verb(audit)
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option("--key", metavar="FILE", required=True, help="This witness's own key (Ed25519, mode 0600).")
@click.option("--create-key", is_flag=True, help="Make that key first.")
@click.option("--name", required=True, help="This witness's name on cosignatures, such as witness.example/w1.")
@click.option("--state", metavar="FILE", help="What it has seen. [default: witness.json in the home folder]")
@click.option("--log-key", metavar="VKEY", help="The log's vkey, or a file with it: for a log seen the first time.")
@click.option("--out", metavar="FILE", help="Write the cosigned checkpoint there. [default: in place]")
def witness(
    app: App,
    checkpoint: str,
    key: str,
    create_key: bool,
    name: str,
    state: str | None,
    log_key: str | None,
    out: str | None,
) -> None:
    """Cosign somebody else's log, if it has only grown.

    CHECKPOINT is that of an exported log; its tiles, beside it, prove that the log goes on from what this witness
    saw last. A fork or a rollback is refused (2), and never signed.
    """
    path = Path(checkpoint)
    folder = path if path.is_dir() else path.parent
    at = folder / "checkpoint"
    if not path.is_dir() and path.name != "checkpoint":
        raise error("usage", f"{path} is not the checkpoint of an exported log", "Name DIR or DIR/checkpoint.")
    if app.home.identity.exists() and Path(key).exists() and Path(key).samefile(app.home.identity):
        raise error("usage", "a witness's key signs nothing else, an identity's neither", "Use --create-key FILE.")
    remembered = Path(state) if state else _files.folder(app.home.root) / "witness.json"
    if create_key:
        try:
            vkey = _core.witness_key(name, key, True)
        except _core.CoreError as e:
            raise translate(e) from None
        app.say(f"Made {key}. Those who rely on this witness need its vkey:\n  {vkey}")
    (opened,) = open_all([folder])
    if not opened.core.exported:
        raise error("usage", f"{folder} is an agent's own folder", "Export it: `evanesce agent log export`.")
    known = _vkeys([log_key])[0] if log_key else None
    done = look(opened, name, Path(key), remembered, known)
    written = Path(out) if out else at
    _files.write(written, done.checkpoint.encode(), overwrite=True)
    document = {field: value for field, value in asdict(done).items() if field != "checkpoint"}
    app.emit({**document, "written": str(written)})
    app.say(f"{done.origin}: {done.before} entries before, {done.size} now, nothing rewritten. Cosigned: {written}")


def _vkeys(given: Sequence[str]) -> list[str]:
    found: list[str] = []
    for each in given:
        if each.count("+") >= 2 and not Path(each).exists():
            found.append(each)
        else:
            lines = _files.read(Path(each)).decode(errors="replace").split("\n")
            found += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if given and not found:
        raise error("bad-input", "there is no vkey in what was given", "Give the vkey, or a file with one a line.")
    return list(dict.fromkeys(found))


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(child for child in path.iterdir() if child.is_file() and not child.name.startswith("."))


def _names(app: App) -> dict[str, str]:
    if not app.home.quorum.exists():
        return {}
    return {agent.id: agent.name for agent in read_agents(app.home.quorum)}


def _hex(text: str, option: str) -> bytes:
    try:
        value = bytes.fromhex("".join(text.split()))
    except ValueError:
        value = b""
    if len(value) != 32:
        raise error("usage", f"{option} is not 64 hexadecimal digits", "Give it whole.")
    return value


def _when(text: str | None) -> int | None:
    """Unix milliseconds."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text) * 1000
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise error(
            "usage", f"{printable(text)!r} is no date", "Use 2030-01-31, 2030-01-31T12:00:00Z, or Unix seconds."
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp() * 1000)


def _time(milliseconds: int) -> str:
    try:
        moment = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return str(milliseconds)
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
