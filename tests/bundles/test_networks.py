"""Weights load strictly, as published and from bundles; broken files are named."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_bundles import make_bundle, published_like, random_networks
from torch import Tensor

from hallo_cli.bundles.bundle import Bundle, find_bundle, tree_manifest
from hallo_cli.bundles.networks import check_bundle_fits, convert_bundle, load_networks, save_bundle
from hallo_cli.bundles.trees import OFFICIAL
from hallo_cli.errors import WeightsError
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.weights import Networks, build_networks, ignored_reason

MANIFEST = Path(__file__).parent.parent / "data" / "official_net_manifest.json"
DEAD = {
    "denoising_unet.down_blocks.3.motion_modules.0.temporal_transformer.proj_in.weight": torch.ones(2, 2),
    "reference_unet.up_blocks.3.attentions.2.proj_out.bias": torch.ones(3),
}
PUBLISHED_LIKE = published_like()


def state(networks: Networks) -> dict[str, Tensor]:
    modules = {**networks.by_prefix(), "vae.": networks.vae}
    return {
        prefix + name: value
        for prefix, module in modules.items()
        for name, value in module.state_dict().items()
    }


def same(left: Networks, right: Networks) -> bool:
    a, b = state(left), state(right)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def old_name(key: str) -> str:
    for new, old in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
        key = key.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
    return key


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Networks]:
    """A tree as it is published (float16 net.pth, dead weights, old names in the autoencoder), but small."""
    tree, networks = tmp_path_factory.mktemp("published") / "tree", random_networks(PUBLISHED_LIKE)
    for path in OFFICIAL.paths.values():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(b"onnx")
    net = {key: value.half() for key, value in state(networks).items() if not key.startswith("vae.")}
    torch.save({**net, **DEAD}, tree / OFFICIAL.paths["networks"])
    vae = {old_name(key): value for key, value in networks.vae.state_dict().items()}
    save_file(vae, tree / OFFICIAL.paths["vae"])
    return tree, networks


@pytest.fixture
def published(made: tuple[Path, Networks], tmp_path: Path) -> tuple[Bundle, Networks]:
    """A copy of that tree to spoil, and the networks it was written from."""
    shutil.copytree(made[0], tmp_path / "tree")
    manifest = dataclasses.replace(tree_manifest(OFFICIAL, tmp_path / "tree"), networks=PUBLISHED_LIKE)
    return Bundle(tmp_path / "tree", manifest), made[1]


def test_every_published_key_is_loaded_with_its_shape_or_ignored_for_a_reason() -> None:
    published = json.loads(MANIFEST.read_text())
    ours = {
        key: list(value.shape)
        for key, value in state(build_networks(NetworkConfig.official())).items()
        if not key.startswith("vae.")
    }
    ignored = {key: ignored_reason(key) for key in published if key not in ours}
    assert len(published) == 2656
    assert {key: published.get(key) for key in ours} == ours
    assert all(ignored.values())
    assert len(ours) == 2496
    assert len([key for key in ignored if ".motion_modules." in key]) == 140
    assert not [key for key in ours if ignored_reason(key)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_published_tree_loads_in_any_dtype(published: tuple[Bundle, Networks], dtype: torch.dtype) -> None:
    bundle, networks = published
    loaded = load_networks(bundle, device="cpu", dtype=dtype)
    expected = {
        key: (value if key.startswith("vae.") else value.half()).to(dtype)
        for key, value in state(networks).items()
    }
    assert all(torch.equal(value, expected[key]) for key, value in state(loaded).items())
    assert not loaded.denoising_unet.training
    assert not any(weight.requires_grad for weight in loaded.vae.parameters())


def test_loaded_networks_hold_no_meta_tensors(tmp_path: Path) -> None:
    networks = load_networks(make_bundle(tmp_path / "b"), device="cpu", dtype=torch.float32)
    modules = [*networks.by_prefix().values(), networks.vae]
    tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    assert not any(tensor.is_meta for tensor in tensors)


def test_bundle_gives_back_the_saved_weights(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b", seed=3)
    loaded = load_networks(bundle, device="cpu", dtype=torch.float32)
    assert same(loaded, random_networks(bundle.manifest.networks, seed=3))


def test_saving_over_a_bundle_is_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    networks = load_networks(bundle, device="cpu", dtype=torch.float32)
    with pytest.raises(WeightsError, match="holds a bundle already"):
        save_bundle(bundle.path, networks, bundle.manifest, dtype=torch.float32)


def test_converted_tree_is_slim_and_renders_the_same(
    published: tuple[Bundle, Networks], tmp_path: Path
) -> None:
    bundle, _ = published
    slim = convert_bundle(bundle, tmp_path / "slim", name="slim", dtype=torch.float16)
    tensors = load_file(slim.file("networks"))
    assert {value.dtype for value in tensors.values()} == {torch.float16}
    assert not DEAD.keys() & tensors.keys()
    assert same(
        load_networks(slim, device="cpu", dtype=torch.float16),
        load_networks(bundle, device="cpu", dtype=torch.float16),
    )
    assert all(listed.sha256 for listed in slim.manifest.files.values())
    assert slim.manifest.files.keys() == bundle.manifest.files.keys()
    assert find_bundle(tmp_path / "slim").weights_id == slim.weights_id


def test_bfloat16_bundle_keeps_the_autoencoder_in_float16(
    published: tuple[Bundle, Networks], tmp_path: Path
) -> None:
    slim = convert_bundle(published[0], tmp_path / "slim", name="slim", dtype=torch.bfloat16)
    assert {value.dtype for value in load_file(slim.file("vae")).values()} == {torch.float16}
    assert {value.dtype for value in load_file(slim.file("networks")).values()} == {torch.bfloat16}


class Payload:
    """Unpickling this runs a program."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.witness),)


def test_file_that_could_run_code_is_refused_unread(
    published: tuple[Bundle, Networks], tmp_path: Path
) -> None:
    bundle, _ = published
    torch.save({"reference_unet.conv_in.weight": Payload(tmp_path / "witness")}, bundle.file("networks"))
    with pytest.raises(WeightsError, match=r"net\.pth: holds more than tensors"):
        load_networks(bundle, device="cpu", dtype=torch.float32)
    assert not (tmp_path / "witness").exists()


def without_two(net: dict[str, Tensor]) -> dict[str, Tensor]:
    gone = ("denoising_unet.conv_in.weight", "audioproj.norm.bias")
    return {key: value for key, value in net.items() if key not in gone}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_two, r"missing denoising_unet\.conv_in\.weight, audioproj\.norm\.bias\. It belongs"),
        (lambda net: {**net, "extra.weight": torch.ones(1)}, r"unexpected extra\.weight\. It belongs"),
        (
            lambda net: {**net, "imageproj.norm.bias": torch.ones(9)},
            r"of another shape imageproj\.norm\.bias \[9\] instead of \[8\]\. It belongs",
        ),
        (lambda net: {"state_dict": net}, "not a plain table of named tensors"),
        (lambda net: dict(list(net.items())[:5]), r"missing (\S+, ){2}\S+ and \d+ more\. It belongs"),
    ],
)
def test_file_of_another_model_is_named_with_its_first_keys(
    published: tuple[Bundle, Networks], change: object, message: str
) -> None:
    bundle, _ = published
    path = bundle.file("networks")
    net = torch.load(path, weights_only=True)
    torch.save(change(net), path)  # type: ignore[operator]
    with pytest.raises(WeightsError, match=message) as caught:
        load_networks(bundle, device="cpu", dtype=torch.float32)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("role", ["networks", "vae"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_truncated_file_is_named(published: tuple[Bundle, Networks], role: str, share: float) -> None:
    bundle, _ = published
    path = bundle.file(role)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(WeightsError, match=r"damaged, cut short|damaged or cut short") as caught:
        check_bundle_fits(bundle)
    assert str(path) in str(caught.value)


def test_bundle_file_with_another_digest_is_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    content = bytearray(bundle.file("vae").read_bytes())
    content[-1] ^= 1
    bundle.file("vae").write_bytes(content)
    with pytest.raises(WeightsError, match=r"vae\.safetensors: SHA-256"):
        load_networks(bundle, device="cpu", dtype=torch.float32)


def test_git_lfs_pointer_is_named(published: tuple[Bundle, Networks]) -> None:
    bundle, _ = published
    path = bundle.file("networks")
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4849605928\n")
    with pytest.raises(WeightsError, match=r"net\.pth: a git-lfs pointer"):
        load_networks(bundle, device="cpu", dtype=torch.float32)
