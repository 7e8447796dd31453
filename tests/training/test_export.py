"""The published file's names and shapes are met exactly by what is exported."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_bundles import make_bundle, random_networks, tiny_config

from hallo_cli.errors import SettingsError, WeightsError
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.weights import build_networks
from hallo_cli.training.checkpoint import AVERAGE, NETWORKS, Progress, RunFolder
from hallo_cli.training.export import BundleOptions, export_bundle, export_official, unused_shapes
from hallo_cli.training.forward import TrainedNetworks

MANIFEST = Path(__file__).parent.parent / "data" / "official_net_manifest.json"


def test_exported_tensors_are_those_of_the_published_file() -> None:
    published = {name: tuple(shape) for name, shape in json.loads(MANIFEST.read_text()).items()}
    exported = unused_shapes()
    for prefix, module in build_networks(NetworkConfig.official()).by_prefix().items():
        own = {f"{prefix}{name}": tuple(value.shape) for name, value in module.state_dict().items()}
        assert not own.keys() & exported.keys()
        exported |= own
    assert exported == published


@pytest.mark.parametrize("other", [{"compat": "sane"}, {"locator_input": "portrait"}, {"heads": 4}])
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


def write_run(folder: Path, seed: int, **changes: object) -> dict[str, torch.Tensor]:
    config = tiny_config(**changes)
    weights = TrainedNetworks(random_networks(config, seed)).state_dict()
    RunFolder(folder).describe({}, config)
    RunFolder(folder).write({NETWORKS: weights, AVERAGE: {}}, Progress(step=1), keep=1)
    return weights


def exported(base: Path, run: Path, output: Path, **options: object) -> dict[str, torch.Tensor]:
    chosen = BundleOptions("toy", base=str(base), **options)  # type: ignore[arg-type]
    return load_file(export_bundle(run, output, chosen, dtype=torch.float32).file("networks"))


def test_the_mean_of_runs_is_exported(tmp_path: Path) -> None:
    base = make_bundle(tmp_path / "base").path
    first, second = (write_run(tmp_path / str(seed), seed) for seed in (1, 2))
    mean = exported(base, tmp_path / "1", tmp_path / "mean", average=(tmp_path / "2",))
    assert mean.keys() == first.keys()
    for name, value in mean.items():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2)


def test_runs_of_other_networks_are_not_averaged(tmp_path: Path) -> None:
    base = make_bundle(tmp_path / "base").path
    write_run(tmp_path / "1", 1)
    write_run(tmp_path / "2", 2, audio_hidden=8)
    with pytest.raises(SettingsError, match="other networks than"):
        exported(base, tmp_path / "1", tmp_path / "mean", average=(tmp_path / "2",))


def test_a_run_that_lacks_weights_is_not_averaged(tmp_path: Path) -> None:
    base = make_bundle(tmp_path / "base").path
    write_run(tmp_path / "1", 1)
    weights = write_run(tmp_path / "2", 2)
    weights.popitem()
    RunFolder(tmp_path / "2").write({NETWORKS: weights, AVERAGE: {}}, Progress(step=2), keep=1)
    with pytest.raises(WeightsError, match=r"step-\d+: does not hold the weights"):
        exported(base, tmp_path / "1", tmp_path / "mean", average=(tmp_path / "2",))


def test_audio_gain_is_the_same_as_the_three_region_weights(tmp_path: Path) -> None:
    base = make_bundle(tmp_path / "base").path
    plain = write_run(tmp_path / "1", 1)
    louder = exported(base, tmp_path / "1", tmp_path / "louder", audio_gain=1.5)
    changed = {name for name, value in louder.items() if not torch.equal(value, plain[name])}
    assert changed
    assert all(".zero_conv_" in name for name in changed)

    config = tiny_config()
    module = TrainedNetworks(random_networks(config, 1))
    width = config.channels[1]
    tokens = torch.randn(2, config.audio_tokens, config.audio_token_dim)
    masks = torch.rand(1, 16, 3)
    (block,) = [
        layer for name, layer in module.denoising_unet.named_modules() if name == "mid_block.audio_modules.0"
    ]
    x = torch.randn(2, width, 4, 4)
    by_weights = block(x, block.project(tokens, masks, torch.full((3,), 1.5)), masks)
    module.load_state_dict(louder)
    by_gain = block(x, block.project(tokens, masks, torch.ones(3)), masks)
    torch.testing.assert_close(by_gain, by_weights)
