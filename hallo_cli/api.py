"""The functions for programs, which the command line uses, too: `render`, `Renderer` and more.

Imports nothing heavy until something is rendered.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from hallo_cli.errors import PortraitError, SettingsError, SpeechError, WeightsError
from hallo_cli.jobs.containers import fitting_container
from hallo_cli.jobs.events import Event, ignore
from hallo_cli.jobs.inputs import with_near_files
from hallo_cli.jobs.plan import Job, Voice
from hallo_cli.media.addresses import is_address
from hallo_cli.media.far import near_path
from hallo_cli.media.files import require_file
from hallo_cli.media.kept_sounds import STANDARD_INPUT, as_file
from hallo_cli.settings.keywords import Keywords
from hallo_cli.settings.resolve import Resolved, Sources, resolve
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings
from hallo_cli.settings.values import build, fields_of, to_values
from hallo_cli.store.cache import at_home

if TYPE_CHECKING:
    from hallo_cli.batch.batch_events import Event as BatchEvent
    from hallo_cli.batch.ledger import Record
    from hallo_cli.domain import Bytes
    from hallo_cli.jobs.bundle_engine import BundleEngine
    from hallo_cli.jobs.preflight import Preflight
    from hallo_cli.jobs.record import JobResult
    from hallo_cli.jobs.record import Record as RenderRecord
    from hallo_cli.jobs.runner import RunOptions, StopRequest
    from hallo_cli.jobs.verification import Verdict

AnyPath = str | os.PathLike[str]
Progress = Callable[["Event"], None]


def render(
    portrait: AnyPath,
    audio: AnyPath,
    output: AnyPath,
    *,
    progress: Progress | None = None,
    stop: StopRequest | None = None,
    options: RunOptions | None = None,
    **settings: Unpack[Keywords],
) -> JobResult:
    """Render a video in which the portrait speaks the recording.

    `settings` have the names of the flags of `hallo render`, besides `preset` and `config`; HALLO_* variables
    count, too. `progress` is called with each event (see `hallo_cli.jobs.events`). `stop` ends the render
    after the current clip. `options` say what happens to existing files. An unfinished render resumes; a
    finished one is not rendered again.

    Raises a HalloError: SettingsError, PortraitError, SpeechError, WeightsError, DeviceMemoryError, JobError,
    or Interrupted.
    """
    renderer = Renderer(**settings)
    return renderer.render(portrait, audio, output, progress=progress, stop=stop, options=options)


def repeat(
    record: AnyPath,
    output: AnyPath | None = None,
    *,
    progress: Progress | None = None,
    stop: StopRequest | None = None,
    options: RunOptions | None = None,
    audio: AnyPath | None = None,
    **settings: Unpack[Keywords],
) -> JobResult:
    """Repeat the render that the record OUT.json describes, with `settings` changed.

    `output`: None puts the video where the record says. `audio`: a corrected recording; if the work of the
    earlier render was kept (`RunOptions.keep_work`), only what it changes is rendered. Raises InputError if
    inputs or record have changed, WeightsError if the weights have, and what `render` raises.
    """
    place, options = _sent(output, options) if output else (None, options)
    renderer, job, options = Renderer.of_record(
        Path(record), place, _sources(settings), audio=audio, options=options
    )
    return renderer.run(job, progress=progress, stop=stop, options=options)


def render_batch(
    rows: Iterable[Mapping[str, object]],
    name: AnyPath = "batch",
    *,
    output_dir: AnyPath | None = None,
    workers: int = 1,
    progress: Callable[[BatchEvent], None] | None = None,
    **settings: Unpack[Keywords],
) -> list[Record]:
    """Render many rows as `hallo batch` does, and return the record of each, in their order.

    A row has the columns of a manifest: `portrait`, `audio`, and optionally `id`, `output`, `preset` and any
    setting; `settings` apply to all rows. The batch writes NAME.videos, NAME.results.jsonl and NAME.batch;
    the same call resumes it. If `output_dir` is the address of a store, videos and ledger go there, too.

    A row that fails gives a record with that `status`, not an exception. Workers are processes: guard the
    script with `if __name__ == "__main__":`.

    Raises ManifestError, SettingsError, JobError, OutputError.
    """
    from hallo_cli.batch.building import RowsOptions, render_rows

    place = os.fspath(output_dir) if output_dir else ""
    if place and not is_address(place):
        place = str(at_home(Path(place)).absolute())
    options = RowsOptions(at_home(Path(name)), place, max(1, workers))
    return render_rows(rows, options, _sources(settings), progress or (lambda event: None))


def verify(
    video: AnyPath,
    *,
    trust: AnyPath | None = None,
    again: bool = False,
    progress: Progress | None = None,
    sources: Sources | None = None,
) -> Verdict:
    """Check who signed a video, whether it is unchanged, and whether its record describes it.

    `trust`: a PEM file of certificates that you trust besides this machine's own. `again`: render again from
    the record, with the settings of `sources`, and compare the frames. Raises InputError, SettingsError, and
    with `again` what `render` raises.
    """
    from hallo_cli.jobs.record import sidecar_path
    from hallo_cli.jobs.verification import count_differences
    from hallo_cli.jobs.verification import verify as look
    from hallo_cli.provenance.certificates import read_anchors

    file = at_home(Path(video))
    verdict = look(file, read_anchors(Path(trust)) if trust else b"")
    if not again:
        return verdict
    with tempfile.TemporaryDirectory(prefix="hallo-") as folder:
        rendered = Path(folder) / f"again{file.suffix}"
        renderer, job, _ = Renderer.of_record(sidecar_path(file), rendered, sources or Sources())
        renderer.run(job, progress=progress)
        n_frames, n_other = count_differences(file, rendered)
    return dataclasses.replace(verdict, n_frames=n_frames, n_other=n_other)


def speak(text: str, command: str) -> Path:
    """The sound file that a text-to-speech command makes of a text; kept in the cache.

    `command`: as --speak takes it, such as "espeak-ng -w {output} -- {text}". Raises SettingsError,
    SpeechError.
    """
    from hallo_cli.media import speaking

    return speaking.speak(text, command)


def compose(recordings: Sequence[AnyPath], *, pause: float = 0.0) -> Path:
    """Several recordings joined in order, with `pause` seconds between them; kept in the cache.

    "-" is standard input; it and other pipes are read to their end once and kept, too. Raises SpeechError,
    SettingsError.
    """
    from hallo_cli.media.composing import composed

    if [os.fspath(file) for file in recordings].count(STANDARD_INPUT) > 1:
        raise SpeechError("standard input (-) can be read only once: name files for the other recordings.")
    files = [at_home(near_path(file, SpeechError, "recording")) for file in recordings]
    return composed([as_file(file) for file in files], pause)


class Renderer:
    """Renders videos one after the other and keeps the weights in memory."""

    def __init__(self, **settings: Unpack[Keywords]) -> None:
        """Settings for all renders of this renderer, as `render` takes them. Raises SettingsError."""
        self.resolved = resolve(_sources(settings))

    @classmethod
    def of(cls, resolved: Resolved) -> Self:
        """The renderer for resolved settings."""
        renderer = cls.__new__(cls)
        renderer.resolved = resolved
        return renderer

    @classmethod
    def of_record(
        cls,
        record: Path,
        output: Path | None,
        sources: Sources,
        *,
        audio: AnyPath | None = None,
        options: RunOptions | None = None,
    ) -> tuple[Self, Job, RunOptions]:
        """What repeats an earlier render with the given settings changed: renderer, job and options.

        `audio`: a corrected recording. Its frames are taken over where the work of the earlier render was
        kept; else all are rendered. Raises InputError, SettingsError or WeightsError.
        """
        from hallo_cli.jobs.correction import corrected
        from hallo_cli.jobs.record import read_record, require_same_inputs
        from hallo_cli.jobs.runner import RunOptions

        options, known = options or RunOptions(), read_record(record)
        renderer, job = cls._of_known(known, record, output, sources)
        if audio is None:
            require_same_inputs(known, job)
            return renderer, job, options
        job = dataclasses.replace(job, audio=_recording(audio))
        job, earlier = corrected(known, job, options.work_dir or record.absolute().parent)
        return renderer, job, dataclasses.replace(options, earlier=earlier)

    @classmethod
    def _of_known(
        cls, known: RenderRecord, record: Path, output: Path | None, sources: Sources
    ) -> tuple[Self, Job]:
        if sources.preset or sources.config:
            raise SettingsError("a record has its own settings: leave preset and config out.")
        resolved = resolve(sources)
        changed = {key: value for key, value in sources.flags.items() if key in fields_of(RenderSettings)}
        settings = _changed(known.job.settings, changed)
        origins = {
            key: origin if key in sources.flags else str(record) for key, origin in resolved.origins.items()
        }
        renderer = cls.of(Resolved(settings, resolved.runtime, origins))
        if "bundle" not in changed and renderer.engine.weights_id != known.inputs.weights_id:
            raise WeightsError(
                f"{record}: the bundle {settings.bundle!r} no longer has the weights of that render. "
                "Name a folder that has them with --bundle, or render without --from."
            )
        settings = with_near_files(settings)
        target = at_home(output) if output else known.job.output
        job = dataclasses.replace(known.job, output=target, settings=fitting_container(settings, target))
        return renderer, job

    @cached_property
    def engine(self) -> BundleEngine:
        """Networks and analysers, loaded when they are first needed. Raises WeightsError."""
        from hallo_cli.jobs.bundle_engine import BundleEngine

        return BundleEngine.open(self.resolved.render.bundle, self.resolved.runtime)

    def render(
        self,
        portrait: AnyPath,
        audio: AnyPath,
        output: AnyPath,
        *,
        progress: Progress | None = None,
        stop: StopRequest | None = None,
        options: RunOptions | None = None,
        **changes: Unpack[Keywords],
    ) -> JobResult:
        """Render one video, with some settings changed for it: see `render`."""
        place, options = _sent(output, options)
        job = self.job(portrait, audio, place, **changes)
        return self.run(job, progress=progress, stop=stop, options=options)

    def frames(
        self,
        portrait: AnyPath,
        audio: AnyPath,
        *,
        progress: Progress | None = None,
        **changes: Unpack[Keywords],
    ) -> Generator[Bytes]:
        """Yield the video's frames as [height, width, 3] uint8 RGB arrays, each when it is asked for.

        They are those that `render` encodes; there are `settings.fps` a second. Raises what `render` raises.
        """
        from hallo_cli.jobs.stream import stream_frames

        job = self.job(portrait, audio, "frames.mp4", **changes)
        return stream_frames(job, self.engine, on_event=progress or ignore)

    def check(self, portrait: AnyPath, audio: AnyPath, **changes: Unpack[Keywords]) -> Preflight:
        """Predict what a render would use, make and cost, without rendering."""
        from hallo_cli.jobs.preflight import look_at

        return look_at(self.job(portrait, audio, "out.mp4", **changes), self.engine)

    def job(self, portrait: AnyPath, audio: AnyPath, output: AnyPath, **changes: Unpack[Keywords]) -> Job:
        """What would be rendered. Raises PortraitError, SpeechError, SettingsError or WeightsError."""
        face = at_home(near_path(portrait, PortraitError, "portrait"))
        require_file(face, PortraitError, "portrait")  # at once, before the slow imports
        speech = _recording(audio)
        settings = _changed(self.resolved.render, changes)
        settings = dataclasses.replace(
            with_near_files(settings), bundle=_lasting_name(settings.bundle, self.engine)
        )
        return Job(face, speech, at_home(Path(output)), fitting_container(settings, Path(output)))

    def group_job(
        self, portrait: AnyPath, voices: Mapping[int, AnyPath], output: AnyPath, **changes: Unpack[Keywords]
    ) -> Job:
        """What would be rendered of several faces of a picture.

        `voices`: the recording of each face; faces are counted from the left, from 1. Raises PortraitError,
        SpeechError, SettingsError or WeightsError.
        """
        from hallo_cli.media.composing import mixed

        said = tuple(Voice(face, _recording(voices[face]).absolute()) for face in sorted(voices))
        job = self.job(portrait, mixed([voice.audio for voice in said]), output, **changes)
        return dataclasses.replace(job, voices=said)

    def run(
        self,
        job: Job,
        *,
        progress: Progress | None = None,
        stop: StopRequest | None = None,
        options: RunOptions | None = None,
    ) -> JobResult:
        """Render a job that was made here. Raises what `render` raises."""
        from hallo_cli.jobs.group import speaking
        from hallo_cli.jobs.marking import Marking
        from hallo_cli.jobs.runner import RunOptions, run_job

        marking = Marking.of(self.resolved.runtime)
        return run_job(
            job,
            speaking(self.engine, job.voices),
            options=dataclasses.replace(options or RunOptions(), marking=marking),
            on_event=progress or ignore,
            stop=stop,
        )


def _sources(settings: Any) -> Sources:
    flags = dict(settings)
    preset, config = flags.pop("preset", None), flags.pop("config", None)
    return Sources(flags, config=Path(config) if config else None, preset=preset)


def _sent(output: AnyPath, options: RunOptions | None) -> tuple[Path, RunOptions]:
    """The file to render to, and options that send it on if the output is an address."""
    from hallo_cli.jobs.runner import RunOptions
    from hallo_cli.jobs.sending import place_of

    place, sending = place_of(output)
    return place, dataclasses.replace(options or RunOptions(), sending=sending)


def _recording(audio: AnyPath) -> Path:
    speech = at_home(near_path(audio, SpeechError, "recording"))
    require_file(speech, SpeechError, "recording")
    return speech


def _changed(settings: RenderSettings, changes: Any) -> RenderSettings:
    """The settings with some of them changed. Raises SettingsError."""
    fixed = {"preset", "config", *fields_of(RuntimeSettings)} & changes.keys()
    if fixed:
        raise SettingsError(f"{min(fixed)} is fixed for a Renderer: give it to Renderer(...).")
    return build(RenderSettings, {**to_values(settings), **changes}, where="settings")


def _lasting_name(name: str, engine: BundleEngine) -> str:
    """The bundle's name for the record; a folder's path becomes absolute."""
    folder = at_home(Path(name))
    is_path = folder.is_dir() and folder.samefile(engine.bundle.path)
    return str(folder.absolute()) if is_path else name
