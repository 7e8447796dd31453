"""Weights load in bounded memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

N_LAYERS, WIDTH = 24, 1600  # 61 million numbers: 123 MB in float16, far above the noise of an interpreter


@pytest.fixture(scope="module")
def large_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    tensors = {f"{i}.weight": torch.full((WIDTH, WIDTH), 0.5, dtype=torch.float16) for i in range(N_LAYERS)}
    torch.save(tensors, folder / "weights.pth")
    save_file(tensors, folder / "weights.safetensors")
    return folder


MEASURE = f"""
import os, resource, sys, torch
from pathlib import Path
from hallo_cli.models import weights
from hallo_cli.models.weights import fill

weights.CONVERTED_BYTES = 1 << 20  # in proportion to these small files

def measure(name, dtype):
    with torch.device("meta"):
        layers = [torch.nn.Linear({WIDTH}, {WIDTH}, bias=False) for _ in range({N_LAYERS})]
    module = torch.nn.Sequential(*layers)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    fill({{"": module}}, Path(sys.argv[1], name), device="cpu", dtype=getattr(torch, dtype))
    for weight in module.parameters():
        assert (weight.flatten()[::512] == 0.5).all()  # reads every page
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    loaded = sum(weight.nbytes for weight in module.parameters())
    print(f"{{name}}-{{dtype}}", (peak - before) / loaded, flush=True)

for case in sys.argv[2:]:
    child = os.fork()  # a process of its own has a peak of its own
    if child == 0:
        measure(*case.split("-"))
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_loading_peaks_at_most_thirty_percent_above_the_weights(large_files: Path) -> None:
    cases = ["weights.pth-float32", "weights.pth-bfloat16", "weights.safetensors-float16"]
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(large_files), *cases],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    peaks = dict(line.split() for line in result.stdout.splitlines())
    assert list(peaks) == cases
    assert max(map(float, peaks.values())) < 1.3, peaks
