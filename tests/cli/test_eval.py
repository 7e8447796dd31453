"""`hallo eval` on a video of a still face: a table, JSON, and errors before anything is measured."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation.scripted import ClipColours, Colours, saved
from evaluation.talking import ColourNetwork, portrait_crop
from scipy.io import wavfile
from typer.testing import CliRunner, Result

from hallo_cli.cli.app import register
from hallo_cli.errors import InputError, SettingsError, WeightsError
from hallo_cli.evaluation import measure_video
from hallo_cli.evaluation.curves import Curves
from hallo_cli.evaluation.figures import VideoFigures
from hallo_cli.evaluation.syncnet import SyncNet
from hallo_cli.media.joining import Sound, assemble
from hallo_cli.media.video import SegmentWriter
from hallo_cli.media.video_format import VideoFormat

app = register("eval")
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
N_FRAMES = 8


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed on this machine decides nothing."""
    monkeypatch.setenv("HALLO_MODELS", str(tmp_path))


@pytest.fixture(scope="module", autouse=True)
def videos_are_measured_once() -> Iterator[None]:
    """Most commands measure the same video in the same way."""
    measure, found = measure_video.measure_video, dict[str, tuple[VideoFigures, Curves]]()

    def remembering(video: Path, **beside: object) -> tuple[VideoFigures, Curves]:
        key = repr((video, beside))
        if key not in found:
            found[key] = measure(video, **beside)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure_video, "measure_video", remembering)
        yield


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


@pytest.fixture(scope="module")
def efid(folder: Path) -> list[str | Path]:
    """Options for E-FID against the same video."""
    (folder / "real").mkdir()
    shutil.copy(folder / "video.mp4", folder / "real")
    return ["--efid-network", saved(Colours(), folder / "colours.pt"), "--reference-dir", folder / "real"]


@pytest.fixture(scope="module")
def i3d(folder: Path) -> Path:
    return saved(ClipColours(), folder / "i3d.pt")


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


def test_page_has_the_plots_and_figures_of_each_video(folder: Path) -> None:
    (folder / "rows.csv").write_text("video\nvideo.mp4\ngone<b>.mp4\n")
    run("--manifest", folder / "rows.csv", "--html", folder / "page.html", "--json")
    page = (folder / "page.html").read_text()
    assert page.count("<svg") == 3
    assert "frames with one face found" in page
    assert "gone&lt;b&gt;.mp4" in page
    assert "<script" not in page


def test_manifest_measures_every_row_and_says_which_failed(folder: Path) -> None:
    (folder / "rows.csv").write_text("video,audio\nvideo.mp4,noise.wav\ngone.mp4,\n")
    result = run("--manifest", folder / "rows.csv")
    assert result.exit_code == 1
    assert "frames with one face found" in result.stdout
    assert "gone.mp4" in result.stdout


def test_broken_row_leaves_the_distances_of_the_others(folder: Path, efid: list[str | Path]) -> None:
    (folder / "rows.csv").write_text("video\nvideo.mp4\ngone.mp4\n")
    result = run("--manifest", folder / "rows.csv", "--json", *efid)
    assert result.exit_code == 1
    made = json.loads(result.stdout)
    assert [row["error"] is None for row in made["videos"]] == [True, False]
    assert made["distances"]["efid"] == pytest.approx(0, abs=1e-3)


def test_figures_are_shown_where_a_distance_cannot_be_measured(
    folder: Path, efid: list[str | Path], i3d: Path
) -> None:
    result = run(folder / "video.mp4", "--json", *efid, "--fvd-network", i3d)
    assert result.exit_code == InputError.exit_status
    made = json.loads(result.stdout)
    assert made["videos"][0]["figures"]["n_frames"] == N_FRAMES
    assert list(made["distances"]) == ["efid"]
    assert "32 frames" in made["distance_errors"]["fvd"]


def test_table_says_why_a_distance_is_missing(folder: Path, efid: list[str | Path], i3d: Path) -> None:
    result = run(folder / "video.mp4", *efid, "--fvd-network", i3d)
    assert "frames with one face found" in result.stdout
    assert "E-FID: 0.000" in result.stdout
    assert "FVD: not measured" in result.stdout


@pytest.mark.parametrize(
    ("options", "kind"), [([], "aligned upper face"), (["--bundle", "mine"], "face embedding")]
)
def test_identity_network_is_used_where_there_is_one(
    options: list[str], kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hallo_cli.analysis.of_bundle.find_identity", {"mine": ColourNetwork()}.get)
    (row,) = json.loads(run(folder / "video.mp4", "--json", *options).stdout)["videos"]
    assert row["figures"]["identity_kind"] == kind
    assert row["figures"]["identity"] > 0.99


def test_options_fill_what_a_row_of_the_manifest_leaves_empty(folder: Path) -> None:
    rows = folder / "rows.csv"
    rows.write_text("video,truth\nvideo.mp4,\nvideo.mp4,gone.mp4\n")
    first, second = json.loads(run("--manifest", rows, "--truth", folder / "video.mp4", "--json").stdout)[
        "videos"
    ]
    assert first["figures"]["psnr"] == 100
    assert "gone.mp4" in second["error"]


@pytest.mark.parametrize("content", ["video,audio\n", "", "video\n\n"])
def test_empty_manifest_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(content)
    with pytest.raises(InputError, match=r"rows\.csv"):
        run("--manifest", tmp_path / "rows.csv")


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
        (["a.mp4", "--bundle", "gone"], WeightsError),
        (["gone.mp4"], InputError),
    ],
)
def test_wrong_options_end_in_their_error(options: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        run(*options)
