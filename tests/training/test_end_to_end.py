"""The whole way at toy scale: a video becomes takes, takes train both stages, the run renders."""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from small_bundles import make_bundle
from training.footage_files import ASSETS, write_video

from hallo_cli.bundles.bundle import read_bundle
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import run_job
from hallo_cli.media.probe import probe
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings
from hallo_cli.training.checkpoint import RunFolder
from hallo_cli.training.config import (
    DataSettings,
    ObjectiveSettings,
    RunSettings,
    StartSettings,
    TrainingConfig,
)
from hallo_cli.training.encode_folder import bundle_encoder, encode_folder
from hallo_cli.training.export import BundleOptions, export_bundle
from hallo_cli.training.footage import Standard
from hallo_cli.training.loop import train
from hallo_cli.training.prepare import PrepareSettings, prepare


def weights(config: TrainingConfig) -> dict[str, torch.Tensor]:
    checkpoint = RunFolder(config.run.output).latest()
    assert checkpoint is not None
    return load_file(checkpoint / "networks.safetensors")


def test_from_a_video_to_a_rendered_clip(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    base = make_bundle(tmp_path / "base")
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "person.mp4", n_face=24, n_empty=0)
    settings = PrepareSettings(
        size=64, standard=Standard(min_face=60, min_sharpness=10, max_s=0.5, min_s=0.3), bundle=str(base.path)
    )
    (video,) = prepare(tmp_path / "videos", tmp_path / "takes", settings)
    assert video.n_takes == 2

    def make():  # type: ignore[no-untyped-def]
        return bundle_encoder(str(base.path), device="cpu", dtype=torch.float32)

    shards = list(encode_folder(tmp_path / "takes", tmp_path / "encoded", make))
    assert [shard.was_there for shard in shards] == [False]
    assert [shard.was_there for shard in encode_folder(tmp_path / "takes", tmp_path / "encoded", make)] == [
        True
    ]

    stage1 = TrainingConfig(
        run=RunSettings(tmp_path / "stage1", steps=2, device="cpu", validate_every=2, threads=1),
        start=StartSettings(bundle=str(base.path)),
        data=DataSettings(tmp_path / "encoded", takes=1, frames=2),
    )
    parts = replace(stage1, run=replace(stage1.run, output=tmp_path / "parts"))
    asked = iter([False, True])
    train(stage1, "stage1")
    train(parts, "stage1", should_stop=lambda: next(asked))
    train(parts, "stage1")
    resumed = weights(parts)
    assert all(torch.equal(value, resumed[name]) for name, value in weights(stage1).items())

    stage2 = replace(
        stage1,
        run=replace(stage1.run, output=tmp_path / "stage2"),
        start=StartSettings(run=tmp_path / "stage1"),
        data=replace(stage1.data, frames=4),
        objective=ObjectiveSettings(),
    )
    train(stage2, "stage2")
    bundle = export_bundle(
        tmp_path / "stage2",
        tmp_path / "bundle",
        BundleOptions("toy", base=str(base.path), steps=1),
        dtype=torch.float32,
    )
    assert bundle.manifest.sampling == replace(base.manifest.sampling, steps=1)
    job = Job(
        portrait=ASSETS / "portrait_astronaut.png",
        audio=next(ASSETS.glob("*.wav")),
        output=tmp_path / "out.mp4",
        settings=RenderSettings(duration_s=0.2),
    )
    run_job(job, BundleEngine(read_bundle(bundle.path), RuntimeSettings(threads=1)))
    track = probe(job.output).video
    assert track is not None
    assert track.n_frames == 5
