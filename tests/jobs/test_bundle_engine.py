"""The real engine, with a tiny bundle of random weights."""

import dataclasses
import json
import pkgutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from job_runs import make_job
from scipy.io import wavfile
from small_bundles import make_bundle

from hallo_cli.errors import Interrupted, SettingsError, SpeechError, WeightsError
from hallo_cli.jobs import events
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.jobs.forecast import read_speeds
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import StopRequest, prepare_ahead, run_job
from hallo_cli.media.probe import frame_hashes, probe
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

FACE = Path(__file__).parent.parent.parent / "hallo_cli/assets/examples/portrait_astronaut.png"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> BundleEngine:
    bundle = make_bundle(tmp_path_factory.mktemp("engine") / "bundle")
    return BundleEngine(bundle, RuntimeSettings(device="cpu", threads=1, decode_behind="on"))


def shortened(job: Job, **settings: object) -> Job:
    """Ten frames of the job, of the example portrait: three clips of four in two segments."""
    values = {"duration_s": 0.4, "segment_s": 0.5, **settings}
    return dataclasses.replace(job, portrait=FACE, settings=RenderSettings(**values))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(engine: BundleEngine, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Frame hashes of the shortened job, rendered in one go."""
    job = shortened(make_job(tmp_path_factory.mktemp("whole")))
    run_job(job, engine)
    return list(frame_hashes(job.output))


def test_stopped_and_resumed_render_equals_uninterrupted_one(job: Job, engine: BundleEngine) -> None:
    job = shortened(job, duration_s=0.8)
    stop = StopRequest()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.ClipRendered) and event.frames_done == 8:
            stop.ask()

    with pytest.raises(Interrupted):
        run_job(job, engine, on_event=listen, stop=stop)
    run_job(job, engine)
    whole = dataclasses.replace(job, output=job.output.with_name("whole.mp4"))
    run_job(whole, engine)
    assert list(frame_hashes(job.output)) == list(frame_hashes(whole.output))


def test_speech_is_analysed_with_the_threads_of_the_settings(engine: BundleEngine) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert BundleEngine(engine.bundle, engine.runtime).encoder
        assert torch.get_num_threads() == engine.runtime.threads
    finally:
        torch.set_num_threads(before)


def test_each_input_is_hashed_and_decoded_once(
    job: Job, engine: BundleEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))
    face = tmp_path / "face-of-its-own.png"
    face.write_bytes(FACE.read_bytes())
    job = dataclasses.replace(shortened(job, seed=7, framing="full"), portrait=face)
    monkeypatch.setattr("hallo_cli.store.digests.FRESH_NS", 0)  # else a file as new is hashed each time
    own = BundleEngine(engine.bundle, engine.runtime)
    hashed = counted(monkeypatch, "hallo_cli.store.digests._read_through")
    seen = counted(monkeypatch, "hallo_cli.analysis.portrait.read_image")
    heard = counted(monkeypatch, "hallo_cli.media.audio.decode")
    run_job(job, own, prepared=prepare_ahead(job, own))  # as a worker of a batch does
    assert [hashed.count(path) for path in (face, job.audio)] == [1, 1]
    assert (seen, heard) == ([face], [job.audio])


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Path]:
    """The first arguments of all calls of a function, as they come."""
    calls: list[Path] = []
    work = pkgutil.resolve_name(name)

    def noted(path: Path, *arguments: object, **options: object) -> object:
        calls.append(path)
        return work(path, *arguments, **options)

    monkeypatch.setattr(name, noted)
    return calls


def test_settings_that_separate_the_voice_ask_for_the_network_at_once(
    engine: BundleEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALLO_MODELS", str(tmp_path / "nothing"))
    with pytest.raises(WeightsError, match=r"hallo models pull.*--no-separate-vocals"):
        engine.resolve_settings(RenderSettings(separate_vocals=True))


QUIET = np.zeros(6400, np.float32)
LOUD = np.sin(np.arange(6400) / 20).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "n_frames"),
    [
        (QUIET, 10),
        (QUIET[:640], 1),
        (QUIET[:1], 1),
        (np.sign(LOUD), 10),
        (np.where(np.arange(6400) % 100 == 0, np.nan, LOUD).astype(np.float32), 10),
        (np.concatenate([QUIET, LOUD, QUIET]), 30),
    ],
    ids=["silence", "40 ms", "one sample", "clipped", "NaN samples", "silent ends"],
)
def test_odd_recordings_are_rendered_whole(
    job: Job, engine: BundleEngine, samples: np.ndarray, n_frames: int
) -> None:
    wavfile.write(job.audio, 16_000, samples)
    run_job(shortened(job, duration_s=None), engine)
    info = probe(job.output)
    assert info.video is not None
    assert info.audio is not None
    assert info.video.n_frames == n_frames
    assert info.audio.duration_s == pytest.approx(n_frames / 25, abs=0.04)


def test_recording_without_samples_is_refused(job: Job, engine: BundleEngine) -> None:
    wavfile.write(job.audio, 16_000, np.zeros(0, np.int16))
    with pytest.raises(SpeechError, match="holds no sound"):
        run_job(shortened(job, duration_s=None), engine)


def test_clips_that_overlap_give_the_same_video(job: Job, engine: BundleEngine, whole: list[str]) -> None:
    one_by_one = BundleEngine(engine.bundle, dataclasses.replace(engine.runtime, decode_behind="off"))
    run_job(shortened(job), one_by_one)
    assert [s._animator.execution.overlaps for s in (engine, one_by_one)] == [True, False]  # type: ignore[union-attr]
    assert list(frame_hashes(job.output)) == whole


def test_failure_of_the_listener_leaves_work_that_can_be_gone_on_with(
    job: Job, engine: BundleEngine, whole: list[str]
) -> None:
    job = shortened(job)

    def fail(event: events.Event) -> None:
        if isinstance(event, events.ClipRendered) and event.frames_done == 4:
            raise KeyError("listener")

    before = set(threading.enumerate())
    with pytest.raises(KeyError):
        run_job(job, engine, on_event=fail)
    begun = [thread for thread in threading.enumerate() if thread.name == "ahead" and thread not in before]
    assert len(begun) <= len(engine._animator.threads._idle)  # type: ignore[union-attr] # none is at work
    run_job(job, engine)
    assert list(frame_hashes(job.output)) == whole


def test_full_framing_gives_the_whole_picture(job: Job, engine: BundleEngine) -> None:
    run_job(shortened(job, duration_s=0.1, framing="full"), engine)
    info = probe(job.output).video
    assert info is not None
    assert (info.width, info.height) == (512, 512)


def test_broadcast_rate_covers_the_recording(job: Job, engine: BundleEngine) -> None:
    run_job(shortened(job, duration_s=0.2, fps=29.97), engine)
    info = probe(job.output).video
    assert info is not None
    assert (info.n_frames, float(info.fps)) == (6, pytest.approx(29.97, abs=1e-3))


def test_clips_are_as_long_as_the_settings_say(job: Job, engine: BundleEngine) -> None:
    job = shortened(job, clip_frames=3)
    rendered = []
    run_job(job, engine, on_event=rendered.append)
    clips = [event.frames_done for event in rendered if isinstance(event, events.ClipRendered)]
    assert clips == [3, 6, 9, 10]
    assert json.loads(job.output.with_suffix(".json").read_text())["output"]["clip_frames"] == 3


def test_clip_longer_than_the_known_positions_is_refused(engine: BundleEngine) -> None:
    assert engine.resolve_settings(RenderSettings(clip_frames=30)).clip_frames == 30
    with pytest.raises(SettingsError, match="--clip-frames 31: these weights know 30"):
        engine.resolve_settings(RenderSettings(clip_frames=31))


def test_resolved_settings_leave_nothing_to_choose(engine: BundleEngine) -> None:
    resolved = engine.resolve_settings(RenderSettings())
    assert (resolved.steps, resolved.guidance, resolved.solver, resolved.size) == (2, 1.0, "ddim", 512)
    assert (resolved.dtype != "auto", resolved.clip_frames) == (True, 4)


def test_pictures_that_are_moved_are_shown_at_any_size(engine: BundleEngine) -> None:
    portrait = engine.portrait(FACE, RenderSettings(size=200))
    assert portrait.pixels.shape == (64, 64, 3)
    assert engine.compositor(FACE, portrait, RenderSettings(size=200)).size == (200, 200)


def test_pictures_that_are_moved_cannot_be_squeezed(engine: BundleEngine) -> None:
    with pytest.raises(SettingsError, match="--framing full"):
        engine.resolve_settings(RenderSettings(framing="whole"))


@pytest.fixture
def speeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("speeds")
def test_render_leaves_its_speed(job: Job, engine: BundleEngine) -> None:
    run_job(shortened(job, duration_s=0.64), engine)
    ((workload, seconds_per_frame),) = read_speeds().items()
    assert workload == engine.workload_of(engine.resolve_settings(job.settings))
    assert seconds_per_frame > 0


def test_fallbacks_change_the_runtime_and_end(tmp_path: Path) -> None:
    engine = BundleEngine(make_bundle(tmp_path / "bundle"), RuntimeSettings())
    taken = [engine.fall_back() for _ in range(5)]
    assert taken[-1] is None
    assert engine.runtime.offload
