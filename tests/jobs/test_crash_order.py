"""Whenever the power goes, what is on the disk can be gone on from, and nothing that was told of is lost."""

import json
import sys
from pathlib import Path

import pytest
from batch_doubles import write_picture, write_sound
from job_doubles import CLIP_FRAMES, TrivialEngine
from power_loss import Disk, Moment

from hallo_cli.jobs import events
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import run_job
from hallo_cli.media.probe import frame_hashes
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.store.digests import file_digest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
N_FRAMES = 3 * CLIP_FRAMES


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Three clips in two segments."""
    folder = tmp_path / "disk"
    folder.mkdir()
    write_picture(folder / "face.png", 0)
    write_sound(folder / "speech.wav", N_FRAMES / 25)
    settings = RenderSettings(segment_s=2 * CLIP_FRAMES / 25)
    return Job(folder / "face.png", folder / "speech.wav", folder / "out.mp4", settings)


def clips_rendered(job: Job) -> list[int]:
    """Run the job to its end; which clips had to be rendered for that."""
    engine = TrivialEngine()
    run_job(job, engine)
    return engine.clips_rendered


def require_whole(job: Job, moment: Moment) -> None:
    """The video is not there, or it is whole and its record tells so."""
    if not job.output.exists():
        assert not any(isinstance(event, events.Finished) for event in moment.news), moment
        return
    record = json.loads(job.output.with_suffix(".json").read_bytes())
    assert record["output"]["sha256"] == file_digest(job.output), moment


def test_render_goes_on_from_whatever_a_loss_of_power_leaves(
    job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(job.output.parent)
    with disk.watched():
        run_job(job, TrivialEngine(), on_event=disk.news.append)
    undisturbed = list(frame_hashes(job.output))
    assert len(undisturbed) == N_FRAMES
    assert len({moment.number for moment in disk.moments}) > 20
    for moment in disk.moments:
        disk.put_back(moment.files)
        require_whole(job, moment)
        rendered = clips_rendered(job)
        assert list(frame_hashes(job.output)) == undisturbed, moment
        told = [event.frames_done for event in moment.news if isinstance(event, events.ClipRendered)]
        assert all(clip * CLIP_FRAMES >= max(told, default=0) for clip in rendered), moment
        assert [path.name for path in job.output.parent.glob("**/.hallo-*.part")] == [], moment
        assert [record.getMessage() for record in caplog.records] == [], moment  # such as a state that lacks
