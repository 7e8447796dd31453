"""Decides for each row what a batch has to do: checks inputs, predicts times, finds rows that are done."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.batch.batch_events import BatchPlanned, RowPlanned
from hallo_cli.batch.checks import look_at_all
from hallo_cli.batch.columns import face_of
from hallo_cli.batch.engines import Engines
from hallo_cli.batch.fetching import fetch_inputs
from hallo_cli.batch.findings import FACES, Checks, Finding, Request, request_for
from hallo_cli.batch.parts import split
from hallo_cli.batch.queue import Queue, Totals
from hallo_cli.batch.recordings import make_recordings
from hallo_cli.batch.states import RENDERED
from hallo_cli.batch.task import N_SEEDS, Task
from hallo_cli.domain import SAMPLE_RATE
from hallo_cli.errors import HalloError, InputError, ManifestError
from hallo_cli.jobs.containers import fitting_container, is_transparent
from hallo_cli.jobs.engine import Engine
from hallo_cli.jobs.forecast import disk_needed, free_bytes, measuring_seconds
from hallo_cli.jobs.inputs import by_content
from hallo_cli.jobs.marking import Marking, Permission
from hallo_cli.jobs.plan import Voice, count_frames, fingerprint
from hallo_cli.jobs.record import MAX_TRIES
from hallo_cli.media.video_format import exact_rate
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.settings.values import fields_of, to_values
from hallo_cli.store.digests import file_digest

if TYPE_CHECKING:
    from hallo_cli.batch.history import Past
    from hallo_cli.batch.rows import Row
    from hallo_cli.batch.run import Batch
    from hallo_cli.jobs.still import Still

Predict = Callable[[Engine, RenderSettings, int], float]  # resolved settings, frames -> seconds of compute


@dataclass(frozen=True)
class Repeat:
    """Which finished or failed rows to render again."""

    statuses: Collection[str] = ("error", "invalid")
    ids: Collection[str] = ()
    seeds: Mapping[str, int] = field(default_factory=dict)  # by id: the seed whose video was rejected

    def wants(self, past: Past) -> bool:
        """Whether a row with this history is rendered again even if nothing changed."""
        return past.id in self.ids if self.ids else past.status in self.statuses

    def offset(self, task: Task, past: Past | None) -> int:
        """How many seeds to go on from the row's own: to the one after the rejected video's.

        0 where nothing was rejected, or the row has changed since: then its own seed is new.
        """
        if task.id not in self.seeds or past is None or past.fingerprint not in ("", task.fingerprint):
            return 0
        offset = (self.seeds[task.id] + 1 - task.settings.seed) % N_SEEDS
        return offset if offset <= MAX_TRIES else 0


@dataclass
class Planner:
    """Plans the loaded queue of a batch."""

    batch: Batch
    queue: Queue
    checks: Checks
    n_files: int = 0  # to look at
    measure_s: float = 0.0  # of all videos
    disk_bytes: int = 0
    free: dict[Path, int] = field(default_factory=dict)  # bytes, by folder of outputs
    work_bytes: int = 0  # of the row that needs most

    @cached_property
    def engines(self) -> Engines:
        """The engines of the rows' bundles."""
        return Engines(self.batch.renderer.make_engine, self.batch.renderer.runtime)

    @cached_property
    def permission(self) -> Permission | None:
        """Which portraits and voices may be used; None: all."""
        return Marking.of(self.batch.renderer.runtime).permission

    @cached_property
    def far_sizes(self) -> Mapping[Path, int]:
        """The videos in the far folder."""
        return self.batch.mirror.sizes() if self.batch.mirror else {}

    def plan(self) -> Iterator[int]:
        """Check all new rows; yields the number of files looked at, as it grows."""
        spec = self.batch.renderer
        for _ in fetch_inputs(self.queue):
            yield 0
        make_recordings(self.queue, spec.runtime.speak, self.permission)
        for row in self.queue.rows("new"):
            self._want(row)
        self.n_files = self.checks.count_wanted()
        yield 0
        processes = self.batch.check_processes
        found = look_at_all(self.checks, spec.make_engine, spec.runtime, processes=processes)
        n_found = 0
        for finding in found:
            n_found += finding is not None
            yield n_found
        for row in self.queue.rows("new"):
            self._decide(row)

    def summary(self) -> BatchPlanned:
        """The plan in numbers."""
        totals = defaultdict(Totals, self.queue.totals())
        elsewhere = totals.pop("elsewhere", Totals()).rows
        ready = totals["ready"]
        return BatchPlanned(
            rows=sum(total.rows for total in totals.values()),
            ready=ready.rows,
            skipped=totals["skipped"].rows,
            left_out=totals["left out"].rows,
            invalid=totals["invalid"].rows,
            frames=ready.frames,
            seconds=round(ready.seconds, 3),
            compute_s=round(ready.cost, 3),
            measure_s=round(self.measure_s, 3) if self.batch.renderer.measure else 0.0,
            disk_bytes=self.disk_bytes,
            elsewhere=elsewhere,
            work_bytes=self.work_bytes * min(self.batch.n_workers, ready.rows),
            free_bytes=min(self.free.values(), default=None),
        )

    def _is_there(self, output: Path, size: int) -> bool:
        """Whether a video of this size is where finished videos belong."""
        if self.batch.mirror:
            return self.far_sizes.get(output) == size
        try:
            return output.stat().st_size == size
        except OSError:
            return False

    def _want(self, row: Row) -> None:
        try:
            mirror = self.batch.mirror
            if mirror and not row.output.is_relative_to(mirror.videos):
                raise ManifestError(
                    f"output {row.output} lies outside {mirror.videos}, which goes to "
                    f"{mirror.folder.address}; give a name without folders outside it."
                )
            for request in self._requests(row, self._resolved_settings(row)):
                self.checks.want(request)
        except HalloError as error:
            self.queue.refuse(row.number, type(error).__name__, str(error))

    def _decide(self, row: Row) -> None:
        try:
            settings = self._resolved_settings(row)
            portrait, audio = map(self._finding, self._requests(row, settings))
            task, past = self._task(row, settings, portrait, audio), self.queue.history.past(row.output)
            whole, parts = self._tried(task, past)
            state = self._state(whole, past)
            if state == "ready" and self.permission:
                self.permission.given((row.portrait, portrait.digest), (row.audio, audio.digest))
        except HalloError as error:
            kind = error.kind if isinstance(error, _FoundError) else type(error).__name__
            self.queue.refuse(row.number, kind, str(error))
            return
        if state == "ready" and parts:
            self.queue.add_parts(whole, parts)
        else:
            self.queue.accept(whole, state)
        if state == "ready":
            if notes := [*portrait.notes, *audio.notes]:
                self.queue.note(row.number, notes)
            self._count(task)

    def _count(self, task: Task) -> None:
        """Add a row to the totals of disk and measuring time."""
        size = (task.width, task.height)
        disk = disk_needed(task.settings, task.frames, size)
        self.measure_s += measuring_seconds(task.frames, size)
        folder = task.output.parent
        if folder not in self.free:
            self.free[folder] = free_bytes(task.output)
        self.disk_bytes += disk.output_bytes
        self.work_bytes = max(self.work_bytes, disk.work_bytes)

    def _tried(self, task: Task, past: Past | None) -> tuple[Task, list[Task]]:
        """The task and its parts, with the seed of the next try."""
        whole, parts = self._split(task)
        if offset := self.batch.repeat.offset(whole, past):
            whole, *parts = (dataclasses.replace(one, seed_offset=offset) for one in (whole, *parts))
        return whole, parts

    def _split(self, task: Task) -> tuple[Task, list[Task]]:
        # joins are blended without alpha, and with one face
        if not self.batch.has_parallel_parts or is_transparent(task.settings) or task.voices:
            return task, []
        return split(task, rate=float(exact_rate(task.settings.fps)), folder=self.batch.paths.parts)

    def _state(self, task: Task, past: Past | None) -> str:
        if past is None or past.fingerprint != task.fingerprint or self.batch.repeat.wants(past):
            return "ready"
        if past.status == "quarantined":
            return "left out"
        if past.status not in RENDERED or not self._is_there(task.output, past.size):
            return "ready"
        return "left out" if past.status == "fail" else "skipped"

    def _given_settings(self, row: Row) -> RenderSettings:
        """The row's settings: its cells override the command line and its preset. Raises SettingsError."""
        names = {key: field.name for key, field in fields_of(RenderSettings).items()}
        cells = {names[key]: value for key, value in row.settings.items()}
        settings = dataclasses.replace(self.batch.resolve(row.preset), **cells)  # type: ignore[arg-type]
        return fitting_container(settings, row.output)

    def _resolved_settings(self, row: Row) -> RenderSettings:
        """The row's settings with what its bundle and this machine decide. Raises HalloError."""
        given = self._given_settings(row)
        engine = self.engines[given.bundle]
        if row.voices:
            from hallo_cli.jobs.group import GroupEngine

            engine = GroupEngine(engine, _voices(row))
        return engine.resolve_settings(given)

    def _requests(self, row: Row, settings: RenderSettings) -> tuple[Request, Request]:
        """What to look at for a row. Raises InputError where a file is missing."""
        values: dict[str, object] = dict(to_values(settings))
        faces = {FACES: [voice.face for voice in _voices(row)]} if row.voices else {}
        return (
            request_for("portrait", row.portrait, {**values, **faces}),
            request_for("audio", row.audio, values),
        )

    def _task(self, row: Row, settings: RenderSettings, portrait: Finding, audio: Finding) -> Task:
        """The row as a task."""
        engine = self.engines[settings.bundle]
        voices = _voices(row)
        digests = tuple(file_digest(voice.audio) for voice in voices)
        name = fingerprint(
            portrait=portrait.digest,
            audio=audio.digest,
            weights_id=engine.weights_id,
            settings=by_content(settings),
            more=[f"{voice.face}={digest}" for voice, digest in zip(voices, digests, strict=True)],
        )
        rate = float(exact_rate(settings.fps))
        frames = count_frames(audio.n_samples / SAMPLE_RATE, rate)
        past = self.queue.history.past(row.output)
        return Task(
            number=row.number,
            id=row.id,
            portrait=row.portrait,
            audio=row.audio,
            output=row.output,
            settings=settings,
            preset=row.preset or "",
            fingerprint=name,
            frames=frames,
            seconds=frames / rate,
            cost=self.batch.predict(engine, settings, frames) * max(1, len(voices)),
            portrait_sha256=portrait.digest,
            audio_sha256=audio.digest,
            width=portrait.width,
            height=portrait.height,
            own=row.own,
            voices=voices,
            voices_sha256=digests,
            far=row.far,
            may_replace=self.batch.may_overwrite or (past is not None and bool(past.is_ours)),
        )

    def _finding(self, request: Request) -> Finding:
        finding = self.checks.find(request.key)
        if finding is None:
            raise InputError(f"{request.path} changed while the batch was being checked; run it again.")
        if finding.error:
            raise _FoundError(finding)
        return finding

    def still(self, planned: RowPlanned) -> Still | None:
        """A picture of what a row would make; None from an engine that draws none.

        Raises InputError, SettingsError or WeightsError.
        """
        from hallo_cli.jobs.bundle_engine import BundleEngine
        from hallo_cli.jobs.plan import Job
        from hallo_cli.jobs.preflight import look_at_portrait
        from hallo_cli.jobs.still import draw_still

        row = self.queue.row(planned.row)
        settings = self._given_settings(row)
        engine = self.engines[settings.bundle]
        if not isinstance(engine, BundleEngine):
            return None
        if is_transparent(settings):  # the still is opaque: what is transparent becomes white
            settings = dataclasses.replace(settings, codec=RenderSettings().codec, background="white")
        voices = _voices(row)
        faces = [
            dataclasses.replace(settings, framing="full", face_index=voice.face - 1) for voice in voices
        ] or [settings]
        facts = [look_at_portrait(row.portrait, engine.resolve_settings(face), engine) for face in faces]
        still = draw_still(Job(row.portrait, row.audio, row.output, faces[0]), engine, facts[0])
        return still.of_faces({voice.face: fact for voice, fact in zip(voices, facts, strict=False)})


def _voices(row: Row) -> tuple[Voice, ...]:
    return tuple(Voice(face_of(column), path) for column, path in row.voices.items())


class _FoundError(InputError):
    """The error that checking found, under the name that the ledger uses."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.kind = finding.error
