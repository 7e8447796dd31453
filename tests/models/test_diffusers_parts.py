"""diffusers is imported without torch's compiler, which stays there for those who want it."""

import subprocess
import sys


def said(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_compiler_is_not_loaded_but_can_be_and_then_stays() -> None:
    code = (
        "import sys, hallo_cli.models.diffusers_parts as parts; print(parts.COMPILER in sys.modules);"
        "import torch._dynamo as before; print(before.is_compiling());"
        "import importlib; importlib.reload(parts); print(sys.modules[parts.COMPILER] is before)"
    )
    assert said(code).split() == ["False", "False", "True"]
