"""Tests of this folder need a CUDA device: `python -m pytest -n 0 -m cuda` runs or skips them.

The folder is not called cuda, which is a package that torch needs. Warnings of drivers fail nothing.
"""

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/gpu/" in item.path.as_posix():
            item.add_marker(pytest.mark.filterwarnings("default"))
            item.add_marker(pytest.mark.cuda)
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="torch sees no CUDA device"))


@pytest.fixture(autouse=True)
def empty_device() -> None:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
