"""Devices and number formats: refused where they are missing, otherwise what was asked for."""

import pytest
import torch

from hallo_cli.errors import SettingsError
from hallo_cli.inference import device as choice

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "abacus", "xpu"])
def test_missing_device_is_refused(name):
    with pytest.raises(SettingsError, match=name):
        choice.resolve_device(name)


def test_unknown_dtype_is_refused():
    with pytest.raises(SettingsError, match="float8"):
        choice.resolve_dtype("float8", CPU)


@pytest.mark.parametrize(("is_fast", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_bfloat16_is_chosen_where_the_cpu_multiplies_it(monkeypatch, is_fast, dtype):
    monkeypatch.setattr(choice, "has_fast_bfloat16", lambda: is_fast)
    assert choice.resolve_dtype("auto", CPU) is dtype


@pytest.mark.parametrize(
    ("dtype", "device", "expected"),
    [
        (torch.bfloat16, "cuda", torch.float16),
        (torch.bfloat16, "cpu", torch.bfloat16),
        (torch.float32, "cuda", torch.float32),
    ],
)
def test_pictures_are_not_rounded_to_bfloat16_on_cuda(dtype, device, expected):
    assert choice.autoencoder_dtype(dtype, torch.device(device)) is expected


def test_dtype_asked_for_is_taken():
    assert choice.resolve_dtype("float16", CPU) is torch.float16
