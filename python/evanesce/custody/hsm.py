"""`hsm`: keys that are made in a PKCS#11 token, stay there and work there.

Whatever a token does with a key is done by its own mechanisms; what it has not is refused in its own words. Keys are
made sensitive and non-extractable (docs/custody.md).
A rotated key has a new label, `LABEL@2`, beside the old one, which works on until it is destroyed.
"""

from __future__ import annotations

import functools
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from typing_extensions import Buffer

from evanesce import _core, _files, _pem, suites
from evanesce._mint import origin
from evanesce._text import printable
from evanesce.custody import modules
from evanesce.custody.backup import Backup
from evanesce.custody.component import Component, in_order
from evanesce.custody.key import Done, Key
from evanesce.custody.model import OPERATIONS, Destroyed, Model, only
from evanesce.custody.reference import Reference
from evanesce.errors import EvanesceError, error, translate
from evanesce.home import Home

if TYPE_CHECKING:
    from evanesce._mint import Source
    from evanesce._plan import Jobs
    from evanesce.results import Secret

R = TypeVar("R")

FRESH = 10.0
"""Seconds for which the newest version of a key is taken to be the newest. Here, a rotation is seen at once."""

PAUSES = (0.02, 0.2, 0.6)
"""Seconds after which the newest version is looked for again, where the key that a reference meant was not found whole
or did not work."""

_GONE = ("not-found", "element", "unsupported")
"""What is said of a key that is being made or destroyed: SoftHSM shows it with no value, or with invalid attributes."""

_HERE = "an hsm key, here, has"

_LABEL = re.compile(r"(.*)@([1-9][0-9]{0,8})", re.DOTALL)


class HsmKey(Key):
    """One key in a token."""

    def __init__(self, reference: Reference, core: _core.HsmKey, newest: Newest | None = None) -> None:
        """`newest`: where the newest version is meant, which that was when it was last looked for."""
        served = tuple(core.suites)
        public = core.public
        pairs = {} if public is None else {suite: public for suite in served}
        super().__init__(Hsm, str(reference), served, pairs)
        self.reference = reference
        self.core = core
        self.first = time.monotonic()
        """When this version was first found here."""
        self._newest = newest

    def _prepare(self, jobs: Jobs) -> Callable[[], Done]:
        work = _call(self.core.prepare, jobs)
        return lambda: Done(self._with_newest(work.run))

    def macs(self, messages: Iterable[Buffer], suite: str) -> list[bytes]:
        given = list(messages)
        return self._with_newest(lambda key: key.macs(suite, given))

    def _with_newest(self, work: Callable[[_core.HsmKey], R]) -> R:
        return _call(work, self.core) if self._newest is None else self._newest.do(work)

    def describe(self) -> dict[str, Any]:
        return {"key": self.uri, "model": "hsm", "kind": self.core.kind, "suites": list(self.suites)}


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest version of a key, whichever that is at the time."""

    model: Hsm
    reference: Reference

    def do(self, work: Callable[[_core.HsmKey], R]) -> R:
        """Does it with the version that is kept, and with what is then the newest while that does not work: it may be
        destroyed between being looked up and used, or new, and SoftHSM shows a key before it has its value."""
        key: HsmKey | None = None

        def once() -> R:
            nonlocal key
            key = self.model.fresh(self.reference) if key is None else self.model.look(self.reference)
            return _call(work, key.core)

        def final(e: EvanesceError) -> bool:
            # A key that has been there for so long has its value: what it does not do now it will not do later.
            whole = key is not None and time.monotonic() - key.first > sum(PAUSES)
            return (e.code == "unsupported" and whole) or self.model.absent(self.reference, e)

        return _patiently(once, final)


def _patiently(once: Callable[[], R], final: Callable[[EvanesceError], bool]) -> R:
    """What comes of it; tried again while it fails as it may with a key that is being made or destroyed, unless that is
    final."""
    for pause in PAUSES:
        try:
            return once()
        except EvanesceError as e:
            if e.code not in _GONE or final(e):
                raise
        time.sleep(pause)
    return once()


class Hsm(Model):
    """The PKCS#11 tokens of one home."""

    name = "hsm"
    supports: ClassVar = {
        "create": "generated in the token; sensitive and non-extractable",
        "import": "wrapped in the core's locked memory, unwrapped in the token; destroying the original is yours to do",
        "public-key": "of a key pair",
        "rotate": "a new key of the same kind beside the old one",
        "back-up": "wrapped under a KEK that is split among custodians, if the key was made for that",
        "restore": "into any token, by enough of the custodians",
        "destroy": "by the token, both halves, for good",
        "describe": "the token's own word on the key; of a module, what it was found to do",
    }
    refuses: ClassVar = {
        "refresh": "a key in a token is whole, and has no shares",
        "sign-payload": "a token signs whatever it is given, and no policy reads it",
        "mac-payload": "a token takes whatever it is given, and no policy reads it",
        "derive": "the tokens' derivations are not HKDF as suites have it, or give the base key away",
        "agree": "X25519 is not a kind of key that is served in tokens",
        "decapsulate": "ML-KEM is not a kind of key that is served in tokens",
    }

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._tokens: dict[str, _core.Hsm] = {}
        self._keys: dict[Reference, tuple[float, HsmKey]] = {}

    @classmethod
    @functools.cache
    def operations(cls) -> Mapping[str, Sequence[str]]:
        served = [suite for _, all_of_it in _core.hsm_kinds() for suite in all_of_it]
        known = [name for name in suites.ALL if name in served]

        found = {action: [name for name in known if suites.ALL[name].offers(action)] for action in OPERATIONS}
        return {action: names for action, names in found.items() if names and action not in cls.refuses}

    def key(self, reference: Reference) -> HsmKey:
        found = self._find(reference)
        return HsmKey(found.reference, found.core)

    def usable(self, reference: Reference) -> HsmKey:
        # Of one that is kept its use looks for the newest: that may block, and this may be an event loop.
        return self._kept(reference) or self._find(reference)

    def _find(self, reference: Reference) -> HsmKey:
        return _patiently(lambda: self.fresh(reference), lambda e: self.absent(reference, e))

    def fresh(self, reference: Reference) -> HsmKey:
        """As it was at most `FRESH` ago."""
        return self._kept(reference, FRESH) or self.look(reference)

    def absent(self, reference: Reference, e: EvanesceError) -> bool:
        """Whether it was not found because there is none."""
        if reference.version is not None:
            return True
        return e.code == "not-found" and not self._versions(self._token(reference.place), reference)

    def look(self, reference: Reference) -> HsmKey:
        """As the token has it now: the newest that is whole, since one may be being made."""
        _require_label(reference)
        asked = time.monotonic()
        token = self._token(reference.place)
        versions = self._versions(token, reference) if reference.version is None else [reference.version]
        for version in reversed(versions[1:]):
            found = _unless(_GONE, token.key, _label(reference.label, version))
            if found is not None:
                return self._keep(reference, HsmKey(reference.at(version), found), asked)
        first = versions[0] if versions else 1
        return self._keep(
            reference, HsmKey(reference.at(first), _call(token.key, _label(reference.label, first))), asked
        )

    def create(self, reference: Reference, suites: Iterable[str], terms: Mapping[str, Any]) -> HsmKey:
        _require_first(reference)
        kind = _kind(tuple(suites), only(terms, _HERE, "kind", "for_backup").get("kind"))
        token = self._new(reference)
        made = _call(token.generate, kind, reference.label, bool(terms.get("for_backup")))
        return self._made(reference.at(1), made)

    def import_key(
        self, reference: Reference, suites: Iterable[str], source: Source, terms: Mapping[str, Any]
    ) -> HsmKey:
        _require_first(reference)
        wanted = tuple(suites)
        # Which kind it is, its length tells; that it serves all of these is looked at before it is read.
        _kind(wanted, None)
        leave = bool(only(terms, _HERE, "for_backup").get("for_backup"))
        token = self._new(reference)
        made = _call(token.import_key, reference.label, wanted[0], origin(source), leave)
        return self._made(reference.at(1), made)

    def versions(self, reference: Reference) -> list[int]:
        """Those that there are, ascending."""
        _require_label(reference)
        return self._versions(self._token(reference.place), reference)

    def load(self, reference: Reference, suite: str, secret: Secret) -> HsmKey:
        """Takes in a derived secret as this very version of a key: see `working`."""
        label = _label(reference.label, reference.version or 1)
        made = _call(self._token(reference.place).load, label, suite, secret.core)
        return self._made(reference.at(reference.version or 1), made)

    def rotate(self, reference: Reference, terms: Mapping[str, Any]) -> HsmKey:
        only(terms, _HERE)
        _require_label(reference)
        if reference.version is not None:
            raise error("bad-input", f"{reference} is one version of a key", "Rotate the key: leave @N out.")
        token = self._token(reference.place)
        versions = self._versions(token, reference)
        if not versions:
            raise error("not-found", f"there is no key {reference}", "`evanesce key describe hsm:MODULE` lists those.")
        last = max(versions)
        label = _label(reference.label, last)
        old, leave = _call(token.key, label), _call(token.leaves, label) != "never"
        made = _call(token.generate, old.kind, _label(reference.label, last + 1), leave)
        return self._made(reference.at(last + 1), made)

    def back_up(self, reference: Reference, to: str | os.PathLike[str], terms: Mapping[str, Any]) -> dict[str, Any]:
        key = self.key(reference)
        given = only(terms, _HERE, "custodians", "quorum", "officer", "joint")
        named: Mapping[str, str | os.PathLike[str]] = given.get("custodians") or {}
        keys = {name: _pem.der(_files.read(Path(path)), f"{path}") for name, path in named.items()}
        joint = bool(given.get("joint"))
        if joint and given.get("quorum"):
            raise error(
                "bad-input", "a key that is put together in a token takes all custodians", "Leave the quorum out."
            )
        quorum = None if joint else given.get("quorum") or f"{max(2, len(keys) // 2 + 1)} of ({', '.join(keys)})"
        officer = given.get("officer")
        if os.path.lexists(to):
            raise _files.exists(Path(to))
        token = self._token(reference.place)
        kind, public, wrapped, settled, components, check = _call(
            token.back_up, key.core.label, quorum, keys, None if officer is None else origin(officer)
        )
        where = _call(lambda: token.token)
        now = int(time.time())
        made = Backup(key.core.label, kind, public, wrapped, settled, tuple(components), check, where, now, joint)
        made.save(Path(to))
        return {
            "key": key.uri,
            "file": os.fspath(to),
            "holds": f"the key, wrapped; its KEK (check value {check.hex()}) takes {settled}",
            "quorum": settled,
            "check": check.hex(),
            "components": [{"custodian": name, "check": part.hex()} for name, _, part in components],
        }

    def restore(self, reference: Reference, source: str | os.PathLike[str], terms: Mapping[str, Any]) -> HsmKey:
        _require_first(reference)
        given = only(terms, _HERE, "custodians", "for_backup", "transport", "components")
        backup = Backup.load(Path(source))
        token = self._new(reference)
        if backup.joint:
            return self._made(reference.at(1), self._put_together(reference, token, backup, given))
        for word in ("transport", "components"):
            if word in given:
                raise error("bad-input", f"this backup's key is assembled here: it has no {word}", "Give custodians.")
        files: Mapping[str, str | os.PathLike[str]] = given.get("custodians") or {}
        made = _call(
            token.restore,
            reference.label,
            backup.label,
            backup.kind,
            backup.public,
            backup.wrapped,
            backup.quorum,
            list(backup.components),
            backup.check,
            {name: os.fspath(path) for name, path in files.items()},
            bool(given.get("for_backup")),
        )
        return self._made(reference.at(1), made)

    @staticmethod
    def _put_together(reference: Reference, token: _core.Hsm, backup: Backup, given: Mapping[str, Any]) -> _core.HsmKey:
        if given.get("custodians"):
            raise error(
                "bad-input",
                "this backup's key is put together in the token: no custodian's key file is for this machine",
                "Have each hand its component over (`evanesce key hand-over`), and give those.",
            )
        transport = Reference.parse(str(given.get("transport") or reference.model + ":"))
        if (transport.model, transport.place) != (reference.model, reference.place) or not transport.label:
            raise error(
                "bad-input",
                "the transport key is another one's, or none",
                f"Name the one in the same token: hsm:{printable(reference.place)}/LABEL.",
            )
        components = in_order([Component.load(Path(path)) for path in given.get("components") or ()], backup)
        may = bool(given.get("for_backup"))
        label = _label(transport.label, transport.version or 1)
        return _call(
            token.restore_joint,
            reference.label,
            backup.label,
            backup.kind,
            backup.public,
            backup.wrapped,
            label,
            components,
            may,
        )

    def make_transport(self, reference: Reference) -> tuple[bytes, list[str]]:
        """See `joint.make_transport`."""
        _require_first(reference)
        token = self._new(reference)
        made = _call(token.make_transport, reference.label)
        try:
            return made, _call(token.joint_weaknesses, reference.label)
        except EvanesceError:
            # Nothing can be put together there: it would be good for nothing.
            _call(token.destroy, reference.label)
            raise

    def joint_weaknesses(self, reference: Reference) -> list[str]:
        """Of a token, by its transport key."""
        label = _label(reference.label, reference.version or 1)
        return _call(self._token(reference.place).joint_weaknesses, label)

    def destroy(self, reference: Reference) -> Destroyed:
        _require_label(reference)
        token = self._token(reference.place)
        versions = self._versions(token, reference)
        if reference.version is None and len(versions) > 1:
            named = ", ".join(str(reference.at(version)) for version in versions)
            raise error("bad-input", f"{reference} has several versions", f"Say which is to go: {named}.")
        version = reference.version or next(iter(versions), 1)
        _call(token.destroy, _label(reference.label, version))
        with self._lock:
            self._keys = {kept: key for kept, key in self._keys.items() if kept.at(None) != reference.at(None)}
        return Destroyed(True, f"{reference.at(version)} was destroyed in the token")

    def describe(self, reference: Reference) -> dict[str, Any]:
        token = self._token(reference.place)
        if not reference.label:
            return self._describe_module(reference, token)
        # As it is now, not as it was found up to `FRESH` ago: it may have been renewed and destroyed elsewhere.
        key = _patiently(lambda: self.look(reference), lambda e: self.absent(reference, e))
        rows = {row[0]: row for row in _call(token.keys)}
        found = rows.get(_label(reference.label, key.reference.version or 1))
        if found is None:
            raise error("not-found", f"{key.uri} was destroyed while it was being described", "Ask again.")
        return {
            **key.describe(),
            "token": _call(lambda: token.token),
            "versions": self._versions(token, reference),
            "non_extractable": found[2],
            "never_left": found[3],
            "can_be_backed_up": _call(token.leaves, found[0]),
        }

    def _describe_module(self, reference: Reference, token: _core.Hsm) -> dict[str, Any]:
        # RSA of one size tells of all; the larger ones take a module half a minute to make.
        kinds = [kind for kind, _ in _core.hsm_kinds() if kind not in ("rsa-3072", "rsa-4096")]
        able = [
            {"kind": kind, "suite": suite, "works": why is None, "why_not": why}
            for kind, suite, why in _call(token.capabilities, kinds)
        ]
        keys = [
            {"label": label, "kind": kind, "non_extractable": stays, "never_left": always, "can_be_backed_up": leaves}
            for label, kind, stays, always, leaves in _call(token.keys)
        ]
        return {
            "module": str(reference),
            "model": "hsm",
            "token": _call(lambda: token.token),
            "suites": able,
            "keys": keys,
        }

    def _token(self, name: str) -> _core.Hsm:
        with self._lock:
            token = self._tokens.get(name)
            if token is not None:
                return token
            token = modules.open_token(self._home.modules, name)
            self._tokens[name] = token
            return token

    @staticmethod
    def _versions(token: _core.Hsm, reference: Reference) -> list[int]:
        """Those that there are, ascending."""
        found = set()
        for label, *_ in _call(token.keys):
            versioned = _LABEL.fullmatch(label)
            if label == reference.label:
                found.add(1)
            elif versioned and versioned[1] == reference.label and versioned[2] != "1":
                found.add(int(versioned[2]))
        return sorted(found)

    def _new(self, reference: Reference) -> _core.Hsm:
        """The token of a key that is about to be."""
        token = self._token(reference.place)
        if self._versions(token, reference):
            raise error("exists", f"there is a key {reference} already", "Rotate it, or choose another label.")
        return token

    def _made(self, reference: Reference, core: _core.HsmKey) -> HsmKey:
        """A new version, which is the newest."""
        key = HsmKey(reference, core)
        self._keep(reference.at(None), key)
        return key

    def _kept(self, reference: Reference, within: float | None = None) -> HsmKey | None:
        _require_label(reference)
        with self._lock:
            asked, key = self._keys.get(reference, (0.0, None))
        stale = within is not None and reference.version is None and time.monotonic() - asked >= within
        return None if stale else key

    def _keep(self, reference: Reference, key: HsmKey, asked: float | None = None) -> HsmKey:
        """Keeps what a reference means now, as it was when it was `asked`."""
        if reference.version is None:
            key = HsmKey(key.reference, key.core, Newest(self, reference))
        with self._lock:
            _, before = self._keys.get(reference, (0.0, None))
            if before is not None and before.reference == key.reference:
                key.first = before.first
            self._keys[reference] = (time.monotonic() if asked is None else asked, key)
        return key


def _label(label: str, version: int) -> str:
    return label if version == 1 else f"{label}@{version}"


def _require_label(reference: Reference) -> None:
    if not reference.label:
        raise error("bad-input", f"{reference} names a module, and no key in it", "Name it as hsm:MODULE/LABEL.")


def _require_first(reference: Reference) -> None:
    _require_label(reference)
    if reference.version is not None or _LABEL.fullmatch(reference.label):
        raise error("bad-input", f"{reference} names a version", "A new key is the first: leave @N out.")


def _kind(wanted: tuple[str, ...], named: str | None) -> str:
    """The kind of key that serves all of these suites. Raises `unsupported`, `bad-input`."""
    suites.check_known(wanted)
    kinds = _core.hsm_kinds()
    fit = [kind for kind, served in kinds if wanted and set(wanted) <= set(served)]
    if named is not None:
        if named not in dict(kinds):
            raise error(
                "bad-input", f"there is no kind of key {printable(named)!r}", f"Choose among {', '.join(dict(kinds))}."
            )
        if wanted and named not in fit:
            raise error("bad-input", f"{named} keys do not serve {', '.join(wanted)}", "Leave one of them out.")
        return named
    if not wanted:
        raise error("bad-input", "a key needs at least one suite", "Name one, or a kind of key.")
    if not fit:
        served = dict.fromkeys(suite for _, all_of_it in kinds for suite in all_of_it)
        raise Hsm.unsupported("create", f"no one kind of key serves {', '.join(wanted)}; there are {', '.join(served)}")
    # RSA keys of three sizes serve the same: 3072 bits are as strong as the others' curves.
    return "rsa-3072" if "rsa-3072" in fit else fit[0]


def _unless(codes: Sequence[str], function: Callable[..., R], *arguments: Any) -> R | None:
    try:
        return _call(function, *arguments)
    except EvanesceError as e:
        if e.code not in codes:
            raise
        return None


def _call(function: Callable[..., R], *arguments: Any) -> R:
    try:
        return function(*arguments)
    except _core.CoreError as e:
        raise translate(e) from None
