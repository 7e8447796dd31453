"""`hallo batch` on the trivial engine."""

import batch_doubles
import pytest
from batch_doubles import InlinePool
from typer.testing import CliRunner, Result

from hallo_cli.batch import building
from hallo_cli.batch import run as batch
from hallo_cli.cli import batch_build
from hallo_cli.cli.app import register


@pytest.fixture(autouse=True)
def trivial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "default_check_processes", lambda: 0)
    monkeypatch.setattr(batch_build, "make_pool", lambda options, devices, spec: InlinePool(spec))
    monkeypatch.setattr(building, "make_engine", batch_doubles.make_engine)
    monkeypatch.setattr(batch_build, "predict", lambda engine, settings, frames: frames / 10)


def hallo(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(register("batch"), ["batch", *map(str, arguments)], input=stdin)
