"""A bundle's networks: loaded, written, converted, compared with the files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch

from hallo_cli import __version__
from hallo_cli.bundles.bundle import Bundle, read_bundle
from hallo_cli.bundles.bundle_file import BundleFile, BundleManifest, write_manifest
from hallo_cli.errors import WeightsError
from hallo_cli.models.weights import Networks, build_networks, check_fit, fill, write_weights
from hallo_cli.store.writing import copy_whole, make_folder


def load_networks(
    bundle: Bundle, *, device: torch.device | str, dtype: torch.dtype, vae_dtype: torch.dtype | None = None
) -> Networks:
    """The bundle's networks with their weights, the autoencoder's in `vae_dtype` where that is another one.

    Raises WeightsError if a file is broken or does not fit.
    On the CPU and in the file's own dtype the weights stay memory-mapped; otherwise they are converted piece
    by piece, so that host memory peaks little above what is loaded.
    """
    networks = build_networks(bundle.manifest.networks)
    fill(networks.by_prefix(), bundle.verified("networks"), device=device, dtype=dtype)
    fill({"": networks.vae}, bundle.verified("vae"), device=device, dtype=vae_dtype or dtype)
    return networks


def save_bundle(
    directory: Path,
    networks: Networks,
    manifest: BundleManifest,
    *,
    dtype: torch.dtype,
    copied: Mapping[str, Path] | None = None,
) -> Bundle:
    """Write the networks in this dtype, copy the other files and describe it all; `bundle.toml` comes last.

    `copied` gives by role the files that are taken as they are; their names inside the bundle are those that
    `manifest.files` lists for the role, else their own. Raises WeightsError if a bundle exists already.
    """
    if (directory / "bundle.toml").exists():
        raise WeightsError(f"{directory}: holds a bundle already. Choose another folder, or remove it first.")
    make_folder(directory)
    files = {"networks": BundleFile("networks.safetensors"), "vae": BundleFile("vae.safetensors")}
    write_weights(directory / "networks.safetensors", networks.by_prefix(), dtype)
    # float16 keeps what the published autoencoder knows; bfloat16 would show as banding.
    write_weights(
        directory / "vae.safetensors",
        {"": networks.vae},
        torch.float32 if dtype is torch.float32 else torch.float16,
    )
    for role, source in (copied or {}).items():
        files[role] = manifest.files.get(role, BundleFile(source.name))
        target = directory / files[role].path
        make_folder(target.parent)
        copy_whole(source, target)
    described = dataclasses.replace(manifest, files=files, networks=networks.config, made_with=__version__)
    write_manifest(directory, described)
    return read_bundle(directory)


def convert_bundle(bundle: Bundle, directory: Path, *, name: str, dtype: torch.dtype) -> Bundle:
    """Write a bundle of safetensors from any other, the published tree too: one dtype, no dead weights."""
    networks = load_networks(bundle, device="cpu", dtype=dtype)
    roles = [role for role in bundle.manifest.files if role not in ("networks", "vae")]
    manifest = dataclasses.replace(bundle.manifest, name=name)
    return save_bundle(
        directory, networks, manifest, dtype=dtype, copied={role: bundle.verified(role) for role in roles}
    )


def check_bundle_fits(bundle: Bundle) -> None:
    """Compare the files' keys and shapes with the networks, reading no weights. Raises WeightsError."""
    networks = build_networks(bundle.manifest.networks)
    check_fit(networks.by_prefix(), bundle.file("networks"))
    check_fit({"": networks.vae}, bundle.file("vae"))
