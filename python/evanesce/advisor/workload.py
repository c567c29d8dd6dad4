"""A workload: what a key is for and what it has to stand, in the fields that rules may speak of.

`FIELDS` is the one table: what the file may have, what an interactive run asks, between which values a search for what
would change the verdict moves. A field that is left out has its default, which is the least demanding answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evanesce import _yaml, suites
from evanesce._text import printable

Value = str | int | float | tuple[str, ...]

_CLASSES = {
    "sign": "signature",
    "mac": "mac",
    "encrypt": "cipher",
    "decrypt": "decryption",
    "agree": "agreement",
    "decapsulate": "decapsulation",
    "derive": "derivation",
}
ALGORITHMS: dict[str, str] = {
    **{name: next(_CLASSES[o] for o in _CLASSES if o in suite.operations) for name, suite in suites.ALL.items()},
    # BIP-340 over secp256k1, as Taproot has it: what `frost-secp256k1-tr` makes.
    "bip340": "signature",
    "tdes": "cipher",
}
"""What a workload may name, and the class of operation by which rates and latencies are looked up."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field."""

    name: str
    kind: Literal["text", "choice", "choices", "number"]
    question: str
    default: Value
    choices: tuple[str, ...] = ()
    unit: str = ""
    lowest: float = 0
    highest: float = 0
    whole: bool = True
    """A number is an integer."""
    asked_if_it_matters: bool = False
    """Whoever answers questions is asked only where the answer can matter. Such fields come last."""


FIELDS: tuple[Field, ...] = (
    Field("name", "text", "A name for the workload", "workload"),
    Field(
        "operations",
        "choices",
        "What is done with the key",
        ("sign",),
        ("sign", "mac", "verify-mac", "encrypt", "decrypt", "derive", "agree", "decapsulate"),
    ),
    Field("algorithm", "choice", "With which algorithm", "ed25519", tuple(ALGORITHMS)),
    Field(
        "rate", "number", "How many operations a second at the peak", 1.0, (), "operations/s", 0.001, 10_000_000, False
    ),
    Field("p99_ms", "number", "Within how many ms must 99 of 100 be done", 1000.0, (), "ms", 0.01, 86_400_000, False),
    Field("payload_bytes", "number", "How large is one payload", 1024, (), "bytes", 0, 1 << 40),
    Field("lifetime_days", "number", "How long does one key live", 365, (), "days", 1, 36_500),
    Field(
        "blast_radius",
        "choice",
        "What does a thief of the key have",
        "one-service",
        ("one-item", "one-service", "company"),
    ),
    Field(
        "certification",
        "choices",
        "Which rules mandate a certified module for this very key",
        (),
        ("pci-pin", "ca-certificates", "code-signing-certificate", "qualified-signature", "fips-140-3-level-3"),
    ),
    Field(
        "governance",
        "choice",
        "Who may use the key: one team, two people together, or several independent operators",
        "one-team",
        ("one-team", "dual-control", "multi-operator"),
    ),
    Field("independent_operators", "number", "How many operators are independent of one another", 1, (), "", 1, 100),
    Field("sites", "number", "At how many sites can parts run", 1, (), "", 1, 100),
    Field("site_failures", "number", "How many sites may fail without the key being away", 0, (), "", 0, 20),
    Field(
        "round_trip_ms",
        "number",
        "Round trip from the caller to the farthest site needed",
        1.0,
        (),
        "ms",
        0,
        2000,
        False,
    ),
    Field(
        "offline",
        "choice",
        "Must it work while cut off from every other site",
        "never",
        ("never", "hours", "air-gapped"),
    ),
    Field(
        "integration",
        "choice",
        "What may the application be changed to",
        "api-change",
        ("pkcs11-only", "api-change", "new-build"),
    ),
    Field("existing", "choice", "What holds the key today", "none", ("none", "software", "hsm", "mpc")),
    Field(
        "agent_availability", "number", "How available is one machine", 0.999, (), "of the time", 0.5, 0.999999, False
    ),
    Field(
        "availability", "number", "How available must the key be", 0.9999, (), "of the time", 0.5, 0.9999999999, False
    ),
    Field(
        "device_loss", "number", "What part of the devices is lost in a year", 0.02, (), "of 1", 0.000001, 0.9, False
    ),
    Field("repair_days", "number", "Within how many days is a lost device replaced", 7, (), "days", 1, 365),
    Field(
        "prepared_nonces",
        "choice",
        "May nonces be prepared: is no earlier state of any agent's memory ever resumed (snapshot, clone, checkpoint)",
        "no",
        ("no", "yes"),
        asked_if_it_matters=True,
    ),
)
BY_NAME = {field.name: field for field in FIELDS}
DERIVED = ("class",)
"""Fields that rules may speak of and that follow from others: `class`, from the algorithm."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload; `values` has every field of `FIELDS`."""

    values: Mapping[str, Value]

    def __getitem__(self, field: str) -> Value:
        if field == "class":
            return ALGORITHMS[str(self.values["algorithm"])]
        return self.values[field]

    @property
    def name(self) -> str:
        return str(self.values["name"])

    def number(self, field: str) -> float:
        """A field that is one."""
        value = self.values[field]
        assert isinstance(value, int | float)
        return value

    def but(self, **changes: Value) -> Workload:
        """The same with other values."""
        return Workload({**self.values, **changes})


def load(path: Path) -> tuple[Workload, ...]:
    """The workloads of a file: `workloads:`, a list of mappings of the fields. Raises `config` with file and line."""
    return parse(_yaml.load(path))


def parse(document: _yaml.Map) -> tuple[Workload, ...]:
    document.only(("workloads",))
    entries = document.maps("workloads")
    if not entries:
        raise document.wrong("it has no workload", "workloads")
    found = tuple(_workload(entry) for entry in entries)
    seen: set[str] = set()
    for workload, entry in zip(found, entries, strict=True):
        if workload.name in seen:
            raise entry.wrong(f"there is another workload named {printable(workload.name)!r}", "name")
        seen.add(workload.name)
    return found


def _workload(entry: _yaml.Map) -> Workload:
    entry.only(("name", "operations", "algorithm"), [field.name for field in FIELDS])
    values: dict[str, Value] = {}
    for field in FIELDS:
        if field.name not in entry:
            values[field.name] = field.default
            continue
        try:
            values[field.name] = checked(field, entry[field.name])
        except ValueError as e:
            raise entry.wrong(str(e), field.name) from None
    return Workload(values)


def checked(field: Field, value: Any) -> Value:
    """A field's value, in its own form. Raises ValueError with what is wrong with it, in words."""
    match field.kind:
        case "text":
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{field.name} must be text")
            return value
        case "choice":
            if isinstance(value, bool):
                # How YAML has a plain yes or no; it refuses the words unless they are quoted.
                value = "yes" if value else "no"
            if value not in field.choices:
                raise ValueError(f"{field.name} must be one of {', '.join(field.choices)}")
            return str(value)
        case "choices":
            if not isinstance(value, Sequence) or isinstance(value, str):
                raise ValueError(f"{field.name} must be a list of some of {', '.join(field.choices)}")
            unknown = [item for item in value if item not in field.choices]
            if unknown:
                raise ValueError(f"{field.name} has {printable(str(unknown[0]))!r}; known: {', '.join(field.choices)}")
            if field.default and not value:
                raise ValueError(f"{field.name} must have one at least")
            return tuple(sorted(set(map(str, value)), key=field.choices.index))
        case "number":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{field.name} must be a number{f' of {field.unit}' if field.unit else ''}")
            if field.whole and value != int(value):
                raise ValueError(f"{field.name} must be a whole number")
            if not field.lowest <= value <= field.highest:
                raise ValueError(f"{field.name} must be {field.lowest:g} to {field.highest:g}")
            return int(value) if field.whole else float(value)
