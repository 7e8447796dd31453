"""Imports go downwards only, and the command line answers without loading torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "hallo_cli"
MAY_IMPORT = {
    "settings": set(),
    "media": set(),
    "models": set(),
    "analysis": {"media", "models"},
    "inference": {"models", "settings"},
    "evaluation": {"media", "analysis", "models"},
    "jobs": {"analysis", "inference", "media", "settings", "models", "evaluation"},
    "training": {"models", "analysis", "media", "inference", "settings", "evaluation"},
}
FREE = {"domain", "errors", "__init__", "assets"}


def imported_layers(file: Path) -> set[str]:
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    parts = [name.split(".") for name in names]
    return {p[1] for p in parts if p[0] == "hallo_cli" and len(p) > 1 and (ROOT / p[1]).is_dir()}


@pytest.mark.parametrize("layer", sorted(MAY_IMPORT))
def test_layer_imports_only_what_lies_below(layer: str) -> None:
    allowed = MAY_IMPORT[layer] | FREE | {layer}
    wrong = {
        str(file.relative_to(ROOT)): imported_layers(file) - allowed
        for file in (ROOT / layer).rglob("*.py")
        if imported_layers(file) - allowed
    }
    assert not wrong


def test_command_line_does_not_import_heavy_packages() -> None:
    code = (
        "import sys; from hallo_cli.cli.app import register; register();"
        "print([m for m in ('torch', 'numpy', 'diffusers', 'transformers', 'av', 'onnxruntime')"
        " if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
