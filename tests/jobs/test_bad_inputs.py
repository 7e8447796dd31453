"""Whatever is given, a job ends in a video or in one line that says what is wrong."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import pytest
from bad_inputs import bad_portraits, bad_recordings
from job_doubles import TrivialEngine
from small_bundles import tiny_config

from hallo_cli.analysis.portrait import PortraitAnalyser, PortraitOptions, Requirements
from hallo_cli.bundles.bundle_file import Geometry
from hallo_cli.domain import Portrait
from hallo_cli.errors import InputError
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import run_job
from hallo_cli.settings.schema import RenderSettings

FACE = Path(__file__).parent.parent.parent / "hallo_cli/assets/examples/portrait_astronaut.png"


class SeeingEngine(TrivialEngine):
    """The trivial engine with real portrait analysis."""

    def __init__(self, cache: Path) -> None:
        super().__init__()
        self.analyser = PortraitAnalyser(Requirements(tiny_config(), Geometry()), cache=cache)

    def portrait(self, path: Path, settings: RenderSettings) -> Portrait:
        return self.analyser.analyse(path, PortraitOptions(size=64))


def unexpected(jobs: Iterable[Job], engine: TrivialEngine) -> dict[str, str]:
    """What each job did that it should not have done, by the name of its input."""
    wrong = {}
    for job in jobs:
        name = f"{job.portrait.name} {job.audio.name}"
        try:
            run_job(job, engine)
            wrong[name] = "rendered"
        except InputError as error:
            if "\n" in str(error) or not 20 < len(str(error)) < 700:
                wrong[name] = f"says {error}"
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            wrong[name] = f"{type(error).__name__}: {error}"
    return wrong


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.filterwarnings("ignore")
def test_hundred_bad_portraits_end_in_one_line_each(job: Job, tmp_path: Path) -> None:
    folder, results = tmp_path / "inputs", tmp_path / "results"
    folder.mkdir()
    results.mkdir()
    portraits = list(bad_portraits(folder, FACE))
    assert len(portraits) >= 100
    jobs = [
        dataclasses.replace(job, portrait=path, output=results / f"{n}.mp4")
        for n, path in enumerate(portraits)
    ]
    assert unexpected(jobs, SeeingEngine(tmp_path / "cache")) == {}
    assert left_behind(results) == []


@pytest.mark.filterwarnings("ignore")
def test_hundred_bad_recordings_end_in_one_line_each(job: Job, tmp_path: Path) -> None:
    folder, results = tmp_path / "inputs", tmp_path / "results"
    folder.mkdir()
    results.mkdir()
    recordings = list(bad_recordings(folder, job.audio))
    assert len(recordings) >= 100
    jobs = [
        dataclasses.replace(job, audio=path, output=results / f"{n}.mp4") for n, path in enumerate(recordings)
    ]
    assert unexpected(jobs, TrivialEngine()) == {}
    assert left_behind(results) == []
