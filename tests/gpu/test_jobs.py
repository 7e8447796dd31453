"""Whole jobs on a CUDA device: under a memory cap, two processes at once, encoded by the device."""

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small_bundles import make_bundle

from hallo_cli.errors import EncoderError
from hallo_cli.jobs import events
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import run_job
from hallo_cli.media.ffmpeg import encoders
from hallo_cli.media.probe import probe
from hallo_cli.media.video import SegmentWriter, read_frames
from hallo_cli.media.video_format import VideoFormat
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

EXAMPLES = Path(__file__).parents[2] / "hallo_cli" / "assets" / "examples"
FACE = EXAMPLES / "portrait_astronaut.png"
SPEECH = EXAMPLES / "sense_and_sensibility_01_austen_64kb-0880.wav"
# What ffmpeg says of devices that only compute, such as A100 and H100, and of drivers in containers.
NO_ENCODER = (
    "No capable devices found",
    "OpenEncodeSessionEx failed",
    "Cannot load libnvidia-encode",
    "Cannot load libcuda",
)
# To decode eight frames at a time takes thrice the memory of one (1.6 against 0.5 GB, counted).
LARGE_DECODER = {
    "vae_kind": "kl",
    "vae": {
        "latent_channels": 4,
        "block_out_channels": (32, 32, 32, 32),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "norm_num_groups": 4,
    },
    "clip_frames": 16,
}


@pytest.fixture
def capped() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def rendered(folder: Path, name: str) -> tuple[list[events.Event], int]:
    """What happened in a render of a second, and the most memory that it needed at once."""
    bundle = make_bundle(folder / name, **LARGE_DECODER)
    settings = RenderSettings(duration_s=1.0, size=512, dtype="float32")
    seen: list[events.Event] = []
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    job = Job(FACE, SPEECH, folder / f"{name}.mp4", settings)
    run_job(job, BundleEngine(bundle, RuntimeSettings(device="cuda")), on_event=seen.append)
    return seen, torch.cuda.max_memory_allocated()


@pytest.mark.usefixtures("capped")
def test_job_that_needs_more_than_it_may_have_falls_back_and_ends(tmp_path: Path) -> None:
    seen, peak = rendered(tmp_path, "free")
    assert not [event for event in seen if isinstance(event, events.FellBack)]
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(0.95 * peak / total)
    seen, capped_peak = rendered(tmp_path, "capped")
    assert [event for event in seen if isinstance(event, events.FellBack)]
    assert capped_peak < peak
    info = probe(tmp_path / "capped.mp4")
    assert info.video is not None
    assert info.video.n_frames == 25


def test_two_processes_share_a_device(tmp_path: Path) -> None:
    rows = [{"id": f"row{k}", "portrait": str(FACE), "audio": str(SPEECH), "duration": 1.0} for k in range(4)]
    manifest = tmp_path / "rows.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "hallo_cli", "batch", str(manifest), "--no-quality"]
    shared = ["--devices", "cuda:0", "--jobs", "2", "--progress", "none"]
    done = subprocess.run([*command, *shared], check=False, timeout=240)
    assert done.returncode == 0
    for row in rows:
        video = tmp_path / "rows.videos" / f"{row['id']}.mp4"
        info = probe(video)
        assert info.video is not None
        assert info.video.n_frames == 25
        assert json.loads(video.with_suffix(".json").read_text())["weights"]["device"].startswith("cuda")


@pytest.mark.parametrize("codec", ["h264_nvenc", "hevc_nvenc"])
def test_device_encodes_what_it_rendered(tmp_path: Path, codec: str) -> None:
    if codec not in encoders():
        pytest.skip(f"this ffmpeg lacks {codec}")
    frames = np.zeros((25, 256, 256, 3), np.uint8)
    frames[:, 64:192, 64:192] = 200
    video = VideoFormat(256, 256, 25.0, codec=codec)
    try:
        with SegmentWriter(tmp_path / "out.mp4", video) as writer:
            writer.write(frames)
            writer.commit()
    except EncoderError as error:
        if any(words in str(error) for words in NO_ENCODER):
            pytest.skip(f"this device or its driver has no encoder: {error}")
        raise
    info = probe(tmp_path / "out.mp4")
    assert info.video is not None
    assert info.video.codec == codec.removesuffix("_nvenc")
    assert info.video.n_frames == 25
    middle = list(read_frames(tmp_path / "out.mp4", fps=25))[12]
    assert abs(int(middle[128, 128].mean()) - 200) < 10
    assert middle[20, 20].mean() < 10
