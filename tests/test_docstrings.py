"""Everything public says what it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.test_package import PACKAGE, ROOT

FOLDERS = (PACKAGE, *(ROOT / name for name in ("benchmarks", "tools", "scripts")))
FILES = sorted([*ROOT.glob("*.py"), *(file for folder in FOLDERS for file in folder.rglob("*.py"))])


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def constants(node: ast.AST) -> set[str]:
    """Names of public constants that a statement gives a value."""
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return set()
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return {name for name in names if name.isupper() and not name.startswith("_")}


def undocumented(body: Sequence[ast.stmt], inside: str = "") -> Iterator[str]:
    """Public functions, classes and constants without a docstring. A constant's stands below it."""
    for node, after in zip_longest(body, body[1:]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield inside + node.name
            if isinstance(node, ast.ClassDef):
                yield from undocumented(node.body, f"{node.name}.")
        elif not inside and constants(node) and (after is None or not is_text(after)):
            yield ", ".join(sorted(constants(node)))


def promised() -> set[str]:
    """The methods that the protocol of a host explains, so that no dialect has to."""
    tree = ast.parse((PACKAGE / "webui" / "host.py").read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and ast.get_docstring(node)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_everything_public_has_a_docstring(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or not tree.body
    known = promised() if "dialects" in file.parts else set()
    assert [name for name in undocumented(tree.body) if name.rpartition(".")[2] not in known] == []
