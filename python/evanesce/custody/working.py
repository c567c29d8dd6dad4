"""Working keys: derived from a root that a quorum keeps, loaded into PKCS#11 tokens, and replaced there in time.

The root is in no token and on no disk; a working key is in every token of a cluster alike, MACs there at line rate, and
is derived anew from the root if a token is lost. A renewal brings the next version into all tokens before it takes the
oldest away, so that there is no moment in which none works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evanesce.custody.reference import Reference
from evanesce.errors import error
from evanesce.suites import check_known

if TYPE_CHECKING:
    from evanesce.client import Client
    from evanesce.custody.custodian import AnyKey

LENGTHS = {"hmac-sha256": 32, "hmac-sha512": 64, "aes-cmac": 32, "aes-256-gcm": 32}
"""Bytes of a working key, by suite."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a renewal did."""

    version: int
    """That the references mean from now on."""
    keys: tuple[str, ...]
    """The new keys, in full."""
    destroyed: tuple[str, ...]
    """Those that were too old."""


def context(label: str, version: int, suite: str) -> bytes:
    """What a version is derived for: the same in every token, whenever it is loaded."""
    return f"evanesce/v1/working-key\0{suite}\0{label}\0{version}".encode()


def renew(
    client: Client, keys: str | Sequence[str], root: AnyKey, suite: str = "hmac-sha256", *, keep: int = 2
) -> Renewed:
    """Derives the next version of a working key from the root (hkdf-sha256), loads it into every token named, and then
    destroys all but the newest `keep` versions there. `keys`: references of one label in one or several modules, as
    hsm:a/txn and hsm:b/txn. What breaks off in between leaves both versions; run it again.

    Other processes notice within ten seconds (`hsm.FRESH`): with `keep` of 2, renew no more often than that. Raises
    `bad-input`, and whatever the root's quorum and the tokens raise."""
    check_known((suite,))
    named = [Reference.parse(key) for key in ([keys] if isinstance(keys, str) else keys)]
    if suite not in LENGTHS:
        raise error("bad-input", f"{suite} keys are not derived for tokens", f"Choose among {', '.join(LENGTHS)}.")
    if keep < 1:
        raise error("bad-input", "at least the newest version is kept", "Keep 1 or more; 2 is without downtime.")
    labels = {reference.label for reference in named}
    if len(labels) != 1 or "" in labels or any(r.model != "hsm" or r.version is not None for r in named):
        raise error(
            "bad-input",
            "a working key has one label, in one or several modules",
            "Name it as hsm:MODULE/LABEL for each, without a version.",
        )
    hsm = client.custody.hsm
    before = [hsm.versions(reference) for reference in named]
    version = max((found[-1] for found in before if found), default=0) + 1
    label = named[0].label
    with client.derive(root, context(label, version, suite), LENGTHS[suite], "hkdf-sha256") as secret:
        loaded = [hsm.load(reference.at(version), suite, secret) for reference in named]
    old = [
        reference.at(at)
        for reference, found in zip(named, before, strict=True)
        for at in [*found, version][:-keep]
        if at != version
    ]
    for reference in old:
        hsm.destroy(reference)
    return Renewed(version, tuple(key.uri for key in loaded), tuple(map(str, old)))
