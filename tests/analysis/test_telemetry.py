"""Nobody is told that faces are looked for."""

import importlib.util

import onnxruntime
import pytest

from hallo_cli.analysis import detector


def test_the_runtime_s_telemetry_is_off_before_any_network_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: asked.append(True))
    spec = importlib.util.find_spec(detector.__name__)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert asked == [True]
