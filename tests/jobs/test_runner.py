import dataclasses
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from job_doubles import ShortOfMemory, TrivialEngine
from job_runs import N_CLIPS, N_FRAMES, Done, hashes, stop_after, work_dirs

from hallo_cli.domain import Clip, Portrait, StepDone
from hallo_cli.errors import (
    DeviceMemoryError,
    InputError,
    JobError,
    OutputError,
    PortraitError,
    SettingsError,
    SpeechError,
)
from hallo_cli.jobs import events
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.record import read_record
from hallo_cli.jobs.runner import RunOptions, run_job
from hallo_cli.media.audio import Recording
from hallo_cli.media.ffmpeg import find_ffmpeg
from hallo_cli.media.probe import probe
from hallo_cli.media.video import SegmentWriter
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.store.locks import locked


@pytest.mark.parametrize("what", ["portrait", "audio"])
def test_input_that_is_replaced_while_it_is_rendered_gives_no_video(job: Job, what: str) -> None:
    def replace(event: events.Event) -> None:
        if isinstance(event, events.StageStarted) and event.stage == "join":
            path = getattr(job, what)
            path.write_bytes(path.read_bytes() + b"\0\0")

    with pytest.raises(InputError, match="was replaced while it was being used"):
        run_job(job, TrivialEngine(), on_event=replace)
    assert not job.output.exists()
    assert not list(job.output.parent.glob(".hallo-*"))


@pytest.mark.parametrize("stage", ["render", "join"])
def test_subtitles_that_are_replaced_while_it_is_rendered_give_no_video(job: Job, stage: str) -> None:
    words = job.output.with_name("words.srt")
    words.write_text("1\n00:00:00,000 --> 00:00:01,000\nbefore\n", encoding="utf-8")
    job = dataclasses.replace(job, settings=dataclasses.replace(job.settings, subtitles=str(words)))

    def replace(event: events.Event) -> None:
        if isinstance(event, events.StageStarted) and event.stage == stage:
            words.write_text("1\n00:00:00,000 --> 00:00:01,000\nafter\n", encoding="utf-8")

    with pytest.raises(InputError, match=r"subtitles .* was replaced while it was being used"):
        run_job(job, TrivialEngine(), on_event=replace)
    assert not job.output.exists()


@pytest.mark.parametrize("moment", ["portrait", "decode"])
@pytest.mark.parametrize("what", ["portrait", "audio"])
def test_input_that_is_swapped_during_the_analysis_and_restored_after_a_kill_leaves_no_trace(
    job: Job, undisturbed: list[str], what: str, moment: str
) -> None:
    path = getattr(job, what)
    before = path.read_bytes()

    class Swapping(TrivialEngine):
        def swap(self) -> None:
            path.write_bytes(before[:100] + bytes(len(before) - 100))

        def portrait(self, path: Path, settings: RenderSettings) -> Portrait:
            if moment == "portrait":
                self.swap()
            return super().portrait(path, settings)

        def decode(self, audio: Path, target: Path, settings: RenderSettings) -> Recording:
            made = super().decode(audio, target, settings)
            if moment == "decode":
                self.swap()
            return made

    def kill(event: events.Event) -> None:
        if isinstance(event, events.ClipRendered):
            raise KeyboardInterrupt

    with pytest.raises((InputError, KeyboardInterrupt)):
        run_job(job, Swapping(), on_event=kill)
    path.write_bytes(before)
    run_job(job, TrivialEngine())
    assert hashes(job.output) == undisturbed


def test_job_gives_every_frame_and_the_sound(done: Job) -> None:
    info = probe(done.output)
    assert info.video is not None
    assert info.audio is not None
    assert info.video.n_frames == N_FRAMES
    assert info.audio.duration_s == pytest.approx(2.0, abs=0.04)


def test_finished_job_leaves_video_and_record_only(done_once: Done) -> None:
    assert sorted(os.listdir(done_once.job.output.parent)) == [
        "face.png",
        "out.json",
        "out.mp4",
        "speech.wav",
    ]


def test_work_dir_is_where_it_was_asked_for(job: Job, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    run_job(job, TrivialEngine(), options=RunOptions(work_dir=elsewhere, keep_work=True))
    assert len(list(elsewhere.iterdir())) == 1


def test_file_that_appears_meanwhile_is_not_replaced(job: Job, undisturbed: list[str]) -> None:
    def another(event: events.Event) -> None:
        if isinstance(event, events.StageStarted) and event.stage == "join":
            job.output.write_bytes(b"mine")

    with pytest.raises(SettingsError, match="exists and is from another render"):
        run_job(job, TrivialEngine(), on_event=another)
    assert job.output.read_bytes() == b"mine"
    job.output.unlink()
    engine = TrivialEngine()
    run_job(job, engine)
    assert engine.clips_rendered == []
    assert hashes(job.output) == undisturbed


def test_sound_that_cannot_be_copied_is_refused_before_anything_is_rendered(job: Job) -> None:
    engine = TrivialEngine()
    settings = dataclasses.replace(job.settings, audio_codec="copy")
    with pytest.raises(SettingsError, match="cannot be copied"):
        run_job(dataclasses.replace(job, settings=settings), engine)
    assert engine.clips_rendered == []


@pytest.mark.parametrize("field", ["portrait", "audio"])
def test_inputs_are_never_overwritten(job: Job, field: str) -> None:
    own = getattr(job, field).rename(job.output)
    before = own.read_bytes()
    with pytest.raises(SettingsError, match="is read by this render"):
        run_job(dataclasses.replace(job, **{field: own}), TrivialEngine(), options=RunOptions(overwrite=True))
    assert own.read_bytes() == before


def test_names_may_be_as_long_as_the_record_allows(job: Job) -> None:
    longest = dataclasses.replace(job, output=job.output.with_name("o" * 250 + ".mp4"))
    run_job(longest, TrivialEngine())
    assert longest.output.with_suffix(".json").is_file()


def test_name_too_long_for_the_record_is_refused_before_anything_is_done(job: Job) -> None:
    with pytest.raises(OutputError, match="shorter name"):
        run_job(dataclasses.replace(job, output=job.output.with_name("o" * 251 + ".mp4")), TrivialEngine())
    assert work_dirs(job) == []


def test_done_job_is_not_done_again(done: Job) -> None:
    engine = TrivialEngine()
    result = run_job(done, engine)
    assert result.was_done
    assert engine.clips_rendered == []


def test_overwrite_renders_again(done: Job) -> None:
    assert not run_job(done, TrivialEngine(), options=RunOptions(overwrite=True)).was_done


def test_strange_file_under_the_outputs_name_is_not_replaced(job: Job) -> None:
    job.output.write_text("precious")
    with pytest.raises(SettingsError, match="--overwrite"):
        run_job(job, TrivialEngine())
    assert job.output.read_text() == "precious"


def test_strange_file_under_the_records_name_is_not_replaced(job: Job) -> None:
    job.output.with_suffix(".json").write_text("precious")
    with pytest.raises(SettingsError, match="--overwrite"):
        run_job(job, TrivialEngine())


def test_record_without_its_video_does_not_stand_in_the_way(done: Job) -> None:
    done.output.unlink()
    assert not run_job(done, TrivialEngine()).was_done


def test_changed_video_is_not_taken_for_the_finished_one(done: Job) -> None:
    done.output.write_bytes(b"changed")
    with pytest.raises(SettingsError, match="--overwrite"):
        run_job(done, TrivialEngine())


def test_two_runs_of_one_job_do_not_meet(job: Job) -> None:
    stop_after(job, 5)
    with (
        locked(work_dirs(job)[0] / "lock", what="this job"),
        pytest.raises(JobError, match=f"process {os.getpid()}"),
    ):
        run_job(job, TrivialEngine())


def test_lock_left_behind_by_a_dead_process_does_not_matter(job: Job) -> None:
    stop_after(job, 5)
    (work_dirs(job)[0] / "lock").write_text("process 1 on elsewhere")
    run_job(job, TrivialEngine())
    assert job.output.exists()


def test_out_of_memory_takes_the_next_fallback_and_keeps_the_frames(job: Job, undisturbed: list[str]) -> None:
    happened: list[events.Event] = []
    run_job(
        job, TrivialEngine(fails=[MemoryError("full"), DeviceMemoryError("full")]), on_event=happened.append
    )
    fallbacks = [event.fallback for event in happened if isinstance(event, events.FellBack)]
    assert fallbacks == ["smaller chunks", "sliced attention"]
    assert hashes(job.output) == undisturbed


def test_out_of_memory_in_the_middle_of_a_segment_renders_no_earlier_clip_again(
    job: Job, undisturbed: list[str]
) -> None:
    engine = ShortOfMemory()
    run_job(job, engine)
    assert engine.clips_rendered == [*range(6), *range(5, N_CLIPS)]
    assert hashes(job.output) == undisturbed


def test_out_of_memory_while_loading_takes_the_next_fallback(
    job: Job, undisturbed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    full: list[BaseException] = [MemoryError()]
    monkeypatch.setattr(TrivialEngine, "load_networks", lambda self, settings: raise_next(full))
    run_job(job, TrivialEngine())
    assert hashes(job.output) == undisturbed
    assert not full


def raise_next(errors: list[BaseException]) -> None:
    if errors:
        raise errors.pop()


def test_lack_of_memory_outside_the_networks_is_told_as_such(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(self: SegmentWriter, frames: object) -> None:
        raise MemoryError

    monkeypatch.setattr(SegmentWriter, "write", write)
    with pytest.raises(DeviceMemoryError, match="the computer ran out of memory"):
        run_job(job, TrivialEngine())


def test_record_without_times_is_still_the_result(job: Job) -> None:
    run_job(job, TrivialEngine())
    sidecar = job.output.with_suffix(".json")
    values = json.loads(sidecar.read_bytes())
    del values["timings_s"]
    sidecar.write_text(json.dumps(values), encoding="utf-8")
    assert run_job(job, TrivialEngine()).was_done


def test_out_of_memory_after_every_fallback_is_an_error(job: Job) -> None:
    with pytest.raises(DeviceMemoryError, match="every fallback"):
        run_job(job, TrivialEngine(fails=[MemoryError("full")] * 3))


def test_other_failures_are_not_taken_for_lack_of_memory(job: Job) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        run_job(job, TrivialEngine(fails=[RuntimeError("broken")]))


def test_full_disk_is_an_error_that_keeps_the_work(
    job: Job, monkeypatch: pytest.MonkeyPatch, undisturbed: list[str]
) -> None:
    stop_after(job, 5)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="Free some space"):
        run_job(job, TrivialEngine())
    monkeypatch.undo()
    engine = TrivialEngine()
    run_job(job, engine)
    assert engine.clips_rendered[0] == 5
    assert hashes(job.output) == undisturbed


@pytest.mark.parametrize("name", ["nowhere/out.mp4", "out.avi", "out"])
def test_output_that_cannot_be_is_refused_before_anything_is_done(job: Job, name: str) -> None:
    engine = TrivialEngine()
    with pytest.raises((OutputError, SettingsError)):
        run_job(dataclasses.replace(job, output=job.output.parent / name), engine)
    assert work_dirs(job) == []


@pytest.mark.parametrize(("field", "error"), [("portrait", PortraitError), ("audio", SpeechError)])
def test_missing_input_is_named(job: Job, field: str, error: type[InputError]) -> None:
    missing = dataclasses.replace(job, **{field: job.output.parent / "gone"})
    with pytest.raises(error, match="gone"):
        run_job(missing, TrivialEngine())


def test_broken_recording_leaves_no_folder(job: Job) -> None:
    job.audio.write_bytes(b"no sound")
    with pytest.raises(SpeechError):
        run_job(job, TrivialEngine())
    assert work_dirs(job) == []


def test_input_that_vanishes_meanwhile_is_an_error_that_keeps_the_work(job: Job) -> None:
    kept = job.audio.with_name("kept.wav")
    shutil.copy(job.audio, kept)

    def vanish(event: events.Event) -> None:
        if isinstance(event, events.StepRendered) and event.clip == 10:
            job.audio.unlink(missing_ok=True)

    with pytest.raises(InputError):
        run_job(job, TrivialEngine(), on_event=vanish)
    shutil.copy(kept, job.audio)
    engine = TrivialEngine()
    run_job(job, engine)
    assert engine.clips_rendered == []


def test_record_describes_the_job(done_once: Done) -> None:
    job, result = done_once.job, done_once.result
    resolved = dataclasses.replace(job, settings=TrivialEngine().resolve_settings(job.settings))
    assert read_record(result.sidecar).job == resolved
    assert json.loads(result.sidecar.read_text())["output"]["sha256"] == result.sha256


@pytest.mark.parametrize(
    ("suffix", "mode", "codec"), [("wav", "aac", "aac"), ("mp3", "aac", "aac"), ("m4a", "copy", "aac")]
)
def test_record_says_how_the_sound_was_put_in(job: Job, suffix: str, mode: str, codec: str) -> None:
    audio = job.audio.with_name(f"sound.{suffix}")
    subprocess.run([find_ffmpeg(), "-loglevel", "error", "-i", job.audio, audio], check=True)
    result = run_job(dataclasses.replace(job, audio=audio), TrivialEngine())
    assert json.loads(result.sidecar.read_text())["output"]["sound"] == {"mode": mode, "codec": codec}


def test_events_are_one_json_line_each(done_once: Done) -> None:
    lines = [events.to_json(event) for event in done_once.events]
    kinds = [json.loads(line)["event"] for line in lines]
    assert kinds[0] == "stage_started"
    assert kinds[-1] == "finished"
    assert kinds.count("clip_rendered") >= N_CLIPS
    assert all(json.loads(line)["version"] == 1 for line in lines)


def test_speed_is_noted_without_what_the_first_clip_took_longer(job: Job) -> None:
    class SlowStart(TrivialEngine):
        def clips(self, *arguments: Any) -> Iterator[StepDone | Clip]:
            if not self.clips_rendered:
                time.sleep(0.6)
            yield from super().clips(*arguments)

    engine = SlowStart(clip_s=0.05)
    run_job(job, engine)
    assert 0.0125 < engine.seconds_per_frame < 0.1
