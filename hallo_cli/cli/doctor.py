"""`hallo doctor`: looks for all that renders need and says what to do if something is missing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import typer

from hallo_cli import __version__
from hallo_cli.cli.console import answer
from hallo_cli.cli.options import AS_JSON
from hallo_cli.errors import HalloError, first_line

SCHEMA = 1
MIN_FREE_BYTES = 2 * 10**9
MARKS = {"good": "good", "note": "note", "bad": " BAD"}
PACKAGES = ("torch", "diffusers", "transformers", "onnxruntime", "insightface", "numpy", "pillow", "av")


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    topic: str
    state: str  # good, note, bad
    detail: str
    remedy: str = ""


def command(as_json: bool = AS_JSON) -> None:
    """Find what is missing on this machine and how to fix it.

    Example:
        hallo doctor

    It looks at Python, packages, devices, ffmpeg, the face networks, weights and disks. Exit status: 0 if
    renders can run, else 1.
    """
    findings = [finding for look in LOOKS for finding in _looked(look)]
    is_well = all(finding.state != "bad" for finding in findings)
    if as_json:
        rows = [asdict(finding) for finding in findings]
        answer(json.dumps({"schema": SCHEMA, "is_well": is_well, "findings": rows}))
    else:
        for finding in findings:
            answer(f"{MARKS[finding.state]}  {finding.topic:<12} {finding.detail}")
            if finding.remedy:
                answer(f"      {'':<12} -> {finding.remedy}")
        answer("Renders can run." if is_well else "Renders will not run yet: see above.")
    raise typer.Exit(0 if is_well else 1)


def _looked(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """The findings of one check; a check that fails is a finding, too."""
    topic = look.__name__.removeprefix("_").replace("_", " ")
    try:
        return list(look())
    except Exception as error:  # noqa: BLE001 - doctor reports every error
        remedy = "Install the package again, in its folder: pip install --force-reinstall ."
        if isinstance(error, HalloError):
            return [Finding(topic, "bad", str(error), "")]
        return [Finding(topic, "bad", first_line(error), remedy)]


def _python() -> Iterator[Finding]:
    remedy = "" if sys.version_info >= (3, 11) else "Use Python 3.11 or newer."
    detail = f"{platform.python_version()} on {platform.platform()}, hallo {__version__}"
    yield Finding("python", "bad" if remedy else "good", detail, remedy)
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    yield Finding("packages", "good", ", ".join(versions))


def _system() -> Iterator[Finding]:
    """The system; `app.main` refuses those that the program does not run on."""
    yield Finding("system", "good", f"{platform.system()} {platform.machine()}")


def _device() -> Iterator[Finding]:
    import torch

    from hallo_cli.inference.device import has_fast_bfloat16

    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"
    bf16 = "bfloat16 in hardware" if has_fast_bfloat16() else "no bfloat16 in hardware: float32"
    yield Finding("cpu", "good", f"{threads}, {bf16}")
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield Finding("gpu", "good", f"cuda:{index} {device.name}, {device.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        yield Finding("gpu", "good", "mps (Apple)")
    elif not torch.cuda.device_count():
        remedy = "" if torch.version.cuda else "With an NVIDIA GPU, install the CUDA build of torch."
        yield Finding("gpu", "note", f"none that torch {torch.__version__} can use", remedy)


def _ffmpeg() -> Iterator[Finding]:
    from hallo_cli.media.ffmpeg import describe_ffmpeg, encoders, find_ffmpeg
    from hallo_cli.settings.schema import RenderSettings
    from hallo_cli.settings.values import fields_of, limits_of

    yield Finding("ffmpeg", "good", f"{find_ffmpeg()}: {describe_ffmpeg()}")
    wanted = limits_of(fields_of(RenderSettings)["codec"]).choices
    there = encoders()
    missing = [name for name in wanted if name not in there]
    detail = ", ".join(name for name in wanted if name in there) or "none of those that hallo uses"
    is_usable = RenderSettings().codec in there
    remedy = "Set HALLO_FFMPEG to an ffmpeg built with libx264." if not is_usable else ""
    detail += "; nvenc works on NVIDIA GPUs only" if "nvenc" in detail else ""
    yield Finding("encoders", "good" if is_usable else "bad", detail, remedy)
    if missing:
        yield Finding("encoders", "note", f"not in this ffmpeg: {', '.join(missing)}")


def _face_networks() -> Iterator[Finding]:
    import numpy as np
    import onnxruntime

    from hallo_cli.analysis.face import FaceAnalyser

    analyser = FaceAnalyser(threads=1)
    n_faces = len(analyser.detect(np.full((64, 64, 3), 127, np.uint8)))
    used, there = (", ".join(names) for names in (analyser.providers, onnxruntime.get_available_providers()))
    detail = f"the face networks run on {used} (onnxruntime {onnxruntime.__version__} has {there})"
    yield Finding("faces", "good" if n_faces == 0 else "note", detail)


def _bundles() -> Iterator[Finding]:
    from hallo_cli.bundles.bundle import list_bundles, read_bundle

    usable = False
    for name, path in list_bundles():
        try:
            bundle = read_bundle(path)
            for role in bundle.manifest.files:
                bundle.file(role)
        except HalloError as error:
            yield Finding("weights", "bad" if name == "embedded" else "note", f"{name}: {error}")
            continue
        usable = True
        manifest = bundle.manifest
        yield Finding("weights", "good", f"{name} {manifest.version} in {path}; licence: {manifest.licence}")
    if usable and all(name != "official" for name, _ in list_bundles()):
        detail = "official: not installed; the embedded weights render without it"
        yield Finding("weights", "note", detail, "Fetch it, 5.9 GB, best with a GPU: hallo models pull")
    if not usable:
        yield Finding("weights", "bad", "no usable bundle", "Fetch the official weights: hallo models pull")


def _extras() -> Iterator[Finding]:
    if find_spec("ray") is None:
        detail = "ray: not installed; needed for batches with --engine ray"
        yield Finding("extras", "note", detail, "pip install 'hallo-cli[ray]'")


def _disk() -> Iterator[Finding]:
    import tempfile

    from hallo_cli.store.cache import cache_path

    for name, folder in {"here": Path.cwd(), "temporary": Path(tempfile.gettempdir())}.items():
        yield _disk_of(name, folder)
    if cache := cache_path():
        yield _disk_of("cache", cache)
    else:
        detail = "no cache, because there is no home folder: every render analyses its inputs again"
        yield Finding("disk", "note", detail, "Name a folder for it in HALLO_CACHE.")


def _disk_of(name: str, folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    remedy = ""
    if not os.access(existing, os.W_OK):
        remedy = "This folder cannot be written; use another one."
    elif free <= MIN_FREE_BYTES:
        remedy = "Free some space: a minute of video needs about 0.3 GB while it is rendered."
    state = "note" if remedy else "good"
    return Finding("disk", state, f"{name}: {folder}, {free / 1e9:.1f} GB free", remedy)


LOOKS = (_python, _system, _device, _ffmpeg, _face_networks, _bundles, _extras, _disk)
