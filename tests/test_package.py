"""What `pip install .` promises, and which rooms may know the programs around us."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import hypernet

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hypernet"

LOADED_BY = """
import sys
before = set(sys.modules)
import {module}
print(*sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}))
"""


def loaded_by(module: str) -> set[str]:
    """Top-level packages that an import brings in, besides the standard library."""
    command = [sys.executable, "-c", LOADED_BY.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split()) - set(sys.stdlib_module_names)


def pyproject() -> str:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_package_needs_torch_safetensors_and_numpy_only() -> None:
    (line,) = re.findall(r"^dependencies = \[(.*)\]$", pyproject(), flags=re.MULTILINE)
    assert re.findall(r'"([a-z]+)', line) == ["torch", "safetensors", "numpy"]


@pytest.mark.parametrize("module", ["hypernet", "hypernet.library", "hypernet.engine", "hypernet.plan"])
def test_an_import_brings_nothing_that_is_not_installed_with_the_package(module: str) -> None:
    unwanted = {"diffusers", "transformers", "peft", "accelerate", "PIL", "typer", "rich", "gradio", "huggingface_hub"}
    assert not loaded_by(module) & unwanted


def test_the_version_is_the_same_everywhere() -> None:
    assert f'\nversion = "{hypernet.__version__}"\n' in pyproject()


def test_a_source_distribution_holds_no_tests_as_they_need_the_whole_repository() -> None:
    assert "\nprune tests\n" in (ROOT / "MANIFEST.in").read_text(encoding="utf-8")


def test_the_types_are_published() -> None:
    assert (PACKAGE / "py.typed").is_file()
    assert '"py.typed"' in pyproject()


def imports(file: Path) -> Iterator[str]:
    """Top-level names of all absolute imports in a file, wherever they stand in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


FLOORS = (
    *("text", "safe_json", "errors", "atomic", "schedule", "blocks", "tags", "sites", "network", "plan"),
    *("files", "library", "engine", "applied", "pipeline", "hosts"),
    *("train", "convert", "civitai", "webui", "app", "__init__", "cli", "__main__"),
)
"""The rooms from the ground up, as docs/architecture.md draws them: each may know those before it only."""

WEBUI = (
    *("settings", "memory", "facts", "catalogue", "cards", "previews", "host", "infotext", "dialects"),
    *("prompts", "request", "session", "axes", "api", "page_routes", "civitai_routes"),
    *("tools", "found", "tools_tab"),
    *("train_env", "train_panel", "train_desk", "train_routes", "train_tab", "wiring"),
)
"""The same inside the WebUI's wing."""

ENGINE = (
    *("tensors", "forward_patch", "journal", "chunked", "weights", "chain", "contexts", "watch"),
    *("strategies", "step", "observed", "attached", "engine", "__init__"),
)
"""The same inside the engine."""


def upward(folder: Path, package: str, floors: Sequence[str]) -> Iterator[str]:
    """Imports of a higher room, in functions and under TYPE_CHECKING included. package: the folder's dotted name."""
    for file in folder.rglob("*.py"):
        place = file.relative_to(folder).with_suffix("").parts
        for name in imported(file, f"{package}.{'.'.join(place)}".split(".")):
            if f"{name}.".startswith(f"{package}.") and name != f"{package}.__version__":
                known = name.removeprefix(package).lstrip(".").partition(".")[0]
                known = known if known in floors else "__init__"
                if floors.index(known) > floors.index(place[0]):
                    yield f"{file.relative_to(folder)} imports {name}"


def imported(file: Path, module: Sequence[str]) -> Iterator[str]:
    """Dotted names of everything that a file imports. module: the file's own dotted name."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = [*module[: -node.level], *filter(None, [node.module])] if node.level else [node.module or ""]
            yield from (".".join([*start, alias.name]) for alias in node.names)


@pytest.mark.parametrize(
    ("folder", "floors"),
    [("", FLOORS), ("webui", ("__init__", *WEBUI)), ("engine", ENGINE)],
    ids=["all", "webui", "engine"],
)
def test_every_room_has_its_floor(folder: str, floors: Sequence[str]) -> None:
    names = {file.relative_to(PACKAGE / folder).with_suffix("").parts[0] for file in (PACKAGE / folder).rglob("*.py")}
    assert names == set(floors)


def test_no_room_knows_a_higher_one() -> None:
    assert not list(upward(PACKAGE, "hypernet", FLOORS))


def test_no_file_of_the_webui_wing_knows_a_higher_one() -> None:
    assert not list(upward(PACKAGE / "webui", "hypernet.webui", ("__init__", *WEBUI)))


def test_no_file_of_the_engine_knows_a_higher_one() -> None:
    assert not list(upward(PACKAGE / "engine", "hypernet.engine", ENGINE))


def importers(of: str) -> set[str]:
    """The rooms of the package whose files import it."""
    files = PACKAGE.rglob("*.py")
    return {file.relative_to(PACKAGE).parts[0] for file in files if of in imports(file)}


def test_only_the_webui_wing_knows_a_webui() -> None:
    assert importers("modules") <= {"webui"}


@pytest.mark.parametrize("library", ["diffusers", "transformers"])
def test_only_the_rooms_that_draw_or_train_know_diffusers(library: str) -> None:
    assert importers(library) <= {"pipeline", "app", "cli", "train", "convert"}
