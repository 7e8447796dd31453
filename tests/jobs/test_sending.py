"""Renders whose video goes to an address."""

from pathlib import Path

import pytest
from far_store import Store, storing  # noqa: F401
from file_server import Server, serving  # noqa: F401
from job_doubles import TrivialEngine

from hallo_cli.errors import FarFolderError, SettingsError
from hallo_cli.jobs import events
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.record import JobResult
from hallo_cli.jobs.runner import RunOptions, run_job
from hallo_cli.jobs.sending import Sending, place_of

SECRET = "X-Signature=abc123"


def run(job: Job, *, overwrite: bool = False, seen: list[events.Event] | None = None) -> JobResult:
    address = f"s3://bucket/week/{job.output.name}"
    options = RunOptions(overwrite=overwrite, sending=Sending(address))
    listen = events.ignore if seen is None else seen.append
    return run_job(job, TrivialEngine(), options=options, on_event=listen)


def test_video_and_record_go_into_the_store(store: Store, job: Job) -> None:
    seen: list[events.Event] = []
    made = run(job, seen=seen)
    assert store.names == {made.output.name, made.sidecar.name}
    assert store.files.cat(f"/bucket/week/{made.output.name}") == made.output.read_bytes()
    assert isinstance(seen[-1], events.Finished)
    assert events.StageStarted("send") in seen


def test_refused_upload_keeps_the_video_which_is_not_rendered_again(store: Store, job: Job) -> None:
    store.refusal = OSError("QuotaExceeded")
    with pytest.raises(FarFolderError, match="cannot be written: QuotaExceeded"):
        run(job)
    assert store.names == set()
    store.refusal = None
    assert run(job).was_done
    assert job.output.name in store.names


def test_other_video_in_the_store_is_replaced_only_with_overwrite(store: Store, job: Job) -> None:
    store.files.pipe(f"/bucket/week/{job.output.name}", b"another")
    with pytest.raises(SettingsError, match="exists already; add --overwrite"):
        run(job)
    assert not job.output.exists()
    assert run(job, overwrite=True).sha256
    assert store.files.info(f"/bucket/week/{job.output.name}")["size"] == job.output.stat().st_size


def test_finished_video_does_not_replace_another_in_the_store(store: Store, job: Job) -> None:
    run_job(job, TrivialEngine())
    store.files.pipe(f"/bucket/week/{job.output.name}", b"another")
    with pytest.raises(SettingsError, match="exists already"):
        run(job)


def test_video_is_put_to_a_web_address(server: Server, job: Job) -> None:
    options = RunOptions(sending=Sending(server.address(f"/up/a.mp4?{SECRET}")))
    run_job(job, TrivialEngine(), options=options)
    assert server.files["/up/a.mp4"] == job.output.read_bytes()
    assert "abc123" not in str(options.sending)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("sftp://host/a.mp4", "the output 'sftp://host/a.mp4': videos go to s3, gs"),
        ("foo://host/a.mp4", "the output 'foo://host/a.mp4': videos go to s3, gs"),
        ("https://ann:secret@host/a.mp4", "the output 'https://host/a.mp4' has a password in it"),
    ],
)
def test_address_that_takes_no_videos_is_refused(address: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"^{said}") as caught:
        place_of(address)
    assert "secret" not in str(caught.value)


def test_video_is_rendered_under_the_name_of_its_address() -> None:
    near, sending = place_of(f"https://host/x/anna%20b.mp4?{SECRET}")
    assert (near, str(sending)) == (Path("anna b.mp4"), "https://host/x/anna%20b.mp4")
    assert place_of("x/a.mp4") == (Path("x/a.mp4"), None)
