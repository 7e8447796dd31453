"""The published file's names and shapes are met exactly by what is exported."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from hallo_cli.errors import SettingsError, WeightsError
from hallo_cli.models.config import NetworkConfig
from hallo_cli.models.weights import build_networks
from hallo_cli.training.checkpoint import RunFolder
from hallo_cli.training.export import export_official, unused_shapes

MANIFEST = Path(__file__).parent.parent / "data" / "official_net_manifest.json"


def test_exported_tensors_are_those_of_the_published_file() -> None:
    published = {name: tuple(shape) for name, shape in json.loads(MANIFEST.read_text()).items()}
    exported = unused_shapes()
    for prefix, module in build_networks(NetworkConfig.official()).by_prefix().items():
        own = {f"{prefix}{name}": tuple(value.shape) for name, value in module.state_dict().items()}
        assert not own.keys() & exported.keys()
        exported |= own
    assert exported == published


@pytest.mark.parametrize(
    "other", [{"compat": "sane"}, {"latents": "residual"}, {"locator_input": "portrait"}, {"heads": 4}]
)
def test_networks_that_the_published_program_cannot_run_are_refused(
    tmp_path: Path, other: dict[str, object]
) -> None:
    config = dataclasses.replace(NetworkConfig.official(), **other)  # type: ignore[arg-type]
    RunFolder(tmp_path).describe({}, config)
    with pytest.raises(SettingsError, match=f"{next(iter(other))} differ"):
        export_official(tmp_path, tmp_path / "net.pth", dtype=torch.float16)


def test_what_only_sampling_uses_may_differ(tmp_path: Path) -> None:
    config = dataclasses.replace(NetworkConfig.official(), noise="per_job", image_size=256)
    RunFolder(tmp_path).describe({}, config)
    with pytest.raises(WeightsError, match="no checkpoint yet"):
        export_official(tmp_path, tmp_path / "net.pth", dtype=torch.float16)
