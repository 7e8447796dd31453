"""Devices and number formats by name: the same answers as torch's, without torch where there is no GPU."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hallo_cli.errors import SettingsError
from hallo_cli.inference.device import resolve_device, resolve_dtype
from hallo_cli.inference.device_names import (
    all_devices,
    device_name,
    dtype_name,
    has_fast_bfloat16,
    may_have_gpu,
)


def test_names_are_what_torch_says() -> None:
    device = resolve_device("auto")
    assert device_name("auto") == str(device)
    assert dtype_name("auto", str(device)) == str(resolve_dtype("auto", device)).removeprefix("torch.")
    assert all_devices()[0].startswith(device.type)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch is asked")
@pytest.mark.parametrize(("node", "expected"), [("nvidiactl", True), ("dxg", True), ("null", False)])
def test_driver_of_a_gpu_is_seen(tmp_path: Path, node: str, expected: bool) -> None:
    (tmp_path / node).touch()
    assert may_have_gpu(tmp_path) is expected


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu amx_tile sse", True), ("avx512_bf16", True), ("fpu avx512f", False)]
)
def test_bfloat16_in_hardware_is_read_from_the_flags(tmp_path: Path, flags: str, expected: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    assert has_fast_bfloat16(tmp_path / "cpuinfo") is expected
    assert not has_fast_bfloat16(tmp_path / "nothing")


def test_flags_agree_with_torch_on_this_machine() -> None:
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    assert has_fast_bfloat16() == any(getattr(torch.cpu, name, lambda: False)() for name in probes)


@pytest.mark.parametrize("name", ["cuda:99", "abacus"])
def test_missing_device_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        device_name(name)


@pytest.mark.skipif(may_have_gpu(), reason="torch is asked about the GPU")
def test_names_need_no_torch_without_a_gpu() -> None:
    code = (
        "import sys; from hallo_cli.inference.device_names import *; all_devices();"
        "dtype_name('auto', device_name('auto')); print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
