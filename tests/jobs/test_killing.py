"""Real processes, really killed."""

import json
import random
import signal
import time

import job_doubles
from forked import FORKED, Command, start_server
from job_doubles import run_here

from hallo_cli.jobs.plan import Job
from hallo_cli.media.probe import frame_hashes


def start(job: Job, *options: str, limit_bytes: int = 0) -> Command:
    """Begin the job in a process of its own and return once it has planned it."""
    paths = [str(path) for path in (job.portrait, job.audio, job.output)]
    process = Command(job_doubles.main, [*paths, *options], limit_bytes=limit_bytes)
    wait_for(process, "planned")
    return process


def wait_for(process: Command, event: str) -> dict[str, object]:
    for line in process.stdout:
        values: dict[str, object] = json.loads(line)
        if values["event"] == event:
            return values
    return {}


def kill_after(job: Job, stage: str, seconds: float) -> bool:
    """Run the job in a forked process and kill it outright; whether it had finished before."""
    start_server()
    reached = FORKED.Event()
    process = FORKED.Process(target=run_here, args=(job, stage, reached))
    process.start()
    assert reached.wait(60)
    time.sleep(seconds)
    process.kill()
    process.join()
    return process.exitcode == 0


def test_job_killed_at_twenty_moments_equals_undisturbed_one(job: Job, undisturbed: list[str]) -> None:
    rng = random.Random(20)
    moments = [(stage, rng.uniform(0.0, s)) for stage, s in [("render", 0.35)] * 12 + [("analyse", 0.2)] * 4]
    moments += [("join", rng.uniform(0.0, 0.15)) for _ in range(4)]
    rng.shuffle(moments)
    for stage, moment in moments:
        if kill_after(job, stage, moment):
            assert list(frame_hashes(job.output)) == undisturbed
            job.output.unlink()
        assert not job.output.exists() or list(frame_hashes(job.output)) == undisturbed
    status, said = start(job).finish()
    assert (status, said) == (0, "")
    assert list(frame_hashes(job.output)) == undisturbed


def test_killed_job_loses_no_finished_clip(job: Job) -> None:
    process = start(job, "--clip-s", "0.05")
    done = [wait_for(process, "clip_rendered")["frames_done"] for _ in range(6)][-1]
    process.kill()
    process.finish()
    process = start(job)
    resumed = wait_for(process, "clip_rendered")["frames_done"]
    process.finish()
    assert isinstance(resumed, int)
    assert isinstance(done, int)
    assert resumed >= done


def test_interrupts_finish_the_clip_and_say_how_to_go_on(job: Job, undisturbed: list[str]) -> None:
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = start(job, "--clip-s", "0.1")
        wait_for(process, "clip_rendered")
        process.send_signal(number)
        found, said = process.finish()
        assert found == status
        assert "the same command resumes" in said
        assert not job.output.exists()
    assert start(job).finish()[0] == 0
    assert list(frame_hashes(job.output)) == undisturbed


def test_file_that_may_not_grow_is_an_error_that_keeps_the_work(job: Job) -> None:
    process = start(job, "--segment-s", "30", limit_bytes=140_000)  # the sound fits, the spool does not
    status, said = process.finish()
    assert status == 1
    assert "finished work is kept" in said
    assert not job.output.exists()
    assert start(job, "--segment-s", "30").finish()[0] == 0
