"""Imports go downwards only, and the command line answers without loading torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "hallo_cli"

# Every package and every module at the top, with all that it may import besides itself. Lowest first.
_BELOW_FILES = {"errors", "domain"}
_BELOW_MODELS = _BELOW_FILES | {"store"}
_BELOW_BUNDLES = _BELOW_MODELS | {"settings", "models"}
_BELOW_ANALYSIS = _BELOW_BUNDLES | {"bundles", "media"}
_BELOW_JOBS = _BELOW_ANALYSIS | {"analysis", "inference", "provenance"}
_BELOW_BATCH = _BELOW_JOBS | {"jobs", "training", "evaluation"}
_BELOW_CLI = _BELOW_BATCH | {"batch", "bench", "workshop"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "domain": {"errors"},
    "store": _BELOW_FILES,
    "settings": _BELOW_MODELS,
    "media": _BELOW_MODELS,
    "provenance": _BELOW_MODELS,
    "models": _BELOW_MODELS,
    "bundles": _BELOW_BUNDLES,
    "analysis": _BELOW_ANALYSIS - {"settings"},
    "inference": _BELOW_ANALYSIS - {"bundles", "media", "store"},  # no paths
    "evaluation": _BELOW_JOBS - {"inference", "settings", "provenance"},
    "jobs": _BELOW_JOBS,
    "training": _BELOW_JOBS,
    "batch": _BELOW_BATCH - {"training"},
    "bench": _BELOW_BATCH - {"training"},
    "workshop": _BELOW_BATCH - {"jobs"},
    "api": _BELOW_CLI,  # the public door
    "__init__": _BELOW_CLI | {"api"},  # its names
    "cli": _BELOW_CLI | {"api"},
    "__main__": {"cli"},
}
VERSION = "hallo_cli.__version__"


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def layer_of(file: Path) -> str:
    """The package at the top that a module belongs to, or the module itself where it lies at the top."""
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def nodes(source: str, *, skips_types: bool = False) -> list[ast.AST]:
    """All nodes; without those of an `if TYPE_CHECKING:` at the top if `skips_types`."""
    tree = ast.parse(source)
    hidden = [
        one for one in tree.body if isinstance(one, ast.If) and "TYPE_CHECKING" in ast.unparse(one.test)
    ]
    return [node for one in tree.body if not (skips_types and one in hidden) for node in ast.walk(one)]


def imports(source: str, package: list[str], *, skips_types: bool = False) -> Iterator[str]:
    """Full names of all that is imported; of `from a import b` both, as b may be a module."""
    for node in nodes(source, skips_types=skips_types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and str(node.value).startswith("hallo_cli."):
            # as import_module("hallo_cli...") gets it
            yield from {str(node.value)} if str(node.value).split(".")[1] in MAY_IMPORT else ()


def imported_layers(source: str, package: list[str]) -> set[str]:
    """The layers that a module imports; `from hallo_cli import x` names the layer x, or the door."""
    names = {name for name in imports(source, package) if name.split(".")[0] == "hallo_cli" != name}
    layers = {name.split(".")[1] for name in names - {VERSION}}
    return {layer if layer in MAY_IMPORT else "__init__" for layer in layers}


def upward_imports(source: str, layer: str, package: list[str]) -> set[str]:
    return imported_layers(source, package) - MAY_IMPORT[layer] - {layer}


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(ROOT)))
def test_module_imports_only_what_lies_below(file: Path) -> None:
    package = ["hallo_cli", *file.relative_to(ROOT).parts[:-1]]
    assert not upward_imports(file.read_text(encoding="utf-8"), layer_of(file), package)


def test_table_names_each_layer_and_nothing_else() -> None:
    assert {layer_of(file) for file in modules()} == set(MAY_IMPORT)


def test_table_has_no_circle() -> None:
    order = list(MAY_IMPORT)
    assert all(
        order.index(below) < order.index(layer) for layer, all_ in MAY_IMPORT.items() for below in all_
    )


@pytest.mark.parametrize(
    "line",
    [
        "import hallo_cli.jobs.runner",
        "from hallo_cli import jobs",
        "from hallo_cli.jobs import runner",
        "from hallo_cli import Renderer",
        "from ..jobs import runner",
        "def f():\n    from hallo_cli.jobs.runner import run_job",
        "import importlib; importlib.import_module('hallo_cli.jobs.runner')",
    ],
)
def test_upward_import_is_found_in_any_form(line: str) -> None:
    assert upward_imports(line, "media", ["hallo_cli", "media"])


def test_no_modules_import_each_other() -> None:
    """Also not late, in a function; what only type checkers read does not count."""
    names = {
        ".".join(["hallo_cli", *file.relative_to(ROOT).with_suffix("").parts]): file for file in modules()
    }
    graph = {}
    for name, file in names.items():
        found = set(imports(file.read_text(encoding="utf-8"), name.split(".")[:-1], skips_types=True))
        graph[name] = {one if one in names else one.rpartition(".")[0] for one in found} & names.keys()
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_names_of_modules_are_unique() -> None:
    names = [file.stem for file in modules() if file.stem != "__init__"]
    assert [name for name in set(names) if names.count(name) > 1] == []


def test_version_may_be_read_everywhere() -> None:
    assert not upward_imports("from hallo_cli import __version__", "store", ["hallo_cli", "store"])


def test_command_line_does_not_import_heavy_packages() -> None:
    code = (
        "import sys; from hallo_cli.cli.app import register; register();"
        "print([m for m in ('torch', 'numpy', 'diffusers', 'transformers', 'av', 'onnxruntime')"
        " if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_looking_at_a_face_and_a_recording_needs_no_torch() -> None:
    code = (
        "import sys; import hallo_cli.batch.checks, hallo_cli.jobs.bundle_engine, hallo_cli.analysis.hearing;"
        "print([m for m in ('torch', 'diffusers') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_choosing_a_device_needs_no_diffusers() -> None:
    code = "import sys, hallo_cli.inference.device; print('diffusers' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
