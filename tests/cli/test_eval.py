"""`hallo eval` on a video of a still face: a table, JSON, and errors before anything is measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation.talking import portrait_crop
from scipy.io import wavfile
from typer.testing import CliRunner, Result

from hallo_cli.cli.app import app, register
from hallo_cli.errors import InputError, SettingsError, WeightsError
from hallo_cli.evaluation.syncnet import SyncNet
from hallo_cli.media.joining import Sound, assemble
from hallo_cli.media.video import SegmentWriter, VideoFormat

register()
N_FRAMES = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of a still face with noise as its sound."""
    folder = tmp_path_factory.mktemp("eval")
    video = VideoFormat(224, 224, 25.0)
    with SegmentWriter(folder / "segment.mp4", video) as writer:
        writer.write(np.repeat(portrait_crop()[None], N_FRAMES, axis=0))
        writer.commit()
    noise = np.random.default_rng(0).normal(0, 3000, 640 * N_FRAMES).astype(np.int16)
    wavfile.write(folder / "noise.wav", 16_000, noise)
    assemble([folder / "segment.mp4"], folder / "video.mp4", video=video, sound=Sound(folder / "noise.wav"))
    return folder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["eval", *map(str, arguments)], catch_exceptions=False)


def test_video_is_measured_with_syncnets_figures(folder: Path) -> None:
    torch.manual_seed(0)
    torch.save(SyncNet().state_dict(), folder / "syncnet_v2.model")
    result = run(folder / "video.mp4", "--syncnet", folder / "syncnet_v2.model", "--json")
    (row,) = json.loads(result.stdout)["videos"]
    assert row["figures"]["n_frames"] == N_FRAMES
    assert row["figures"]["sync_c"] >= 0
    assert row["figures"]["sync_d"] > 0


def test_manifest_measures_every_row_and_says_which_failed(folder: Path) -> None:
    (folder / "rows.csv").write_text("video,audio\nvideo.mp4,noise.wav\ngone.mp4,\n")
    result = run("--manifest", folder / "rows.csv")
    assert result.exit_code == 1
    assert "frames with one face found" in result.stdout
    assert "gone.mp4" in result.stdout


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ([], SettingsError),
        (["a.mp4", "b.mp4", "--truth", "c.mp4"], SettingsError),
        (["a.mp4", "--manifest", "rows.csv"], SettingsError),
        (["--manifest", "gone.csv"], InputError),
        (["a.mp4", "--fid-network", "inception.pt"], SettingsError),
        (["a.mp4", "--reference-dir", "real"], SettingsError),
        (["a.mp4", "--fid-network", "gone.pt", "--reference-dir", "real"], WeightsError),
        (["a.mp4", "--syncnet", "gone.model"], WeightsError),
        (["gone.mp4"], InputError),
    ],
)
def test_wrong_options_end_in_their_error(options: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        run(*options)
