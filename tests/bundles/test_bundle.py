"""Bundles are found by name or path, described strictly, and broken files are named."""

import dataclasses
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from hallo_cli.bundles import bundle as bundles
from hallo_cli.bundles.bundle import Bundle, find_bundle, list_bundles
from hallo_cli.bundles.bundle_file import (
    BundleFile,
    BundleManifest,
    Geometry,
    Sampling,
    SpeechConfig,
    read_manifest,
    write_manifest,
)
from hallo_cli.bundles.trees import JOYHALLO, OFFICIAL, TREES, Tree
from hallo_cli.errors import WeightsError
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.store.digests import file_digest

SMALL = NetworkConfig(channels=(32, 64, 128, 128), cross_dim=48, norm_groups=8, identity_tokens=0)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HALLO_MODELS", str(tmp_path / "models"))
    return tmp_path


def manifest() -> BundleManifest:
    return BundleManifest(
        name="small",
        version="3",
        licence='MIT, "as is" ü',
        networks=SMALL,
        files={"networks": BundleFile("networks.safetensors"), "speech": BundleFile("sub/speech.bin")},
        speech=SpeechConfig("embedded", {"mels": 80, "widths": [192, 128], "bands": {"low": 20.5}}),
        geometry=Geometry(crop_scale=1.32, crop_shift=0.015),
        sampling=Sampling(steps=2, guidance=1.0),
        made_with="0.1.0",
    )


def write_bundle(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "networks.safetensors").write_bytes(b"weights" * 100)
    (folder / "sub" / "speech.bin").write_bytes(b"speech")
    write_manifest(folder, manifest())
    return folder


def edited(folder: Path, old: str, new: str) -> Path:
    path = folder / "bundle.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return folder


def test_manifest_survives_the_round_trip(tmp_path: Path) -> None:
    read = read_manifest(write_bundle(tmp_path / "b") / "bundle.toml")
    written = manifest()
    listed = BundleFile("sub/speech.bin", file_digest(tmp_path / "b/sub/speech.bin"), 6)
    assert read.files["speech"] == listed
    assert dataclasses.replace(read, files=written.files).networks == SMALL
    assert read.geometry == written.geometry
    assert read.sampling == written.sampling
    assert dict(read.speech.config) == dict(written.speech.config)
    assert (read.name, read.version, read.licence) == ("small", "3", 'MIT, "as is" ü')


def test_bundle_is_found_by_path_and_by_name(tmp_path: Path) -> None:
    write_bundle(tmp_path / "models" / "small")
    by_name, by_path = find_bundle("small"), find_bundle(tmp_path / "models" / "small")
    assert by_name == by_path
    assert by_name.file("speech").read_bytes() == b"speech"
    assert ("small", tmp_path / "models" / "small") in list_bundles()


@pytest.mark.parametrize("place", ["models", "models/official", "elsewhere/pretrained_models"])
def test_official_tree_needs_no_manifest(tmp_path: Path, place: str) -> None:
    for path in OFFICIAL.paths.values():
        (tmp_path / place / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place / path).write_bytes(b"x")
    bundle = find_bundle("official" if place.startswith("models") else tmp_path / place)
    assert bundle.manifest.networks == NetworkConfig.official()
    assert bundle.manifest.needs_identity
    assert bundle.file("networks").name == "net.pth"


def test_missing_official_weights_name_the_command_that_fetches_them() -> None:
    with pytest.raises(WeightsError, match="hallo models pull"):
        find_bundle("official")


def test_installation_without_the_embedded_weights_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "EMBEDDED", tmp_path / "nothing")
    with pytest.raises(WeightsError, match="embedded weights are missing"):
        find_bundle("embedded")


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "..", "."])
def test_what_is_no_bundle_is_refused(name: str) -> None:
    with pytest.raises(WeightsError, match=r"no bundle"):
        find_bundle(name)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", "format 2, this program reads 1"),
        ("format = 1", "format = 1\nfromat = 1", "unknown key fromat"),
        ('name = "small"', "name = 3", "name = 3 is not a text"),
        ('name = "small"', "", "name must be given"),
        ("heads = 8", "heads = 7", "not a multiple of 7 heads"),
        ("heads = 8", "heds = 8", "unknown key networks.heds (did you mean 'heads'?)"),
        ("heads = 8", "heads = ", "cannot be read"),
        ('path = "sub/speech.bin"', 'path = "../speech.bin"', "not a path inside the bundle"),
        ('path = "sub/speech.bin"', 'path = "/etc/passwd"', "not a path inside the bundle"),
        ("n_bytes = 6", "n_bytes = -6", "not a number of bytes"),
        ('kind = "embedded"', 'kind = "hubert"', "not 'wav2vec2' or 'embedded'"),
        ("crop_scale = 1.32", "crop_scale = nan", "geometry.crop_scale = nan"),
        ("crop_scale = 1.32", 'crop_scale = "1"', "geometry.crop_scale = '1'"),
        ("steps = 2", "steps = 0", "sampling.steps = 0"),
        ("guidance = 1.0", "guidance = -1", "sampling.guidance = -1"),
        ("[files.speech]", "[files.sound]", "files = 'sound' is not one of"),
    ],
)
def test_broken_manifest_is_refused_with_its_reason(tmp_path: Path, old: str, new: str, message: str) -> None:
    folder = edited(write_bundle(tmp_path / "b"), old, new)
    with pytest.raises(WeightsError, match=re.escape(message)) as caught:
        find_bundle(folder)
    assert str(folder / "bundle.toml") in str(caught.value)
    assert "\n" not in str(caught.value).replace("(at", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "missing"),
        (b"", "empty"),
        (b"weights" * 99, "cut short: 693 bytes of 700"),
        (b"weights" * 101, "longer than it should be"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 700\n", "git-lfs pointer"),
    ],
)
def test_file_that_is_not_whole_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    bundle = find_bundle(write_bundle(tmp_path / "b"))
    path = tmp_path / "b" / "networks.safetensors"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        bundle.file("networks")
    assert str(path) in str(caught.value)


def test_changed_file_of_the_same_size_fails_verification(tmp_path: Path) -> None:
    bundle = find_bundle(write_bundle(tmp_path / "b"))
    assert bundle.verified("networks").is_file()
    (tmp_path / "b" / "networks.safetensors").write_bytes(b"Weights" * 100)
    with pytest.raises(WeightsError, match="SHA-256"):
        bundle.verified("networks")


def test_role_that_the_bundle_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no file for 'vocals'"):
        find_bundle(write_bundle(tmp_path / "b")).file("vocals")


def test_weights_id_depends_on_all_that_changes_pixels_and_on_nothing_else(tmp_path: Path) -> None:
    bundle = find_bundle(write_bundle(tmp_path / "b"))
    read = bundle.manifest

    def digest(**changes: object) -> str:
        return Bundle(tmp_path, dataclasses.replace(read, **changes)).weights_id  # type: ignore[arg-type]

    assert digest() == bundle.weights_id
    assert digest(licence="other", description="other", made_with="9") == bundle.weights_id
    assert digest(sampling=Sampling(steps=3)) != bundle.weights_id
    assert digest(geometry=Geometry(crop_scale=2.0)) != bundle.weights_id
    assert digest(networks=dataclasses.replace(SMALL, compat="sane")) != bundle.weights_id
    other = {**read.files, "networks": BundleFile("networks.safetensors", "0" * 64, 700)}
    assert digest(files=other) != bundle.weights_id


def test_digest_of_a_large_file_is_read_once_and_again_when_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hallo_cli.store.digests.WORTH_REMEMBERING", 1)
    path = tmp_path / "large"
    path.write_bytes(b"one")
    first = file_digest(path)
    (note,) = (tmp_path / "cache" / "digests").iterdir()
    note.write_text(note.read_text().replace(first, "f" * 64))
    assert file_digest(path) == "f" * 64
    path.write_bytes(b"three")
    assert file_digest(path) not in (first, "f" * 64)


@pytest.mark.parametrize("tree", TREES.values(), ids=lambda tree: tree.name)
def test_each_published_tree_is_found_by_name_as_it_is(tmp_path: Path, tree: Tree) -> None:
    for place in ("models", f"models/{tree.name}"):
        fill(tmp_path / place, tree.paths.values())
        bundle = find_bundle(tree.name)
        assert (bundle.path, bundle.manifest.networks) == (tmp_path / place, tree.networks)
        assert (tree.name, bundle.path) in list_bundles()
        assert {bundle.file(role).stat().st_size for role in tree.files} == {1}
        shutil.rmtree(tmp_path / "models")


def fill(directory: Path, paths: Iterable[str]) -> None:
    for path in paths:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(b"x")


def test_one_folder_may_hold_several_trees(tmp_path: Path) -> None:
    for tree in TREES.values():
        fill(tmp_path / "models", tree.paths.values())
    for name, tree in TREES.items():
        assert find_bundle(name).manifest.networks == tree.networks
    assert find_bundle(tmp_path / "models").manifest.name == "official"
    assert [name for name, path in list_bundles() if path == tmp_path / "models"] == list(TREES)


def test_tree_put_together_by_hand_is_known_by_its_speech_encoder(tmp_path: Path) -> None:
    paths = {**JOYHALLO.paths, "networks": "net.pth"}
    fill(tmp_path / "hand", [path for role, path in paths.items() if role != "speech"])
    with pytest.raises(WeightsError, match="no bundle here"):
        find_bundle(tmp_path / "hand")
    fill(tmp_path / "hand", ["wav2vec/chinese-wav2vec2-base/pytorch_model.bin"])
    bundle = find_bundle(tmp_path / "hand")
    assert bundle.file("networks") == tmp_path / "hand" / "net.pth"
    assert bundle.file("speech").parent.name == "chinese-wav2vec2-base"


def test_part_of_a_tree_is_refused_with_the_folder_to_name(tmp_path: Path) -> None:
    fill(tmp_path / "tree", OFFICIAL.paths.values())
    with pytest.raises(WeightsError, match=r"hallo: only a part of a bundle\. Name the folder above it"):
        find_bundle(tmp_path / "tree" / "hallo")


def test_missing_relatives_name_the_command_that_fetches_them() -> None:
    with pytest.raises(WeightsError, match="hallo models pull joyhallo"):
        find_bundle("joyhallo")


def test_length_of_speech_pieces_survives_the_round_trip(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b")
    written = dataclasses.replace(manifest(), speech=SpeechConfig(piece_s=60.0))
    write_manifest(folder, written)
    assert read_manifest(folder / "bundle.toml").speech == SpeechConfig(piece_s=60.0)
    with pytest.raises(WeightsError, match=r"speech.piece_s = 0.0 is not at least 1"):
        read_manifest(edited(folder, "piece_s = 60.0", "piece_s = 0.0") / "bundle.toml")
