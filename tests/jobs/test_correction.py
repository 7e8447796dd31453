import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from job_doubles import CLIP_FRAMES, TrivialEngine
from PIL import Image
from scipy.io import wavfile

from hallo_cli.analysis.loudness import Waveform
from hallo_cli.domain import Clip, MotionFrames, Portrait, Speech, StepDone
from hallo_cli.errors import InputError, Interrupted, SettingsError
from hallo_cli.jobs import events
from hallo_cli.jobs.correction import corrected, difference, shared, shrunk
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.record import JobResult, read_record, sidecar_path
from hallo_cli.jobs.runner import RunOptions, StopRequest, run_job
from hallo_cli.media.probe import frame_hashes
from hallo_cli.settings.schema import RenderSettings

Samples = npt.NDArray[np.int16]

RATE = 16_000
N_FRAMES = 300  # 12 s
CALM_S = 30


def speech(seconds: float, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).normal(0, 3000, round(RATE * seconds)).astype(np.int16)


def rendered(folder: Path, samples: Samples, engine: TrivialEngine) -> Job:
    """A rendered job whose work was kept."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / "face.png")
    wavfile.write(folder / "speech.wav", RATE, samples)
    run_job(job_in(folder), engine, options=RunOptions(keep_work=True))
    return job_in(folder)


def job_in(folder: Path) -> Job:
    """As its record has it."""
    settings = RenderSettings(segment_s=5.0, clip_frames=CLIP_FRAMES)
    return Job(folder / "face.png", folder / "speech.wav", folder / "old.mp4", settings)


@pytest.fixture(scope="module")
def rendered_once(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return rendered(tmp_path_factory.mktemp("first"), speech(12), TrivialEngine())


@pytest.fixture
def first(rendered_once: Job, tmp_path: Path) -> Job:
    """A rendered job whose work was kept."""
    return job_in(shutil.copytree(rendered_once.output.parent, tmp_path, dirs_exist_ok=True))


def correct(
    first: Job, samples: Samples, engine: TrivialEngine, *, output: str = "new.mp4", **watched: Any
) -> JobResult:
    video = first.output.with_name(output)
    audio = video.with_suffix(".wav")
    wavfile.write(audio, RATE, samples)
    known = read_record(sidecar_path(first.output))
    job, earlier = corrected(known, Job(first.portrait, audio, video, first.settings), video.parent)
    return run_job(job, engine, options=RunOptions(earlier=earlier, keep_work=True), **watched)


def test_frames_before_the_correction_stay_bit_for_bit(first: Job) -> None:
    samples = speech(12)
    samples[8 * RATE :] = speech(4, seed=1)
    engine = TrivialEngine()
    result = correct(first, samples, engine)
    old, new = (list(frame_hashes(file)) for file in (first.output, result.output))
    assert result.n_taken == 168  # whole clips in 8 s less 1.2 s
    assert new[:168] == old[:168]
    assert len(new) == N_FRAMES
    assert min(engine.clips_rendered) == 168 // 4


def test_sounds_that_differ_by_less_than_speech_are_the_same() -> None:
    sound = speech(4).astype(np.float32) / 32768
    other = sound + np.float32(1e-4)
    other[RATE : RATE + 800] = 0
    assert shared(Waveform(sound), Waveform(other)) == (RATE, 3 * RATE - 960)  # in blocks of 20 ms


def test_sounds_of_other_lengths_share_their_ends() -> None:
    sound = speech(4).astype(np.float32)
    longer = np.insert(sound, 2 * RATE, speech(1, seed=1).astype(np.float32))
    start, end = shared(Waveform(sound), Waveform(longer))
    assert start == 2 * RATE
    assert end == 2 * RATE


class CalmEngine(TrivialEngine):
    """Its frames show how loud the speech is, whatever came before: they come back after a correction."""

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Iterator[StepDone | Clip]:
        for start in range(0, speech.n_frames, self.clip_frames):
            index = (speech.first_frame + start) // self.clip_frames
            self.clips_rendered.append(index)
            heard = speech.features[start + 2 : start + 2 + self.clip_frames, 0, 0]
            frames = np.repeat(np.clip(heard * 400, 0, 255), 32 * 32 * 3).reshape(-1, 32, 32, 3)
            yield Clip(index, frames.astype(np.uint8), MotionFrames(frames[-2:].astype(np.float32)))


def murmur(seconds: float) -> Samples:
    """Speech whose loudness rises and falls every 0.8 s."""
    return (speech(seconds) * (1 + np.sin(np.arange(round(RATE * seconds)) / RATE * 7.85))).astype(np.int16)


@pytest.fixture(scope="module")
def calm_once(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return rendered(tmp_path_factory.mktemp("calm"), murmur(CALM_S), CalmEngine())


@pytest.fixture
def calm(calm_once: Job, tmp_path: Path) -> Job:
    """A job that was rendered with `CalmEngine`, whose work was kept."""
    return job_in(shutil.copytree(calm_once.output.parent, tmp_path, dirs_exist_ok=True))


def with_other_second(n_added: int = 0) -> Samples:
    """The speech of the calm job with another eleventh second, which is that many samples longer."""
    samples = murmur(CALM_S)
    return np.concatenate([samples[: 10 * RATE], speech(1 + n_added / RATE, seed=1), samples[11 * RATE :]])


@dataclasses.dataclass(frozen=True)
class Corrected:
    """The calm job, its correction in the same folder, and the engine that rendered that."""

    calm: Job
    result: JobResult
    engine: CalmEngine


@pytest.fixture(scope="module")
def calm_corrected(calm_once: Job, tmp_path_factory: pytest.TempPathFactory) -> Corrected:
    folder = tmp_path_factory.mktemp("corrected")
    calm = job_in(shutil.copytree(calm_once.output.parent, folder, dirs_exist_ok=True))
    engine = CalmEngine()
    return Corrected(calm, correct(calm, with_other_second(), engine), engine)


def test_rest_that_is_as_before_is_joined_again(calm_corrected: Corrected) -> None:
    expect_rest_joined_again(calm_corrected)


@pytest.mark.parametrize("n_added", [8000, 5000, -6400])
def test_rest_that_is_only_shifted_is_joined_again(calm: Job, n_added: int) -> None:
    engine = CalmEngine()
    expect_rest_joined_again(Corrected(calm, correct(calm, with_other_second(n_added), engine), engine))


def expect_rest_joined_again(made: Corrected) -> None:
    result = made.result
    old, new = (list(frame_hashes(file)) for file in (made.calm.output, result.output))
    assert len(new) == result.n_frames
    assert new[:220] == old[:220]
    assert new[-300:] == old[-300:]
    assert result.n_frames - result.n_taken < 8 * 25
    assert max(made.engine.clips_rendered) < 18 * 25 / 4


def test_noise_of_the_encoder_keeps_no_picture_from_coming_back() -> None:
    rng = np.random.default_rng(0)
    wave = np.repeat(np.arange(0, 240, 60, dtype=np.uint8), 128)
    one, other = (
        shrunk(np.clip(wave.reshape(1, 512, 1) + rng.normal(0, 4, (512, 512, 3)), 0, 255).astype(np.uint8))
        for _ in range(2)
    )
    assert one.shape == (64, 64, 3)
    assert difference(one, other) < 1  # 4.5 before


def test_rest_is_rendered_where_the_pictures_do_not_come_back(first: Job) -> None:
    samples = np.insert(speech(12), RATE * 4, speech(0.32, seed=1))  # other clips have other noise
    engine = TrivialEngine()
    assert correct(first, samples, engine).n_taken == 68
    assert max(engine.clips_rendered) == N_FRAMES // 4 + 1


def test_correction_can_itself_be_corrected(calm_corrected: Corrected, tmp_path: Path) -> None:
    calm = job_in(shutil.copytree(calm_corrected.calm.output.parent, tmp_path, dirs_exist_ok=True))
    again = Job(calm.portrait, calm.audio, calm.output.with_name("new.mp4"), calm.settings)
    samples = with_other_second()
    samples[20 * RATE : 21 * RATE] = speech(1, seed=2)
    old = list(frame_hashes(again.output))
    result = correct(again, samples, CalmEngine(), output="newer.mp4")
    new = list(frame_hashes(result.output))
    assert new[:470] == old[:470]
    assert result.n_frames - result.n_taken < 8 * 25


def test_stopped_correction_resumes_to_the_same_frames(calm: Job, calm_corrected: Corrected) -> None:
    samples = with_other_second()
    whole = list(frame_hashes(calm_corrected.result.output))
    stop = StopRequest()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.ClipRendered) and event.frames_done > 260:
            stop.ask()

    with pytest.raises(Interrupted):
        correct(calm, samples, CalmEngine(), output="other.mp4", stop=stop, on_event=listen)
    result = correct(calm, samples, CalmEngine(), output="other.mp4")
    assert list(frame_hashes(result.output)) == whole


def test_without_kept_work_everything_is_rendered_and_a_warning_says_so(
    first: Job, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in first.output.parent.glob(".hallo-*"):
        shutil.rmtree(folder)
    result = correct(first, speech(6), TrivialEngine())
    assert result.n_taken == 0
    assert "everything is rendered again" in caplog.text


def test_recording_that_is_the_same_repeats_the_render(first: Job) -> None:
    result = correct(first, speech(12), TrivialEngine())
    assert list(frame_hashes(result.output)) == list(frame_hashes(first.output))
    assert read_record(result.sidecar).job.corrects == ""


def test_other_settings_are_refused(first: Job) -> None:
    job = dataclasses.replace(first, settings=dataclasses.replace(first.settings, crf=30))
    wavfile.write(first.audio, RATE, speech(6))
    with pytest.raises(SettingsError, match="keeps the record's settings"):
        corrected(read_record(sidecar_path(first.output)), job, first.output.parent)


def test_record_of_a_corrected_video_is_not_repeated_without_the_earlier_one(first: Job) -> None:
    result = correct(first, speech(13), TrivialEngine())
    made = read_record(result.sidecar)
    with pytest.raises(InputError, match="frames of an earlier render"):
        run_job(dataclasses.replace(made.job, output=first.output.with_name("again.mp4")), TrivialEngine())
