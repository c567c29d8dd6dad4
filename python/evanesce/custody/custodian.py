"""One client's keys, whatever keeps them: from references to models, and the verbs of a key's lifecycle."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from evanesce.custody.hsm import Hsm
from evanesce.custody.key import Key
from evanesce.custody.model import Destroyed, Model
from evanesce.custody.mpc import Mpc
from evanesce.custody.reference import Reference
from evanesce.custody.regen import Regen
from evanesce.custody.regen_mpc import RegenMpc
from evanesce.home import Home
from evanesce.tokens import Token

if TYPE_CHECKING:
    from evanesce._connect import Connection
    from evanesce._mint import Source
    from evanesce.results import Healed, Renewal

AnyKey = Token | Key | str
"""What a verb takes for a key: a token, a key, or its reference."""


MODELS: tuple[type[Model], ...] = (Hsm, Mpc, Regen, RegenMpc)
"""All that there are, in the order of the documentation."""


class Custodian:
    """Keys by reference. Every verb raises `unsupported`, naming what there is, where the model lacks it; `bad-input`
    for what is no reference or no term of the model's; `not-found`, `exists`."""

    def __init__(self, home: Home, connection: Callable[[], Connection]) -> None:
        self.hsm = Hsm(home)
        """Private to this package."""
        quorum = (model(home, connection) for model in (Mpc, Regen, RegenMpc))
        models: tuple[Model, ...] = (self.hsm, *quorum)
        self._models = {model.name: model for model in models}

    def key(self, key: AnyKey) -> Token | Key:
        """The key that is named; finding one in a token may take long, once."""
        if not isinstance(key, str):
            return key
        reference = Reference.parse(key)
        return self._models[reference.model].key(reference)

    def usable(self, key: AnyKey) -> Token | Key:
        """As `key`, for one use: a reference without a version goes on to mean the newest."""
        if not isinstance(key, str):
            return key
        reference = Reference.parse(key)
        return self._models[reference.model].usable(reference)

    def create(self, key: str, suites: Iterable[str] = (), **terms: Any) -> Token | Key:
        """A new key. Terms of `hsm`: `kind`, such as "rsa-2048", where a suite has several; `for_backup`, which is said
        now or never. Terms of the others: see `Terms`; the token is saved under the name."""
        reference = Reference.parse(key)
        model = self._having(reference, "create")
        wanted = (suites,) if isinstance(suites, str) else tuple(suites)
        model.require_suites(wanted)
        return model.create(reference, wanted, terms)

    def import_key(self, key: str, suites: Iterable[str], source: Source, **terms: Any) -> Token | Key:
        """A key that exists, read by the core: see `Client.import_key`. Term of `hsm`: `for_backup`."""
        reference = Reference.parse(key)
        model = self._having(reference, "import")
        wanted = (suites,) if isinstance(suites, str) else tuple(suites)
        model.require_suites(wanted)
        return model.import_key(reference, wanted, source, terms)

    def public_key(self, key: AnyKey, suite: str | None = None, *, form: Literal["pem", "der"] = "pem") -> bytes:
        """The SubjectPublicKeyInfo of one suite, PEM or DER. Raises `unfit-operation`, `unpinned`."""
        return self.key(key).public_key(suite, form=form)

    def rotate(self, key: str, **terms: Any) -> Token | Key:
        """A new key of the same kind, which the reference means from now on. The old one, by its version, works on
        until it is destroyed: to verify, to decrypt, and for callers that have not seen the new one."""
        reference = Reference.parse(key)
        return self._having(reference, "rotate").rotate(reference, terms)

    def refresh(self, key: str, **terms: Any) -> Healed | Renewal:
        """The same key and public key under fresh shares, by a new token that the reference means from now on; what an
        earlier theft had brought is worthless once the old one (`…@1`) is destroyed. Where a `Renewal` has `faults`,
        old shares may still be at those holders; where they were not `told`, at any. Terms: see `Changes`. Raises
        `refused`, `role`, `quorum-not-met`, `unpinned`, `bad-input`."""
        reference = Reference.parse(key)
        return self._having(reference, "refresh").refresh(reference, terms)

    def back_up(self, key: str, to: str | os.PathLike[str], **terms: Any) -> dict[str, Any]:
        """What `restore` needs, in a new file; returns what it is. Terms of `hsm`: `custodians`, names and the files of
        their public keys; `quorum`, whose are enough, by default a majority, of two at least; or `joint`, that all are
        needed and the KEK is put together in a token alone (`joint`); `officer`, where the core reads the security
        officer's PIN (as a `Source`), for a key that only a trusted KEK may wrap."""
        reference = Reference.parse(key)
        return self._having(reference, "back-up").back_up(reference, to, terms)

    def restore(self, key: str, source: str | os.PathLike[str], **terms: Any) -> Token | Key:
        """The key from what `back_up` wrote, under this reference. Terms of `hsm`: `custodians`, names and key files of
        those that are here, read by the core; or, of a joint backup, `transport`, the reference of a transport key in
        the same token, and `components`, the files that were handed over; `for_backup`. Term of tokens: `pin`. Raises
        `custodians-missing`, `backup-invalid`."""
        reference = Reference.parse(key)
        return self._having(reference, "restore").restore(reference, source, terms)

    def destroy(self, key: str) -> Destroyed:
        """Ends the key for good."""
        reference = Reference.parse(key)
        return self._having(reference, "destroy").destroy(reference)

    def describe(self, key: str) -> dict[str, Any]:
        """What is known of the key; of a module (`hsm:MODULE`), what it was found to do, by trying."""
        reference = Reference.parse(key)
        return self._having(reference, "describe").describe(reference)

    def _having(self, reference: Reference, verb: str) -> Model:
        model = self._models[reference.model]
        model.require(verb)
        return model
