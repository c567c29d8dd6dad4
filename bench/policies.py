"""A policy as a firm that has had its keys for some years might have: 60 statements, about 20 KB.

Departments with keys and suites of their own, callers that have left, windows in which nothing is signed, who may
change what. For the request that is measured, one in three statements has a scope that fits, and each of these is
evaluated: two permits and seventeen forbids, by suite, digest and time.
"""

from __future__ import annotations

NAME = "bench"
"""Of the token, and of the caller."""
GROUPS = ("payments", "eu")
"""Of the caller."""
STATEMENTS = 60
_DEPARTMENTS = (
    "treasury", "payroll", "procurement", "logistics", "customs", "insurance", "claims", "legal", "research",
    "firmware", "website", "mobile", "backups", "archive", "directory", "press",
)  # fmt: skip
_DAY = 86_400
_FIRST = 1_600_000_000
"""Unix seconds: windows of past years, each of which an agent's clock is compared with."""


def policy() -> str:
    """The text."""
    statements = [
        *_mine(),
        *map(_department, _DEPARTMENTS),
        *map(_left, range(20)),
        *map(_window, range(16)),
        *_changes(),
    ]
    assert len(statements) == STATEMENTS
    return "\n".join(statements)


def _statement(name: str, why: str, scope: str, condition: str = "") -> str:
    effect, rest = scope.split(" ", 1)
    when = f"\nwhen {{\n    {condition}\n}}" if condition else ""
    owner = '@owner("keys@firm.example, looked through every January")'
    return f'@id("{name}")\n{owner}\n@reason("{why}")\n{effect}({rest}){when};\n'


def _mine() -> list[str]:
    key = f'resource == Key::"{NAME}"'
    return [
        _statement(
            "payments: signatures",
            "Orders to the clearing house are signed by the payments service; what is in them is settled before.",
            f'permit principal in Group::"payments", action == Action::"sign", {key}',
            'context.suite == "ed25519" || context.suite == "ecdsa-p256"',
        ),
        _statement(
            "payments: MACs",
            "The message bus takes MACs from the same service, for its own frames and for those that it passes on.",
            f'permit principal in Group::"payments", action in [Action::"mac", Action::"verify-mac"], {key}',
            'context.suite like "hmac-*"',
        ),
        _statement(
            "eu: whatever the suite",
            "Callers in the European region may use this key since the move of 2024, until the new one is there.",
            f'permit principal in Group::"eu", action in [Action::"sign", Action::"mac"], {key}',
            f"context.now >= {_FIRST} && context.now < {_FIRST + 20_000 * _DAY}",
        ),
        _statement(
            "eu and payments",
            "Both together may also open it, for the monthly drill, under the eyes of the auditors.",
            f'permit principal in Group::"eu", action == Action::"open", {key}',
            'principal in Group::"payments"',
        ),
        _statement(
            "no digest of nothing",
            "A digest of zeros is what a caller sends that forgot to hash: seen twice, at a day of work each.",
            'forbid principal, action in [Action::"sign", Action::"mac"], resource',
            f'context.input like "{"0" * 32}*"',
        ),
    ]


def _department(name: str) -> str:
    return _statement(
        f"{name}: its own",
        f"The services of {name} use the keys of {name}, and nobody else does; see the register, part {len(name)}.",
        f'permit principal in Group::"{name}", action in [Action::"sign", Action::"mac", Action::"derive"], '
        f'resource == Key::"{name}"',
        '["ed25519", "hmac-sha256", "hkdf-sha256"].contains(context.suite) && '
        f"context.now >= {_FIRST + len(name) * _DAY}",
    )


def _left(number: int) -> str:
    return _statement(
        f"left: service-{number:02}",
        f"Taken out of use; its identity was on a machine that was sold. Ticket {4000 + 37 * number} has the rest.",
        f'forbid principal == Caller::"service-{number:02}", action, resource',
        f"context.now >= {_FIRST + number * 40 * _DAY}",
    )


def _window(number: int) -> str:
    begin = _FIRST + number * 97 * _DAY
    return _statement(
        f"window {number:02}",
        "Nothing is signed while the ledgers are closed; who needs it all the same asks for another key beforehand.",
        'forbid principal, action in [Action::"sign", Action::"mac"], resource',
        f'context.now >= {begin} && context.now < {begin + 2 * _DAY} && context.suite != "aes-cmac"',
    )


def _changes() -> list[str]:
    scope = 'principal in Group::"security"'
    return [
        _statement(
            action,
            f"Whoever may {action} is named here, so that the role of a minter alone is not enough for it.",
            f'permit {scope}, action == Action::"{action}", resource',
        )
        for action in ("reshare", "repair", "retire")
    ]
