#!/usr/bin/env python3
"""Asks the public database of advisories (osv.dev) about every version that is pinned here.

python3 tools/audit.py

Ends with 0 where none is known, 1 where one is, 2 where nobody could be asked. Needs Python and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository."""
FILES = tuple((ROOT / "requirements").glob("*.txt"))
"""The files that pin versions."""

DATABASE = os.environ.get("HYPERNET_ADVISORIES", "https://api.osv.dev/v1/querybatch")
"""Where to ask. Tests ask a database of their own."""

ACCEPTED: dict[str, str] = {}
"""Advisory -> why it does not concern us."""


def pinned() -> list[tuple[str, str]]:
    """Name and version of each requirement."""
    lines = "\n".join(file.read_text(encoding="utf-8") for file in FILES)
    return sorted(set(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", lines, flags=re.MULTILINE)))


def advisories(packages: list[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    """Those known of each package. Raises OSError, ValueError."""
    queries = [{"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in packages]
    request = urllib.request.Request(
        DATABASE, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        results = json.load(answer)["results"]
    if len(results) != len(packages):
        raise ValueError("an answer for another question")
    found = zip(packages, ([known["id"] for known in result.get("vulns", [])] for result in results), strict=True)
    return {package: ids for package, ids in found if set(ids) - ACCEPTED.keys()}


def main() -> int:
    """Returns the exit code."""
    packages = pinned()
    try:
        found = advisories(packages)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"Not audited: the database of advisories could not be asked ({error}).", file=sys.stderr)
        return 2
    for (name, version), ids in found.items():
        print(f"{name} {version}: {', '.join(ids)}")
    print(f"{len(packages)} pinned versions, {len(found)} with advisories.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
