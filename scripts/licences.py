"""Refuses dependencies whose licence is not permissive: input is pip-licenses' CSV or cargo's metadata.

Why a script of our own: docs/decisions/licences.md.
"""

import csv
import json
import re
import sys

PERMISSIVE = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0",
    "BlueOak-1.0.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "PSF-2.0", "Unicode-3.0", "Unlicense", "Zlib",
}  # fmt: skip
# What PyPI's classifiers call them, for Python packages that have no SPDX expression. Whole strings: a package that
# "is MIT License and more" is for a person to judge.
CLASSIFIERS = {
    "Apache Software License", "BSD License", "ISC License (ISCL)", "MIT License", "Python Software Foundation License",
}  # fmt: skip
# Test tools, used unchanged and not shipped. For these licences only: one that changes is looked at again.
MPL = {"MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)"}
TEST_TOOLS = {"hypothesis": MPL, "pathspec": MPL}


def expression_is_permissive(expression: str) -> bool:
    """An SPDX expression with AND, OR, WITH and parentheses. What is none is not permissive."""
    words = re.findall(r"[()]|[^\s()]+(?:\s+WITH\s+[^\s()]+)?", expression)

    def any_of() -> bool:
        verdict = all_of()
        while words and words[0] == "OR":
            words.pop(0)
            verdict = all_of() or verdict
        return verdict

    def all_of() -> bool:
        verdict = one()
        while words and words[0] == "AND":
            words.pop(0)
            verdict = one() and verdict
        return verdict

    def one() -> bool:
        word = words.pop(0) if words else ")"
        if word != "(":
            return " ".join(word.split()) in PERMISSIVE
        verdict = any_of()
        return words.pop(0) == ")" and verdict if words else False

    return any_of() and not words


def python_is_permissive(name: str, licence: str) -> bool:
    """`licence` is an SPDX expression, or classifiers between semicolons, all of which count."""
    return (
        expression_is_permissive(licence)
        or all(classifier in CLASSIFIERS for classifier in licence.split("; "))
        or licence in TEST_TOOLS.get(name.lower(), ())
    )


def rust_is_permissive(licence: str) -> bool:
    """`licence` is an SPDX expression; in old ones a slash means OR."""
    return expression_is_permissive(licence.replace("/", " OR "))


def main() -> int:
    if sys.argv[1] == "rust":
        packages = [
            (package["name"], package["version"], package["license"] or "none")
            for package in json.load(sys.stdin)["packages"]
            if package["source"] is not None
        ]
        refused = [package for package in packages if not rust_is_permissive(package[2])]
    else:
        packages = [(row["Name"], row["Version"], row["License"]) for row in csv.DictReader(sys.stdin)]
        refused = [package for package in packages if not python_is_permissive(package[0], package[2])]
    for name, version, licence in refused:
        print(f"licence not permitted: {name} {version}: {licence}", file=sys.stderr)
    # A gate that saw nothing has judged nothing.
    return 1 if refused or not packages else 0


if __name__ == "__main__":
    sys.exit(main())
