"""`evanesce agent`: setting up, running and asking recovery agents."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import click
from rich.table import Table

from evanesce import AgentStatus, _core, _files, _toml
from evanesce._agentdir import NAME, ROLES, AgentFolder, known_identity
from evanesce._rolls import Rolls
from evanesce._text import printable, short
from evanesce.cli import _options
from evanesce.cli._app import App, Stopwatch, verb
from evanesce.cli._progress import counting
from evanesce.cli.identity import own_id
from evanesce.errors import error, translate
from evanesce.home import LABELS, Agent, read_agents, valid_address


def register(root: click.Group) -> None:
    """Adds this group."""
    root.add_command(agent)


@click.group()
def agent() -> None:
    """Set up, run and ask recovery agents."""


@verb(agent)
@click.argument("folder", metavar="DIR")
@click.option("--name", required=True, help="What quorums will call it.")
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where it listens.")
@click.option("--address", metavar="HOST:PORT", help="Where callers reach it. [default: as --listen]")
@click.option("--observe", metavar="HOST:PORT", help="Plain HTTP for /healthz and /metrics.")
@click.option("--site", default="", help="For the quorum file.")
@click.option("--vendor", default="", help="For the quorum file.")
@click.option("--administrator", default="", help="For the quorum file: who runs it.")
@click.option("--commit", type=click.Choice(["process", "power"]), help="When its log must be on disk.")
@click.option(
    "--element",
    "kind",
    type=click.Choice(["software", "pkcs11"]),
    default="software",
    show_default=True,
    help="software is a development element.",
)
@click.option("--passphrase-file", metavar="FILE", help="software: seal the roots with it (Argon2id).")
@click.option("--passphrase-terminal", is_flag=True, help="software: ask for the passphrase.")
@click.option("--module", metavar="FILE", help="pkcs11: the module's library.")
@click.option("--token", "label", metavar="LABEL", help="pkcs11: the token's label.")
@click.option("--slot", type=int, help="pkcs11: the slot, instead of a label.")
@click.option("--pin-file", metavar="FILE", help="pkcs11: where the PIN is (mode 0600).")
@click.option("--pin-descriptor", type=int, metavar="N", help="pkcs11: an open descriptor to read it from.")
@click.option("--pin-terminal", is_flag=True, help="pkcs11: ask for the PIN.")
@click.option("--root-label", default="evanesce-root", show_default=True, help="pkcs11: the root's label.")
@click.option("--init-args", metavar="TEXT", help="pkcs11: for modules that need it (NSS).")
@click.option("--identity-label", metavar="LABEL", help="pkcs11: keep the identity (P-256) in the token too.")
@click.option("--accept-weak-element", is_flag=True, help="pkcs11: take it though it fails a probe.")
@click.option("--register", is_flag=True, help="Add it to the quorum file of this home folder, too.")
def init(
    app: App,
    folder: str,
    name: str,
    listen: str,
    address: str | None,
    observe: str | None,
    site: str,
    vendor: str,
    administrator: str,
    commit: str | None,
    kind: str,
    passphrase_file: str | None,
    passphrase_terminal: bool,
    module: str | None,
    label: str | None,
    slot: int | None,
    pin_file: str | None,
    pin_descriptor: int | None,
    pin_terminal: bool,
    root_label: str,
    init_args: str | None,
    identity_label: str | None,
    accept_weak_element: bool,
    register: bool,
) -> None:
    """Set up an agent in DIR.

    Writes its configuration, and makes its identity and a new root in its secure element. Prints the stanza
    that callers put in their quorum file.
    """
    if not NAME.fullmatch(name):
        raise error("usage", f"{name!r} cannot be an agent's name", "Use 1 to 64 of A-Z a-z 0-9 . _ @ -")
    for given in (listen, address, observe):
        if given is not None and not valid_address(given):
            raise error("usage", f"{given!r} is not HOST:PORT", "Give both, as in 127.0.0.1:7401.")
    top: dict[str, _toml.Value] = {"name": name, "listen": listen, "identity": "identity.key"}
    if identity_label is not None:
        top["identity"] = {"element": identity_label}
    top |= {key: value for key, value in (("observe", observe), ("commit", commit)) if value}
    if kind == "software":
        _refuse_stray(kind, {"--module": module, "--token": label, "--slot": slot, "--pin-file": pin_file})
        element = _software(passphrase_file, passphrase_terminal)
    else:
        _refuse_stray(kind, {"--passphrase-file": passphrase_file})
        pin = _source(pin_file, pin_descriptor, pin_terminal, "--pin")
        element = _pkcs11(module, label, slot, pin, root_label, init_args, accept_weak_element)

    at = AgentFolder(Path(folder).absolute())
    if at.config.exists():
        raise error("exists", f"there is an agent in {at.root} already", "Choose another folder.")
    if register and app.home.quorum.exists() and any(a.name == name for a in read_agents(app.home.quorum)):
        raise error("exists", f"{app.home.quorum} names {name} already", "Choose another name, or correct that file.")
    fresh = not at.root.exists()
    _files.folder(at.root)
    before = set(at.root.iterdir())
    at.write_config(top, element)
    try:
        with app.working("creating a root in the secure element", asks=passphrase_terminal or pin_terminal):
            made = _core.element_create(str(at.root))
    except _core.CoreError as e:
        # What this attempt left behind would stand in the way of the next; nothing was ever made under its root.
        for path in set(at.root.iterdir()) - before:
            path.unlink()
        if fresh:
            at.root.rmdir()
        raise translate(e) from None
    entry = Agent(name, made["agent_id"], address or listen, site, vendor, administrator)
    if register:
        _enlist(app.home.quorum, entry)
    document = {"folder": str(at.root), "stanza": entry.stanza(), "element": made}
    app.emit(document | {field: getattr(entry, field) for field in ("name", "id", "address", *LABELS)})
    if not app.json:
        click.echo(entry.stanza(), nl=False)
    if made["development"]:
        app.warn([f"{printable(made['label'])}: its roots are a file. For real keys use an HSM (--element pkcs11)."])
    app.warn(f"accepted though weak: {printable(weakness)}" for weakness in made["weaknesses"])
    for note in made["notes"]:
        app.say(f"note: {printable(note)}")
    app.say(f"Next: `evanesce agent allow {folder} …` for each caller, then `evanesce agent run {folder}`.")


def _refuse_stray(kind: str, given: Mapping[str, object]) -> None:
    for option, value in given.items():
        if value is not None:
            raise error("usage", f"{option} does not go with --element {kind}", "Leave it out.")


def _source(file: str | None, descriptor: int | None, terminal: bool, option: str) -> dict[str, _toml.Value] | None:
    given = (file is not None) + (descriptor is not None) + terminal
    if given > 1:
        raise error("usage", f"several sources were given for {option}", "Give one of them.")
    if file is not None:
        return {"file": str(Path(file).absolute())}
    if descriptor is not None:
        return {"descriptor": descriptor}
    return {"terminal": True} if terminal else None


def _software(passphrase_file: str | None, terminal: bool) -> dict[str, _toml.Value]:
    element: dict[str, _toml.Value] = {"kind": "software", "roots": "roots"}
    source = _source(passphrase_file, None, terminal, "--passphrase")
    return element | ({"passphrase": source} if source else {})


def _pkcs11(
    module: str | None,
    label: str | None,
    slot: int | None,
    pin: dict[str, _toml.Value] | None,
    root_label: str,
    init_args: str | None,
    accept_weak: bool,
) -> dict[str, _toml.Value]:
    if module is None:
        raise error("usage", "a PKCS#11 element needs its module", "Give --module /path/to/library.so.")
    if (label is None) == (slot is None):
        raise error("usage", "a PKCS#11 element is one token", "Give --token LABEL, or --slot NUMBER.")
    element: dict[str, _toml.Value] = {"kind": "pkcs11", "module": module, "root_label": root_label}
    if label is not None:
        element["token"] = label
    if slot is not None:
        element["slot"] = slot
    if pin is not None:
        element["pin"] = pin
    if init_args is not None:
        element["init_args"] = init_args
    if accept_weak:
        element["accept_weak_element"] = True
    return element


def _enlist(path: Path, entry: Agent) -> None:
    # What is there is checked first, so that a broken file is not made longer.
    before = read_agents(path) if path.exists() else ()
    if any(other.name == entry.name or other.id == entry.id for other in before):
        raise error("exists", f"{path} names {entry.name} already", "Correct the quorum file by hand.")
    _files.folder(path.parent)
    text = _files.read(path).decode() if path.exists() else ""
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    _files.write(path, (text + gap + entry.stanza()).encode(), overwrite=True)


@verb(agent)
@click.argument("folder", metavar="DIR")
def run(app: App, folder: str) -> None:  # noqa: ARG001
    """Run the agent of DIR until SIGTERM or SIGINT.

    Prints one JSON line when it listens, and writes DIR/agent.addr. Its own log of events goes to stderr.
    """
    at = AgentFolder(Path(folder).absolute())
    at.require()
    listening = False

    def interrupted(*_: object) -> None:
        # The agent hears SIGINT itself once it listens, and has stopped by the time Python gets to hear of it.
        if not listening:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the agent hears it itself, one must not end it
    lock = at.claim()
    known = at.known.read_bytes() if at.known.exists() else b""

    def ready(address: str) -> None:
        nonlocal listening
        listening = True
        if at.known.exists() and at.known.read_bytes() != known:
            os.kill(os.getpid(), signal.SIGHUP)  # it was told of someone while it started
        _files.write(at.address, f"{address}\n".encode(), overwrite=True)
        line = {"event": "listening", "address": address, "folder": str(at.root), "pid": os.getpid()}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    try:
        _core.run_agent(str(at.root), ready)
    except _core.CoreError as e:
        raise translate(e) from None
    finally:
        at.address.unlink(missing_ok=True)
        at.pid.unlink(missing_ok=True)
        os.close(lock)


@verb(agent)
@click.argument("folder", metavar="DIR")
@click.option("--tokens", required=True, metavar="DIR", help="The inventory: every token file of this operator.")
@click.option("--destroy-old", type=click.IntRange(0), metavar="EPOCH", help="Destroy that root; begin no new one.")
@click.option(
    "--lost", metavar="AGENT", multiple=True, help="An agent whose own roll is not to be waited for; repeatable."
)
def roll(app: App, folder: str, tokens: str, destroy_old: int | None, lost: tuple[str, ...]) -> None:
    """Move the agent of DIR to a new root.

    Makes a root of the next epoch, re-roots this agent's row in every token of the inventory and proves each. Stop
    the agent first, and start it afterwards: it takes up the new root then, and keeps the old one. Stopped at any
    point, the same command goes on; the agent may be started in between.

    With --destroy-old, later, no new root is begun: every row is proven once more, then the old root is destroyed and
    shown to be gone. Copies of tokens from before lose this agent's seat for good. Refused while the roll of another
    agent over this inventory is unfinished, or began before and has its old root yet: one at a time, unless that agent
    is --lost. Exits 1 while anything in the inventory stands in the way.
    """
    at = AgentFolder(Path(folder).absolute())
    at.require()
    if (pid := at.running()) is not None:
        raise error("running", f"the agent of {at.root} runs (process {pid})", "Stop it, roll, and start it again.")
    if destroy_old is not None:
        app.warn(["copies of these tokens made before the roll lose this agent's seat, wherever they are"])
    watch = Stopwatch()
    try:
        with Rolls.over(Path(tokens)) as rolls, counting(app, "re-rooting", 0) as step:
            element = _core.element_probe(str(at.root))
            me, journal = element["agent_id"], at.root / "roll"
            if rolls.noted(me) and not journal.exists() and _is_gone(destroy_old, element["epochs"]):
                # The destruction was cut off before its note was ended.
                rolls.end(me)
                _tell_gone(app, at, destroy_old, element)
                return
            own = rolls.of(me, str(_toml.load(at.config).get("name", at.root.name)))
            given_up = rolls.named(lost, own)
            if destroy_old is not None:
                rolls.require_first(own, given_up)
            with rolls.going_on(own, journal):
                rolled = _core.roll_agent(str(at.root), tokens, destroy_old, step)
            rolls.give_up(given_up)
            done = rolled["finished"] and not rolled["problem_count"]
            alone = rolled["destroyed"] is not None and len(rolled["epochs"]) == 1
            if alone or (done and not rolled["rerooted"] + rolled["proven"]):
                # No old root is left; or no row here was this agent's, so that none here needs one.
                rolls.end(me)
            elif done:
                rolls.finish(own)
    except _core.CoreError as e:
        raise translate(e) from None
    app.emit({"folder": str(at.root), "milliseconds": round(watch.milliseconds, 3), **rolled})
    for file, why in rolled["problems"]:
        app.say(f"{printable(file)}: {printable(why)}", "red")
    more = rolled["problem_count"] - len(rolled["problems"])
    if more:
        app.say(f"and {more} more", "red")
    app.say(
        f"{rolled['rerooted']} rows re-rooted to epoch {rolled['epoch']}, {rolled['proven']} were there already; "
        f"{rolled['elsewhere']} tokens are others', {rolled['retired']} are retired; {watch}."
    )
    if not rolled["finished"] or rolled["problem_count"]:
        app.say("The roll is not done: put that right and run the same command again.", "yellow")
        raise click.exceptions.Exit(1)
    if rolled["destroyed"] is not None:
        app.say(f"The root of epoch {rolled['destroyed']} is destroyed: the element no longer answers for it.", "green")
        if rolled["development"]:
            app.warn(["a development element: the disk may keep old blocks of the file that held the root"])
    else:
        held = ", ".join(map(str, rolled["epochs"]))
        app.say(f"Roots held: {held}. Start the agent, check (evanesce quorum drill), and destroy the old one later.")


def _is_gone(epoch: int | None, held: list[int]) -> bool:
    """Whether the root of that epoch was destroyed, and with it the last old one."""
    return epoch is not None and len(held) == 1 and epoch < held[0]


def _tell_gone(app: App, at: AgentFolder, epoch: int | None, element: Mapping[str, object]) -> None:
    held = {"agent": element["agent_id"], "epochs": element["epochs"], "development": element["development"]}
    app.emit({"folder": str(at.root), **held, "destroyed": epoch, "finished": True, "problem_count": 0})
    app.say(f"The root of epoch {epoch} was destroyed before, and no old one is left: this roll has ended.", "green")


@verb(agent)
@click.argument("folder", metavar="DIR")
@click.option("--name", required=True, help="What policies and logs will call it.")
@click.option(
    "--id", "identifier", metavar="ID", help="Its caller id, 64 hex digits. [default: this home's own identity]"
)
@click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, help="May be repeated.")
@click.option("--group", "groups", multiple=True, help="For policies; may be repeated.")
@click.option("--webauthn", metavar="DOMAIN", help="An approver's key is an authenticator's, for this relying party.")
@click.option("--origin", "origins", metavar="URL", multiple=True, help="Only this page of it may ask; repeatable.")
@click.option("--remove", is_flag=True, help="Forget it instead.")
def allow(
    app: App,
    folder: str,
    name: str,
    identifier: str | None,
    roles: tuple[str, ...],
    groups: tuple[str, ...],
    webauthn: str | None,
    origins: tuple[str, ...],
    remove: bool,
) -> None:
    """Let the agent of DIR know a caller.

    Roles: caller; minter (may mint keys); reconstructor (shares are sealed to it: an SDK is one); approver (may
    approve what others ask for). A running agent learns it at once.
    """
    at = AgentFolder(Path(folder).absolute())
    at.require()
    if remove:
        if not at.forbid(name):
            raise error("not-found", f"{at.known} knows no {printable(name)!r}", "Look into that file.")
        changed = True
    else:
        if not roles:
            raise error("usage", "--role is missing", f"Choose among {', '.join(ROLES)}; several may be given.")
        new = known_identity(name, identifier or own_id(app), roles, groups, webauthn or "", origins)
        changed = at.allow(new)
    pid = at.reload() if changed else at.running()
    app.emit({"folder": str(at.root), "name": name, "changed": changed, "running": pid})
    verdict = "forgot" if remove else "knows"
    effect = "at once" if pid else "when it runs"
    app.say(f"{at.root} {verdict} {printable(name)}, {effect}." if changed else "Nothing to change.")


@agent.group()
def log() -> None:
    """An agent's log, for others."""


@verb(log)
@click.argument("folder", metavar="FOLDER")
@click.argument("target", metavar="DIR")
def export(app: App, folder: str, target: str) -> None:
    """Export the log of the agent in FOLDER to DIR.

    As static files (C2SP tlog-tiles), for auditors and witnesses: put DIR on any web server. The agent may run. Only
    what is on disk for good is exported, and a later export goes on from there. Exits 2, and replaces nothing,
    when the log is not the one that DIR holds.
    """
    AgentFolder(Path(folder).absolute()).require()
    with app.working("exporting"):
        try:
            made = _core.log_export(folder, target)
        except _core.CoreError as e:
            raise translate(e) from None
    app.emit({"folder": target, **made})
    app.say(f"{made['size']} entries of {made['origin']} are in {target} ({made['read']} gone through).")
    app.say(f"The log's key, for witnesses and auditors:\n  {made['vkey']}")


@verb(agent)
@_options.deadline_option
def status(app: App, deadline: int | None) -> None:
    """Ask every agent how it is.

    All those of the quorum file. Exits 1 when one does not answer, or says that it answers nothing as things are.
    """
    with app.working("asking the agents"), app.client(deadline) as client:
        places = {entry.id: entry for entry in client.agents}
        answers = client.status()
    app.emit({"agents": [_status_document(answer, places[answer.id]) for answer in answers]})
    if not app.json:
        app.out.print(status_table(answers, places))
        for answer in answers:
            app.warn(weaknesses(answer))
    if any(answer.report is None or answer.report["standing"] for answer in answers):
        raise click.exceptions.Exit(1)


def status_table(answers: tuple[AgentStatus, ...], places: Mapping[str, Agent]) -> Table:
    """One row an agent."""
    table = Table(
        "agent", "id", "address", "site", "element", "memory", "epoch", "entries", "tombstones", "you are", "state"
    )
    for answer in answers:
        place = places[answer.id]
        row = [answer.name, short(answer.id), place.address, place.site]
        report = answer.report
        if report is None:
            row += ["", "", "", "", "", "", answer.problem or "no answer"]
        else:
            # The reason for it, in brackets, is for `doctor`.
            row += [report["element"], str(report["memory"]).partition(" (")[0]]
            row += [str(report[figure]) for figure in ("current", "entries", "tombstones")]
            row[-1] += f", {report['frozen']} frozen" if report["frozen"] else ""
            row += [f"{report['caller']}: {', '.join(report['roles']) or 'no role'}", report["standing"] or "up"]
        table.add_row(*map(printable, row), style=None if report is not None and not report["standing"] else "red")
    return table


def weaknesses(answer: AgentStatus) -> list[str]:
    """What is weak about an agent that answered."""
    report = answer.report or {}
    name = printable(answer.name)
    weak = [f"{name}: weak element, accepted: {printable(weakness)}" for weakness in report.get("weaknesses", [])]
    if report.get("development"):
        weak.append(f"{name}: {printable(str(report['element']))}, not for real keys")
    return weak


def _status_document(answer: AgentStatus, place: Agent) -> dict[str, object]:
    return {
        "name": answer.name,
        "id": answer.id,
        "address": place.address,
        "site": place.site,
        "vendor": place.vendor,
        "administrator": place.administrator,
        "reachable": answer.report is not None,
        "problem": answer.problem,
        "status": answer.report,
    }
