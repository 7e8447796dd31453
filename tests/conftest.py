import logging
import os
import sys
from collections.abc import Iterator

import pytest

# Threads of several workers would wait for each other in loops, which takes most of the processor time: few
# threads, which sleep as they wait.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Some machines forbid to keep compiled modules: then each of the suite's processes would compile all of them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.fixture(scope="session", autouse=True)
def own_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Certificates that tests make are not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(scope="session", autouse=True)
def disks_that_answer_at_once() -> Iterator[None]:
    """No test cuts the power: `power_loss` tells what would be lost. Other processes wait as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which refuses what is no file, too
        yield


@pytest.fixture(autouse=True)
def log_of_each_test() -> Iterator[None]:
    """Commands set up the log of their process: the next test begins without that."""
    root, ours = logging.getLogger(), logging.getLogger("hallo_cli")
    level, handlers = ours.level, root.handlers[:]
    yield
    ours.setLevel(level)
    root.handlers[:] = handlers
