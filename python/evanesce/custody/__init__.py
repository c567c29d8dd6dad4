"""Custody: one protocol for keys, whatever keeps them (docs/custody.md).

A key is named by a reference, `hsm:MODULE/LABEL` or `regen:NAME`, and used by the same verbs:
`client.sign(key, message)`. Its lifecycle is `client.custody`: create, import, public key, rotate, back up, restore,
destroy, describe. What a model does not do is refused by name (`UnsupportedError`), and nothing is put in its place.

One file per model; `tokens` and `threshold` are what several of them share. A further one is a `Model`, a word in
`reference.MODELS` and an entry in `custodian.MODELS`.
"""

from evanesce.custody.custodian import AnyKey, Custodian
from evanesce.custody.key import Key
from evanesce.custody.model import Destroyed, Model
from evanesce.custody.reference import MODELS, Reference, is_reference
from evanesce.custody.working import Renewed, renew

__all__ = [
    "MODELS",
    "AnyKey",
    "Custodian",
    "Destroyed",
    "Key",
    "Model",
    "Reference",
    "Renewed",
    "is_reference",
    "renew",
]
