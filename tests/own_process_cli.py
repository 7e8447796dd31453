"""The `hallo` command in this process, with the network-free engine: quick, where no process is tested."""

import io
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from stub_cli import StubEngine

from hallo_cli.cli.app import main
from hallo_cli.jobs import bundle_engine


class Kept(io.BytesIO):
    """Bytes that can still be read when their writer has closed them."""

    def close(self) -> None:
        pass


def hallo(folder: Path, *arguments: str, encoding: str = "utf-8") -> CompletedProcess[str]:
    """Run a command in a folder, on a console of an encoding; what it ends with and prints."""
    printed, said = Kept(), Kept()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(bundle_engine, "BundleEngine", StubEngine)
        patch.setattr(sys, "argv", ["hallo", *arguments])
        patch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding))
        patch.setattr(sys, "stderr", io.TextIOWrapper(said, encoding))
        with pytest.raises(SystemExit) as ended:
            main()
        sys.stdout.flush()
        sys.stderr.flush()
    assert isinstance(ended.value.code, int)
    texts = (kept.getvalue().decode(encoding, "surrogateescape") for kept in (printed, said))
    return CompletedProcess(arguments, ended.value.code, *texts)
