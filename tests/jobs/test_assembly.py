import dataclasses
import json
from pathlib import Path

import av
import pytest
from job_doubles import TrivialEngine

from hallo_cli.errors import InputError, SettingsError
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import RunOptions, run_job
from hallo_cli.media.joining import Sound
from hallo_cli.media.levelling import loudness_and_peak
from hallo_cli.media.probe import frame_hashes

SRT = "1\n00:00:00,000 --> 00:00:01,500\nGood morning\n"


def with_settings(job: Job, **changes: object) -> Job:
    return dataclasses.replace(job, settings=dataclasses.replace(job.settings, **changes))  # type: ignore[arg-type]


def test_video_has_the_loudness_that_was_asked_for(job: Job, undisturbed: list[str]) -> None:
    run_job(with_settings(job, loudness=-23.0), TrivialEngine())
    assert loudness_and_peak(Sound(job.output))[0] == pytest.approx(-23, abs=1)
    assert list(frame_hashes(job.output)) == undisturbed


def test_loudness_and_copying_exclude_each_other(job: Job) -> None:
    with pytest.raises(SettingsError, match="leave one of them out"):
        run_job(with_settings(job, loudness=-16.0, audio_codec="copy"), TrivialEngine())


def test_subtitles_become_a_track(job: Job, undisturbed: list[str]) -> None:
    words = job.output.with_name("words.srt")
    words.write_text(SRT)
    run_job(with_settings(job, subtitles=str(words)), TrivialEngine())
    with av.open(str(job.output)) as container:
        assert len(container.streams.subtitles) == 1
        assert len(container.streams.audio) == 1
    assert list(frame_hashes(job.output)) == undisturbed


def test_burned_subtitles_are_drawn_into_the_segments_that_have_them(
    job: Job, undisturbed: list[str]
) -> None:
    words = job.output.with_name("it's [my], words.srt")
    words.write_text("1\n00:00:00,600 --> 00:00:00,900\nGood morning\n")
    wanted = with_settings(job, subtitles=str(words), burn=True)
    run_job(wanted, TrivialEngine())
    with av.open(str(job.output)) as container:
        assert not container.streams.subtitles
    drawn = list(frame_hashes(job.output))
    segments = json.loads(job.output.with_suffix(".json").read_text())["output"]["segment_starts"]
    first, second = segments[1:3]
    changed = {n for n, (one, other) in enumerate(zip(drawn, undisturbed, strict=True)) if one != other}
    assert {15, 20, 22} <= changed
    assert changed <= {*range(first, second)}


def test_burning_renders_no_frame_again(job: Job) -> None:
    words = job.output.with_name("words.srt")
    words.write_text(SRT)
    run_job(with_settings(job, subtitles=str(words)), TrivialEngine(), options=RunOptions(keep_work=True))
    engine = TrivialEngine()
    burned = with_settings(job, subtitles=str(words), burn=True)
    assert not run_job(burned, engine, options=RunOptions(overwrite=True)).was_done
    assert engine.clips_rendered == []


def test_missing_subtitles_are_told_before_rendering(job: Job, tmp_path: Path) -> None:
    engine = TrivialEngine()
    with pytest.raises(InputError, match="subtitles"):
        run_job(with_settings(job, subtitles=str(tmp_path / "gone.srt")), engine)
    assert engine.clips_rendered == []


def test_other_words_make_another_video_of_the_same_pictures(job: Job) -> None:
    words = job.output.with_name("words.srt")
    words.write_text(SRT)
    wanted = with_settings(job, subtitles=str(words))
    run_job(wanted, TrivialEngine(), options=RunOptions(keep_work=True))
    words.write_text(SRT.replace("morning", "evening"))
    engine = TrivialEngine()
    result = run_job(wanted, engine, options=RunOptions(overwrite=True))
    assert not result.was_done
    assert engine.clips_rendered == []
    assert b"Good evening" in job.output.read_bytes()
