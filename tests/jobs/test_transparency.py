"""Portraits with transparency, whose videos keep it."""

import dataclasses
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_bundles import make_bundle

from hallo_cli.bundles.bundle import find_bundle
from hallo_cli.domain import Bytes
from hallo_cli.errors import InputError, SettingsError
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.jobs.compositor import without_background
from hallo_cli.jobs.containers import fitting_container
from hallo_cli.jobs.marking import Marking
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import RunOptions, run_job
from hallo_cli.jobs.verification import verify
from hallo_cli.media.ffmpeg import find_ffmpeg
from hallo_cli.media.probe import probe
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

FACE = Path(__file__).parent.parent.parent / "hallo_cli/assets/examples/portrait_astronaut.png"
MARKED = RunOptions(marking=Marking(is_wanted=True))


def cut_out(path: Path) -> Path:
    """The example portrait with everything above its middle clear on the left, and half so on the right."""
    pixels = np.asarray(Image.open(FACE).convert("RGBA")).copy()
    pixels[:40, :200, 3] = 0
    pixels[:40, 300:, 3] = 128
    Image.fromarray(pixels).save(path)
    return path


def of(job: Job, name: str, **settings: object) -> Job:
    """A quarter of a second of the job, into a file of this name."""
    output = job.output.with_name(name)
    values = RenderSettings(**{"duration_s": 0.2, "framing": "full", **settings})  # type: ignore[arg-type]
    portrait = cut_out(job.portrait)
    return dataclasses.replace(
        job, portrait=portrait, output=output, settings=fitting_container(values, output)
    )


def frames_of(video: Path) -> Bytes:
    """The frames with alpha [n, height, width, 4]."""
    track = probe(video).video
    assert track is not None
    decoder = ["-c:v", "libvpx-vp9"] if video.suffix == ".webm" else []
    command = [str(find_ffmpeg()), "-v", "error", *decoder, "-i", str(video)]
    command += ["-f", "rawvideo", "-pix_fmt", "rgba", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, track.height, track.width, 4)


@pytest.fixture(scope="module")
def official_like(tmp_path_factory: pytest.TempPathFactory) -> BundleEngine:
    """An engine whose networks generate whole frames."""
    bundle = make_bundle(tmp_path_factory.mktemp("engine") / "bundle")
    return BundleEngine(bundle, RuntimeSettings(device="cpu", threads=1))


@pytest.fixture(scope="module")
def embedded() -> BundleEngine:
    """The engine that moves the portrait's own pixels."""
    return BundleEngine(find_bundle("embedded"), RuntimeSettings(device="cpu", threads=1))


def test_quicktime_keeps_transparency_and_is_signed(job: Job, official_like: BundleEngine) -> None:
    job = of(job, "out.mov")
    run_job(job, official_like, options=MARKED)
    frames = frames_of(job.output)
    assert len(frames) == 5
    assert frames[:, 4:36, 4:190, 3].max() <= 2
    assert np.abs(frames[:, 4:36, 310:500, 3].astype(int) - 128).max() <= 4
    assert frames[:, 60:, :, 3].min() >= 253
    verdict = verify(job.output)
    assert (verdict.is_good, verdict.is_own) == (True, True)


def test_webm_keeps_transparency_and_its_mark_beside_it(job: Job, official_like: BundleEngine) -> None:
    job = of(job, "out.webm")
    run_job(job, official_like, options=MARKED)
    frames = frames_of(job.output)
    assert frames[:, 4:36, 4:190, 3].max() <= 4
    assert frames[:, 60:, :, 3].min() >= 250
    verdict = verify(job.output)
    assert (verdict.is_good, verdict.is_own) == (True, True)
    assert run_job(job, official_like, options=MARKED).was_done
    content = job.output.read_bytes()
    job.output.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert not verify(job.output).is_good
    job.output.write_bytes(content)
    job.output.with_suffix(".c2pa").write_bytes(b"no mark")
    with pytest.raises(InputError, match="cannot be read"):
        verify(job.output)


def test_mark_of_another_file_is_not_replaced_and_an_old_one_is_removed(
    job: Job, official_like: BundleEngine
) -> None:
    job = of(job, "out.webm")
    mark = job.output.with_suffix(".c2pa")
    mark.write_bytes(b"mine")
    with pytest.raises(SettingsError, match=r"out\.c2pa' exists and is from another render"):
        run_job(job, official_like, options=MARKED)
    run_job(job, official_like, options=dataclasses.replace(MARKED, overwrite=True))
    assert mark.read_bytes() != b"mine"
    changed = dataclasses.replace(job, settings=dataclasses.replace(job.settings, seed=5))
    run_job(changed, official_like, options=RunOptions(overwrite=True))
    assert not mark.exists()


@pytest.mark.parametrize("framing", ["crop", "head-and-shoulders"])
def test_alpha_moves_with_the_picture_of_the_embedded_model(
    job: Job, embedded: BundleEngine, framing: str
) -> None:
    job = of(job, "out.webm", framing=framing, size=128, steps=1)
    portrait = embedded.portrait(job.portrait, job.settings)
    compositor = embedded.compositor(job.portrait, portrait, job.settings)
    at_rest = compositor.compose(compositor.at_rest)
    assert at_rest.shape == (1, 128, 128, 4)
    assert set(np.unique(at_rest[..., 3])) >= {0, 255}
    opaque = dataclasses.replace(job.settings, codec="libx264")
    plain = embedded.compositor(job.portrait, portrait, opaque).compose(compositor.at_rest)
    shown = at_rest[..., 3] == 255
    assert np.abs(at_rest[..., :3].astype(int) - plain)[shown].max() <= 1


def test_canvas_around_a_transparent_picture_is_clear(job: Job, official_like: BundleEngine) -> None:
    job = of(job, "out.mov", canvas="128x256", fit="pad")
    portrait = official_like.portrait(job.portrait, job.settings)
    compositor = official_like.compositor(job.portrait, portrait, job.settings)
    (frame,) = compositor.compose(compositor.at_rest)
    assert frame.shape == (256, 128, 4)
    assert set(np.unique(frame[-8:, :, 3])) == {0}
    assert frame[100:120, :, 3].min() == 255


def test_colours_lose_the_white_behind_them() -> None:
    alpha = np.array([255, 128, 64, 0], np.uint8)
    own = np.array([200.0, 60.0, 90.0])
    over = own * alpha[:, None] / 255 + 255 * (1 - alpha[:, None] / 255)
    frame = np.concatenate([over.round().astype(np.uint8), alpha[:, None]], axis=1)[None]
    found = without_background(frame)[0].astype(int)
    assert np.abs(found[:3, :3] - own).max() <= 4
    assert found[:, 3].tolist() == alpha.tolist()


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("out.mkv", {}, "must end in .mp4, or .webm or .mov"),
        ("out.webm", {"codec": "libx265"}, "libvpx-vp9 only"),
        ("out.mp4", {"codec": "prores_ks"}, "H.264 and H.265"),
        ("out.mov", {"canvas": "9:16", "fit": "blur"}, "blur is opaque"),
        ("out.mov", {"subtitles": "a.srt", "burn": True}, "--burn cannot draw"),
        ("out.webm", {"audio_codec": "aac"}, "always Opus"),
    ],
)
def test_what_a_container_cannot_hold_is_told(name: str, settings: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        fitting_container(RenderSettings(**settings), Path(name))  # type: ignore[arg-type]


def test_other_container_does_not_take_the_record_of_a_video(job: Job, official_like: BundleEngine) -> None:
    run_job(of(job, "out.mp4"), official_like)
    with pytest.raises(SettingsError, match=r"record of .*out\.mp4"):
        run_job(of(job, "out.mov"), official_like)
    assert json.loads(job.output.with_name("out.json").read_text())["output"]["path"].endswith("out.mp4")
