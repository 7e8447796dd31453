"""Makes a video of a job's segments: joins them, adds the recording and subtitles, and signs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hallo_cli.errors import SettingsError
from hallo_cli.jobs.inputs import SettledJob, stretch_of
from hallo_cli.jobs.marking import Marking
from hallo_cli.jobs.plan import Job, Segment
from hallo_cli.jobs.workspace import Workspace
from hallo_cli.media.joining import FinishedVideo, Sound, assemble, sound_modes
from hallo_cli.media.levelling import levelled
from hallo_cli.media.subtitles import (
    add_subtitles,
    burn_subtitles,
    cut_out,
    read_subtitles,
    require_burning,
)
from hallo_cli.media.video_format import VideoFormat
from hallo_cli.store.writing import reporting_write_errors


def require_soundtrack(job: Job) -> None:
    """Raise a HalloError if sound or subtitles could not be put in."""
    settings = job.settings
    if settings.audio_codec == "copy":
        if settings.loudness is not None:
            raise SettingsError(
                "--loudness changes the sound, but --audio-codec copy keeps it: leave one of them out."
            )
        sound_modes(_original_sound(job))
    if settings.subtitles is not None:
        read_subtitles(Path(settings.subtitles))
        if settings.burn:
            require_burning()


@contextmanager
def finished(
    job: SettledJob,
    workspace: Workspace,
    segments: Sequence[Segment],
    video: VideoFormat,
    *,
    marking: Marking,
    between: Callable[[], None] = lambda: None,
) -> Iterator[FinishedVideo]:
    """The signed video of segments that are all there, to be published in the block.

    `between` is called before subtitles are drawn into a segment. Raises InputError, SettingsError,
    EncoderError, OutputError, and what `between` raises.
    """
    part = job.output.with_name(f"{workspace.root.name}{job.output.suffix.lower()}")
    try:
        with reporting_write_errors(part):
            files = _with_burned_subtitles(job, workspace, segments, video, between)
            made = assemble(files, part, video=video, sound=_sound(job, workspace.root))
            _add_subtitles(made, job, segments[-1].stop / job.settings.fps)
        yield marking.put(made, job)
    finally:
        part.unlink(missing_ok=True)


def _original_sound(job: Job) -> Sound:
    """The rendered part of the recording. Raises SpeechError."""
    stretch, _ = stretch_of(job.audio, job.settings)
    return Sound(job.audio, stretch, job.settings.audio_codec)


def _sound(job: Job, folder: Path) -> Sound:
    """The same at the settings' loudness; its files go into `folder`. Raises EncoderError."""
    sound, loudness = _original_sound(job), job.settings.loudness
    return sound if loudness is None else levelled(sound, loudness, folder / "levelled.flac")


def _with_burned_subtitles(
    job: Job,
    workspace: Workspace,
    segments: Sequence[Segment],
    video: VideoFormat,
    between: Callable[[], None],
) -> list[Path]:
    """The files of the segments, with subtitles in their pictures if the settings ask for that."""
    files = [workspace.segment_path(segment) for segment in segments]
    if job.settings.subtitles is None or not job.settings.burn:
        return files
    known = read_subtitles(Path(job.settings.subtitles))
    for at, segment in enumerate(segments):
        start_s, length_s = segment.start / float(video.rate), segment.n_frames / float(video.rate)
        if cues := cut_out(known, job.settings.start_s + start_s, length_s):
            between()
            burned = workspace.root / f"burned-{segment.index:05d}.mp4"
            burn_subtitles(files[at], burned, cues, video)
            files[at] = burned
    return files


def _add_subtitles(video: FinishedVideo, job: Job, length_s: float) -> None:
    """Give the video a track of subtitles if the settings ask for that."""
    if job.settings.subtitles is not None and not job.settings.burn:
        cues = cut_out(read_subtitles(Path(job.settings.subtitles)), job.settings.start_s, length_s)
        if cues:
            add_subtitles(video.file, cues, video.file.with_suffix(".words.srt"))
