"""Nobody but the store writes files, renames, syncs or locks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "hallo_cli"
FORBIDDEN = {
    *("os.replace", "os.rename", "os.fsync", "os.link", "os.truncate", "os.ftruncate", "os.write"),
    *("shutil.copy", "shutil.copyfile", "shutil.copy2", "shutil.move", "fcntl.flock", "fcntl.lockf"),
    *("tempfile.mkstemp", "save_file"),
}
METHODS = {"write_text", "write_bytes", "touch", "rename", "hardlink_to"}
WRITING = ("w", "a", "x", "+")


def writes(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in FORBIDDEN or is_method_of_path(name, node) or opens_to_write(name, node):
                yield f"line {node.lineno}: {name}"


def is_method_of_path(name: str, call: ast.Call) -> bool:
    """Whether a path's method writes; a text's `replace` takes two arguments."""
    _, dot, method = name.rpartition(".")
    is_rename = method == "replace" and name != "dataclasses.replace" and len(call.args) == 1
    return bool(dot) and (method in METHODS or is_rename)


def opens_to_write(name: str, call: ast.Call) -> bool:
    """Whether a file is opened by its path to be written; containers in memory are none."""
    if name not in ("open", "io.open") and not name.endswith(".open"):
        return False
    modes = [*call.args[:2], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    texts = [str(value.value) for value in modes if isinstance(value, ast.Constant)]
    return any(set(text) <= set("rwabxt+|:gz") and set(text) & set(WRITING) for text in texts)


ALLOWED = {
    "batch/preview.py": {"av.open"},  # into memory
    "media/cutting.py": {"av.open"},  # into a part file of the store
    "media/pcm.py": {"av.open"},  # into a part file of the store
    "training/prepare.py": {"wave.open"},  # into memory
    "workshop/corpus/make_takes.py": {"wave.open"},  # into memory
    "training/takes.py": {"tarfile.open"},  # into a part file of the store
    "models/tensor_file.py": {"save_file"},  # into a part file of the store
    "cli/console.py": {"open"},  # a standard stream
    "cli/help.py": {"text.replace"},  # of a text, its arguments in a tuple
    "cli/app.py": {"tempfile.mkstemp"},  # the report of a bug, in the system's folder
}


def elsewhere() -> list[str]:
    names = [str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py")]
    return sorted(name for name in names if not name.startswith("store/"))


@pytest.mark.parametrize("name", elsewhere())
def test_only_the_store_writes(name: str) -> None:
    found = [line for line in writes(PACKAGE / name) if line.rpartition(" ")[2] not in ALLOWED.get(name, ())]
    assert found == []
