"""The licence gate reads expressions, not words that happen to stand in them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/licences.py"
SPECIFICATION = importlib.util.spec_from_file_location("licences", SCRIPT)
assert SPECIFICATION is not None
assert SPECIFICATION.loader is not None
licences = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(licences)


@pytest.mark.parametrize(
    ("name", "licence", "permitted"),
    [
        ("a", "MIT", True),
        ("a", "MIT AND GPL-3.0", False),
        ("a", "MIT AND GPL-3.0-only", False),
        ("a", "MIT OR GPL-3.0-only", True),
        ("a", "GPL-3.0-only OR MIT AND BSD-3-Clause", True),
        ("a", "(GPL-3.0-only OR MIT) AND AGPL-3.0-only", False),
        ("a", "(MIT OR GPL-3.0-only) AND (Apache-2.0 OR BSD-2-Clause)", True),
        ("a", "GPL-3.0-only WITH Classpath-exception-2.0", False),
        ("a", "Apache-2.0 WITH LLVM-exception", True),
        ("a", "LicenseRef-MIT-like", False),
        ("a", "MIT License", True),
        ("a", "MIT License; Apache Software License", True),
        ("a", "MIT License; GNU General Public License v3 (GPLv3)", False),
        ("a", "MIT with attribution clause", False),
        ("a", "Not the MIT License", False),
        ("a", "MIT (GPL-3.0)", False),
        ("a", "(MIT", False),
        ("a", "MIT)", False),
        ("a", "MIT AND", False),
        ("a", "MIT/GPL-3.0", False),
        ("a", "UNKNOWN", False),
        ("a", "", False),
        ("hypothesis", "MPL-2.0", True),
        ("hypothesis", "AGPL-3.0-only", False),
        ("a", "MPL-2.0", False),
    ],
)
def test_a_python_package_is_judged_by_its_whole_licence(name: str, licence: str, permitted: bool) -> None:
    assert licences.python_is_permissive(name, licence) is permitted


@pytest.mark.parametrize(
    ("licence", "permitted"),
    [
        ("MIT OR Apache-2.0", True),
        ("MIT/Apache-2.0", True),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", True),
        ("MIT License", False),
        ("MPL-2.0", False),
        ("none", False),
    ],
)
def test_a_crate_is_judged_by_its_expression(licence: str, permitted: bool) -> None:
    assert licences.rust_is_permissive(licence) is permitted


def gate(language: str, given: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(SCRIPT), language]
    return subprocess.run(words, input=given, capture_output=True, text=True, check=False)


def test_the_gate_names_what_it_refuses() -> None:
    head = '"Name","Version","License"\n"good","1","MIT"\n'
    assert gate("python", head).returncode == 0
    refused = gate("python", f'{head}"bad","2","MIT AND GPL-3.0"\n')
    assert refused.returncode == 1
    assert refused.stderr == "licence not permitted: bad 2: MIT AND GPL-3.0\n"
    crate = {"name": "bad", "version": "2", "license": None, "source": "registry"}
    refused = gate("rust", json.dumps({"packages": [crate, crate | {"license": "x", "source": None}]}))
    assert refused.stderr == "licence not permitted: bad 2: none\n"


def test_a_gate_that_was_shown_nothing_is_shut() -> None:
    assert gate("python", "").returncode == 1
    assert gate("rust", '{"packages": []}').returncode == 1
