import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from certificates import make_certificate
from job_doubles import TrivialEngine

from hallo_cli.errors import InputError, Interrupted, OutputError, SettingsError
from hallo_cli.jobs import events, runner
from hallo_cli.jobs.marking import Marking
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import RunOptions, StopRequest, run_job
from hallo_cli.jobs.verification import count_differences, verify
from hallo_cli.media.probe import frame_hashes, open_media
from hallo_cli.provenance.certificates import read_anchors

MARKED = RunOptions(marking=Marking(is_wanted=True))


def test_finished_video_is_marked_whole_and_as_its_record_says(job: Job) -> None:
    run_job(job, TrivialEngine(), options=MARKED)
    verdict = verify(job.output)
    assert verdict.mark is not None
    assert (verdict.is_good, verdict.is_own, verdict.differences) == (True, True, ())
    assert verdict.mark.claim is not None
    assert verdict.mark.claim.weights == "trivial"


def test_marking_changes_no_frame(job: Job, undisturbed: list[str]) -> None:
    run_job(job, TrivialEngine(), options=MARKED)
    assert list(frame_hashes(job.output)) == undisturbed


def test_marked_job_resumes(job: Job, undisturbed: list[str]) -> None:
    stop = StopRequest()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.StepRendered) and event.clip == 5:
            stop.ask()

    with pytest.raises(Interrupted):
        run_job(job, TrivialEngine(), options=MARKED, on_event=listen, stop=stop)
    run_job(job, TrivialEngine(), options=MARKED)
    assert list(frame_hashes(job.output)) == undisturbed
    assert verify(job.output).is_good


def test_finished_job_is_not_done_again_for_its_mark(job: Job) -> None:
    run_job(job, TrivialEngine(), options=MARKED)
    assert run_job(job, TrivialEngine(), options=MARKED).was_done


def test_mark_holds_no_path_and_no_name(job: Job) -> None:
    run_job(job, TrivialEngine(), options=MARKED)
    content = job.output.read_bytes()
    assert str(job.output.parent).encode() not in content
    assert b"speech.wav" not in content
    assert b"face.png" not in content


def test_plain_metadata_says_it_too(job: Job) -> None:
    run_job(job, TrivialEngine(), options=MARKED)
    with open_media(job.output) as container:
        assert "trainedAlgorithmicMedia" in container.metadata["comment"]


def test_unmarked_video_is_told(job: Job) -> None:
    run_job(job, TrivialEngine())
    verdict = verify(job.output)
    assert (verdict.mark, verdict.is_good, verdict.differences) == (None, False, ())
    with open_media(job.output) as container:
        assert "comment" not in container.metadata


def test_changed_byte_is_told(job: Job) -> None:
    run_job(job, TrivialEngine(), options=MARKED)
    content = bytearray(job.output.read_bytes())
    content[-100] ^= 1
    job.output.write_bytes(content)
    verdict = verify(job.output)
    assert verdict.mark is not None
    assert not verdict.mark.is_whole
    assert verdict.differences == ("the video file",)
    assert not verdict.is_good


def test_record_of_another_recording_is_told(job: Job) -> None:
    run_job(job, TrivialEngine(), options=MARKED)
    record = job.output.with_suffix(".json")
    values = json.loads(record.read_text())
    values["audio"]["sha256"] = "0" * 64
    record.write_text(json.dumps(values))
    assert verify(job.output).differences == ("the recording",)


def test_video_without_its_record_may_be_good(job: Job, tmp_path: Path) -> None:
    run_job(job, TrivialEngine(), options=MARKED)
    alone = shutil.copy(job.output, tmp_path / "alone.mp4")
    verdict = verify(Path(alone))
    assert (verdict.record, verdict.is_good) == (None, True)


def test_users_certificate_signs_and_is_trusted_when_named(job: Job, tmp_path: Path) -> None:
    mine = make_certificate(tmp_path / "mine.pem")
    run_job(job, TrivialEngine(), options=RunOptions(marking=Marking(True, mine)))
    stranger, friend = verify(job.output), verify(job.output, read_anchors(mine))
    assert stranger.mark is not None
    assert friend.mark is not None
    assert (stranger.mark.is_trusted, friend.mark.is_trusted, friend.is_own) == (False, True, False)
    assert friend.mark.signer == "Example Films"


def test_certificate_that_cannot_sign_is_told_before_rendering(job: Job, tmp_path: Path) -> None:
    web = make_certificate(tmp_path / "web.pem", is_for_signing=False)
    engine = TrivialEngine()
    with pytest.raises(SettingsError, match="cannot sign videos"):
        run_job(job, engine, options=RunOptions(marking=Marking(True, web)))
    assert engine.clips_rendered == []


def test_failed_signing_keeps_the_work_and_shows_nothing(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OutputError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("hallo_cli.provenance.marks.sign_video", fail)
        with pytest.raises(OutputError):
            run_job(job, TrivialEngine(), options=MARKED)
    assert not job.output.exists()
    engine = TrivialEngine()
    run_job(job, engine, options=MARKED)
    assert engine.clips_rendered == []


def test_differing_frames_are_counted(job: Job) -> None:
    run_job(job, TrivialEngine())
    other = dataclasses.replace(
        job, output=job.output.with_name("b.mp4"), settings=dataclasses.replace(job.settings, seed=1)
    )
    runner.run_job(other, TrivialEngine())
    assert count_differences(job.output, job.output) == (50, 0)
    assert count_differences(job.output, other.output) == (50, 50)


def test_missing_video_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        verify(tmp_path / "gone.mp4")
