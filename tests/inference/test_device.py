"""Devices and number formats: missing ones are refused; torch is asked only where there may be a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hallo_cli.errors import SettingsError
from hallo_cli.inference import device as choice

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "abacus", "xpu"])
def test_missing_device_is_refused(name):
    with pytest.raises(SettingsError, match=name):
        choice.device_name(name)


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


def test_names_are_what_torch_says() -> None:
    device = choice.resolve_device("auto")
    assert choice.device_name("auto") == str(device)
    assert choice.dtype_name("auto", str(device)) == str(choice.resolve_dtype("auto", device)).removeprefix(
        "torch."
    )
    assert choice.all_devices()[0].startswith(device.type)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch is asked")
@pytest.mark.parametrize(("node", "expected"), [("nvidiactl", True), ("dxg", True), ("null", False)])
def test_driver_of_a_gpu_is_seen(tmp_path: Path, node: str, expected: bool) -> None:
    (tmp_path / node).touch()
    assert choice.may_have_gpu(tmp_path) is expected


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu amx_tile sse", True), ("avx512_bf16", True), ("fpu avx512f", False)]
)
def test_bfloat16_in_hardware_is_read_from_the_flags(tmp_path: Path, flags: str, expected: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    assert choice.has_fast_bfloat16(tmp_path / "cpuinfo") is expected
    assert not choice.has_fast_bfloat16(tmp_path / "nothing")


def test_flags_agree_with_torch_on_this_machine() -> None:
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    assert choice.has_fast_bfloat16() == any(getattr(torch.cpu, name, lambda: False)() for name in probes)


@pytest.mark.skipif(choice.may_have_gpu(), reason="torch is asked about the GPU")
def test_names_need_no_torch_without_a_gpu() -> None:
    code = (
        "import sys; from hallo_cli.inference.device import *; all_devices();"
        "dtype_name('auto', device_name('auto')); print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
