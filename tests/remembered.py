"""Remembers what a costly function gives, for tests that ask it the same again and again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hallo_cli.analysis.face import FaceAnalyser


@contextmanager
def remembered(owner: object, name: str, key: Callable[..., object]) -> Iterator[None]:
    """Call a function or method once for each key, which is made from its arguments."""
    function, found = getattr(owner, name), dict[object, Any]()

    def remembering(*arguments: Any) -> Any:
        known = key(*arguments)
        if known not in found:
            found[known] = function(*arguments)
        return found[known]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, remembering)
        yield


@contextmanager
def portraits_set_upright_once() -> Iterator[None]:
    """Analysing a portrait takes longer than small networks, or the frames of short videos."""
    with remembered(FaceAnalyser, "set_upright", lambda _, rgb: rgb.tobytes()):
        yield
