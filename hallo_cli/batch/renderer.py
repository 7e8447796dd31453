"""Renders a worker's rows with the job runner, with the real engine or a test's double."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hallo_cli.batch.engines import Engines
from hallo_cli.batch.fetching import near_task
from hallo_cli.batch.join import join
from hallo_cli.batch.judge import Judgement, judge
from hallo_cli.batch.task import N_SEEDS, Rendered, Task
from hallo_cli.errors import HalloError
from hallo_cli.jobs import events, record
from hallo_cli.jobs.engine import Engine
from hallo_cli.jobs.group import speaking
from hallo_cli.jobs.inputs import Inputs, by_content, require_unchanged, settled
from hallo_cli.jobs.marking import Marking
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.prepared_inputs import Prepared
from hallo_cli.jobs.record import JobResult
from hallo_cli.jobs.runner import RunOptions, StopRequest, prepare_ahead, run_job
from hallo_cli.store.writing import make_folder, make_own_folder, refuse_link

if TYPE_CHECKING:
    from hallo_cli.batch.renderer_spec import RendererSpec


@dataclass(frozen=True)
class Ready:
    """A row that waits to be rendered."""

    job: Job
    engine: Engine
    inputs: Prepared | None = None  # None: there is nothing to analyse


class JobRenderer:
    """The steps of a worker for a row, on one device; engines stay loaded from row to row."""

    def __init__(self, spec: RendererSpec) -> None:
        self._spec = spec
        self.engines = Engines(spec.make_engine, spec.runtime)

    def prepare(self, task: Task) -> Ready:
        """The row as a job, and its inputs analysed where there is something to render.

        Runs in parallel with another row's render.
        """
        job = self._job(near_task(task))
        engine = speaking(self.engines[job.settings.bundle], job.voices)
        self._refuse_links(task)
        if task.parent:
            make_own_folder(task.output.parent.parent)
            make_own_folder(task.output.parent)
        make_folder(task.output.parent)
        if self._spec.mirror and not (task.parent or task.may_replace):
            self._spec.mirror.bring(task.output)
        if task.parts or task.output.exists():
            return Ready(job, engine)
        return Ready(job, engine, prepare_ahead(job, engine))

    def render(
        self, task: Task, prepared: Ready, *, report: Callable[[int, int], None], stop: StopRequest
    ) -> Rendered:
        """Render the row, or recognise that an earlier run was killed after it was done.

        `report` takes frames done and all frames. Raises Interrupted when stopped.
        """
        self._refuse_links(task)
        job, engine = prepared.job, prepared.engine
        self._require_unchanged(task, job, engine)

        def on_event(event: events.Event) -> None:
            if isinstance(event, events.ClipRendered):
                report(event.frames_done, event.n_frames)

        result = self._finished(job, engine) if task.may_replace else None
        marking = Marking.of(self._spec.runtime)
        if task.parts:
            result = join(job, task, engine, marking)
        if result is None:
            overwrite = task.may_replace or self._is_other_try(job, engine)
            options = RunOptions(overwrite=overwrite, marking=marking)
            result = run_job(
                job, engine, options=options, on_event=on_event, stop=stop, prepared=prepared.inputs
            )
        return Rendered(
            frames=result.n_frames,
            seconds=round(result.n_frames / result.fps, 3),
            seed=job.settings.seed,
            sha256=result.sha256,
            compute_s=round(result.seconds or result.timings_s.get("total", 0.0), 3),
        )

    def measure(self, task: Task, rendered: Rendered) -> Rendered:
        """Add the quality gate's figures and verdict; then put the video where it belongs.

        Runs in parallel with the next row's render.
        """
        rendered = dataclasses.replace(rendered, size=task.output.stat().st_size)
        figures: dict[str, float] = {"n_frames": rendered.frames}
        judgement = None
        if self._spec.measure is not None and not task.parent and not task.voices:
            try:
                figures |= self._spec.measure(task.output, near_task(task).portrait)
            except HalloError as error:  # for example, no face is found in the video
                judgement = Judgement("fail", (f"cannot be measured: {error}",))
        # a part's length in samples is rounded: it may have a frame more, which joining leaves out
        expected = rendered.frames if task.parent else task.frames
        judgement = judgement or judge(
            figures, self._spec.limits[task.preset], expected_frames=expected, seconds=rendered.seconds
        )
        if self._spec.mirror and not task.parent:
            self._spec.mirror.put(task.output)
        quality = {name: round(value, 4) for name, value in figures.items()}
        return dataclasses.replace(rendered, quality=quality, **vars(judgement))

    def _require_unchanged(self, task: Task, job: Job, engine: Engine) -> None:
        """Raise InputError if an input is no longer what it was when the batch was planned."""
        has_files = by_content(job.settings) != job.settings
        is_as_planned = not (task.parent or task.seed_offset)  # else the settings differ, too
        planned = task.fingerprint if has_files and is_as_planned else ""
        files = (task.portrait_sha256, task.audio_sha256, engine.weights_id)
        checked = Inputs(*files, planned, "", task.voices_sha256)
        require_unchanged(job, checked)

    def _refuse_links(self, task: Task) -> None:
        """Raise OutputError if a folder of the batch's own has become a link since it was planned."""
        for own in self._spec.own_folders:
            if task.output.is_relative_to(own):
                for folder in task.output.relative_to(own).parents:
                    refuse_link(own / folder)

    def _job(self, task: Task) -> Job:
        engine = speaking(self.engines[task.settings.bundle], task.voices)
        settings = engine.resolve_settings(task.settings)
        settings = dataclasses.replace(settings, seed=(settings.seed + task.seed_offset) % N_SEEDS)
        return Job(task.portrait, task.audio, task.output, settings, voices=task.voices)

    def _finished(self, job: Job, engine: Engine) -> JobResult | None:
        return record.find_finished(settled(job, engine))

    def _is_other_try(self, job: Job, engine: Engine) -> bool:
        return job.output.exists() and record.is_other_try(settled(job, engine))
