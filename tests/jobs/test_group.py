import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
from group_doubles import Faces
from PIL import Image
from scipy.io import wavfile

from hallo_cli.analysis.sight import missing_face
from hallo_cli.domain import Bytes
from hallo_cli.errors import InputError, Interrupted, PortraitError, SettingsError
from hallo_cli.jobs import events
from hallo_cli.jobs.compositor import Compositor
from hallo_cli.jobs.group import GroupEngine, joint_compositor
from hallo_cli.jobs.plan import Job, Voice
from hallo_cli.jobs.record import read_record, require_same_inputs, sidecar_path
from hallo_cli.jobs.runner import StopRequest, run_job
from hallo_cli.media.composing import mixed
from hallo_cli.media.probe import frame_hashes
from hallo_cli.media.video import read_frames
from hallo_cli.settings.schema import RenderSettings

RATE = 16_000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def group(tmp_path: Path) -> Job:
    """The left face speaks for one second, the right one for two."""
    Image.new("RGB", (32, 32), "grey").save(tmp_path / "group.png")
    rng = np.random.default_rng(0)
    for name, seconds in (("a", 1), ("b", 2)):
        wavfile.write(tmp_path / f"{name}.wav", RATE, rng.normal(0, 3000, RATE * seconds).astype(np.int16))
    voices = (Voice(1, tmp_path / "a.wav"), Voice(2, tmp_path / "b.wav"))
    sound = mixed([voice.audio for voice in voices])
    settings = RenderSettings(segment_s=0.5, crf=0)
    return Job(tmp_path / "group.png", sound, tmp_path / "out.mp4", settings, voices=voices)


def render(job: Job, **watched: object) -> list[str]:
    run_job(job, GroupEngine(Faces(), job.voices), **watched)
    return list(frame_hashes(job.output))


def regions(frame: Bytes) -> tuple[int, int]:
    """How bright the left and the right face are."""
    return int(frame[16, 4].mean()), int(frame[16, 24].mean())


def test_each_face_speaks_its_own_recording_and_the_longest_decides_the_length(group: Job) -> None:
    assert len(render(group)) == 50
    seen = [regions(frame) for frame in read_frames(group.output)]
    assert all(left > 30 and right > 30 for left, right in seen[:24])
    assert all(left < 10 and right > 30 for left, right in seen[26:])


def test_stopped_and_resumed_group_equals_the_undisturbed_one(group: Job) -> None:
    whole = render(dataclasses.replace(group, output=group.output.with_name("whole.mp4")))
    stop = StopRequest()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.ClipRendered) and event.frames_done > 20:
            stop.ask()

    with pytest.raises(Interrupted):
        render(group, on_event=listen, stop=stop)
    assert render(group) == whole


def test_record_repeats_the_group_and_notices_another_recording(group: Job) -> None:
    whole = render(group)
    made = read_record(sidecar_path(group.output))
    assert made.job.voices == group.voices
    assert render(dataclasses.replace(made.job, output=group.output.with_name("again.mp4"))) == whole
    wavfile.write(group.voices[1].audio, RATE, np.ones(RATE, np.int16))
    with pytest.raises(InputError, match="a face's recording has changed"):
        require_same_inputs(made, made.job)


def test_warnings_name_the_face(group: Job) -> None:
    said: list[str] = []
    render(group, on_event=lambda event: said.append(getattr(event, "message", "")))
    assert "face 2: old" in said


def test_face_that_is_not_there_is_told(group: Job) -> None:
    job = dataclasses.replace(group, voices=(group.voices[0], Voice(4, group.voices[1].audio)))
    with pytest.raises(PortraitError, match=r"--face 4: there is no face 4 in .*group.png"):
        render(job)


def test_missing_face_can_be_told_by_another_process(tmp_path: Path) -> None:
    error = pickle.loads(pickle.dumps(missing_face(2, tmp_path / "a.png", [])))
    assert "there is no face 3 in" in error.counted_from_1


def test_faces_that_overlap_are_refused(group: Job) -> None:
    with pytest.raises(PortraitError, match="faces 1 and 2 overlap"):
        run_job(group, GroupEngine(Faces(space=5), group.voices))


def test_canvas_is_refused(group: Job) -> None:
    settings = dataclasses.replace(group.settings, canvas="9:16")
    with pytest.raises(SettingsError, match="leave --canvas out"):
        render(dataclasses.replace(group, settings=settings))


def painter(length: int) -> Compositor:
    """Fills the picture with the mean of a frame of its own length."""

    def compose(frames: Bytes) -> Bytes:
        assert frames.shape[1:] == (length,)
        return np.repeat(frames.mean(1).astype(np.uint8), 48).reshape(-1, 4, 4, 3)

    return Compositor((4, 4), (length,), np.zeros((1, length), np.uint8), None, compose)


def test_faces_whose_frames_have_other_lengths_share_a_picture() -> None:
    halves = np.zeros((2, 4, 4), np.float32)
    halves[0, :, :2], halves[1, :, 2:] = 1, 1
    group = joint_compositor([painter(5), painter(3)], halves)
    assert group.frame_shape == (8,)
    assert group.at_rest.shape == (1, 8)
    frame = group.compose(np.array([[10] * 5 + [90] * 3], np.uint8))[0]
    assert (frame[:, :2] == 10).all()
    assert (frame[:, 2:] == 90).all()
