"""`hallo render`: one portrait and one recording in, one video out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.api import Renderer, compose, speak
from hallo_cli.cli.check import report
from hallo_cli.cli.console import answer, say
from hallo_cli.cli.options import argument, option, rare
from hallo_cli.cli.progress import Shown, clock, failures_as_json, showing
from hallo_cli.cli.signals import obeying_signals
from hallo_cli.errors import SettingsError, SpeechError
from hallo_cli.jobs.containers import SUFFIXES
from hallo_cli.jobs.events import Event, to_json
from hallo_cli.jobs.inputs import settled
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.sending import place_of
from hallo_cli.media.addresses import is_address, stem_of
from hallo_cli.media.kept_sounds import is_piped
from hallo_cli.settings.resolve import Sources, resolve
from hallo_cli.store.cache import at_home

if TYPE_CHECKING:
    from hallo_cli.jobs.runner import RunOptions


DRAFT_S = 2.0
MAX_FACE = 99
# Endings of operands that may lack their -o.
OUTPUTS = (*SUFFIXES, ".avi", ".m4v", ".mkv", ".gif", ".jpeg", ".jpg", ".png", ".webp")


@dataclass(frozen=True)
class Files:
    """The options about the output and the unfinished work."""

    output: str | None = option(
        None,
        "The video, or an address to send it to. OUT.webm and OUT.mov keep the "
        "portrait's transparency.  [default: PORTRAIT-AUDIO.mp4]",
        "-o",
        "--output",
        metavar="OUT.mp4",
    )
    overwrite: bool = option(False, "Replace the output if it exists.")
    no_resume: bool = rare(False, "Delete unfinished work and start again.")
    keep_work: bool = rare(
        False, "Keep the work folder, which --from OUT.json --audio needs to render only what changes."
    )
    work_dir: Path | None = rare(
        None, "The folder for unfinished work.  [default: beside the output]", metavar="DIR"
    )

    def run_options(self) -> RunOptions:
        """These options as the runner takes them."""
        from hallo_cli.jobs.runner import RunOptions

        work_dir = self.work_dir and at_home(self.work_dir)
        return RunOptions(
            work_dir,
            resume=not self.no_resume,
            keep_work=self.keep_work,
            overwrite=self.overwrite,
            sending=place_of(self.output)[1] if self.output else None,
        )

    @property
    def place(self) -> Path | None:
        """The file that the video is rendered to, if one was named. Raises SettingsError."""
        return place_of(self.output)[0] if self.output else None


@dataclass(frozen=True)
class Inputs:
    """What is rendered: a portrait with recordings or a text, or an earlier render again."""

    portrait: str | None = argument(None, "A picture with a face.", metavar="PORTRAIT")
    audios: list[str] | None = argument(
        None,
        "Speech: a sound or video file, or - for standard input; several are joined in order.",
        metavar="AUDIO",
    )
    pause_s: float = rare(0.0, "Seconds between several recordings.", "--pause", metavar="SECONDS")
    faces: list[str] | None = rare(
        None,
        "The recording of one face, instead of AUDIO. Repeat it for each face that speaks. "
        "Faces are counted from the left, from 1.",
        "--face",
        metavar="N=AUDIO",
    )
    text: str | None = rare(None, "Speak this text with the command of --speak.")
    record: Path | None = rare(
        None,
        "Repeat the render that this record describes. Leave PORTRAIT and AUDIO out.",
        "--from",
        metavar="OUT.json",
    )
    corrected: str | None = rare(
        None,
        "With --from: a corrected recording. Only what it changes is rendered again.",
        "--audio",
        metavar="AUDIO",
    )

    @property
    def voices(self) -> dict[int, str]:
        """The recordings by face. Raises SettingsError."""
        voices: dict[int, str] = {}
        for one in self.faces or ():
            number, _, audio = one.partition("=")
            if not number.isdecimal() or not 1 <= int(number) <= MAX_FACE or not audio:
                raise SettingsError(
                    f"--face {one!r} is not a face and its recording, as in --face 1=anna.wav."
                )
            if int(number) in voices:
                raise SettingsError(f"--face {int(number)} is given twice: each face has one recording.")
            voices[int(number)] = audio
        return voices

    @property
    def are_heard(self) -> bool:
        """Whether the portrait has something to say."""
        return bool(self.audios) or self.text is not None or bool(self.voices)

    def recording(self, command: str | None) -> Path:
        """All that one portrait says; `command` speaks the text. Raises SettingsError, SpeechError."""
        if self.text is None:
            _require_no_output(self.audios or [])
            return compose(self.audios or [], pause=self.pause_s)
        if command is None:
            raise SettingsError(
                "--text needs --speak, a text-to-speech command: --speak 'espeak-ng -w {output} -- {text}'."
            )
        return speak(self.text, command)

    @property
    def output(self) -> Path:
        """PORTRAIT-AUDIO.mp4 in the current folder."""
        said = "group" if self.voices else "text"
        if self.audios:
            said = "piped" if is_piped(Path(self.audios[0])) else stem_of(self.audios[0])
        return Path(f"{stem_of(self.portrait or '')}-{said}.mp4")


def command(
    *,
    inputs: Inputs,
    files: Files,
    is_draft: bool = option(
        False, "Render the first two seconds (or --duration) into OUT.draft.mp4.", "--draft"
    ),
    dry_run: bool = option(False, "Check everything, show the plan and stop."),
    shown: Shown,
    given: Sources,
) -> None:
    """Render a video in which the portrait speaks the recording.

    Example:
        hallo render portrait.jpg speech.wav -o out.mp4

    Ctrl-C stops after the current clip. The same command resumes, also after a crash. A record, OUT.json, is
    written beside the video; --from OUT.json repeats the render, --from OUT.json --audio AUDIO corrects it.

    Exit status: 0 done, 1 failed, 2 wrong usage or settings, 3 a bug, 4 unusable input, 5 weights missing,
    6 out of memory, 130 or 143 interrupted.
    """
    shown.start_log()
    with failures_as_json(shown.as_json):
        if is_draft:
            given = dataclasses.replace(given, flags={"duration": DRAFT_S, **given.flags})
        renderer, job, options = _job(inputs, files, given)
        if is_draft:
            job = dataclasses.replace(job, output=job.output.with_suffix(f".draft{job.output.suffix}"))
            options = dataclasses.replace(options, overwrite=True)
        if dry_run:
            _show_plan(renderer, job, options, shown)
        else:
            render(renderer, job, options, shown)


def render(renderer: Renderer, job: Job, options: RunOptions, shown: Shown) -> None:
    """Run a job with progress and signal handling. Print the output's path."""
    from hallo_cli.jobs.runner import StopRequest

    stop = StopRequest()
    with (
        showing(shown.progress, is_quiet=shown.is_quiet) as tell_people,
        obeying_signals(stop.ask, in_hand="the current clip"),
    ):

        def tell(event: Event) -> None:
            tell_people(event)
            if shown.as_json:
                answer(to_json(event))

        result = renderer.run(job, progress=tell, stop=stop, options=options)
    if not shown.is_quiet:
        said = "is already there" if result.was_done else f"rendered in {clock(result.seconds)}"
        length = f"{result.n_frames} frames, {result.n_frames / result.fps:.1f} s"
        say(f"{job.output}: {length}, {said}")
        if options.sending:
            say(f"sent to {options.sending}")
        if result.n_taken:
            n_new = result.n_frames - result.n_taken
            say(f"rendered again: {n_new / result.fps:.1f} s; the rest is from the earlier render")
        if result.kept:
            from hallo_cli.jobs.workspace import Workspace

            say(f"kept {result.kept}: {Workspace(result.kept).size / 2**20:.1f} MiB")
    if not shown.as_json:
        answer(str(job.output))


def _show_plan(renderer: Renderer, job: Job, options: RunOptions, shown: Shown) -> None:
    """Check everything as a render does, and report what it would make."""
    if job.voices:
        raise SettingsError("--dry-run checks one face: leave --face out and name it with --face-index.")
    from hallo_cli.jobs.marking import Marking
    from hallo_cli.jobs.runner import find_obstacles

    options = dataclasses.replace(options, marking=Marking.of(renderer.engine.runtime))
    find_obstacles(settled(job, renderer.engine), options)
    report(job, renderer, as_json=shown.as_json)


def _job(inputs: Inputs, files: Files, given: Sources) -> tuple[Renderer, Job, RunOptions]:
    """The job for inputs, or for the record of an earlier render, and how to run it."""
    options = files.run_options()
    if inputs.record or inputs.corrected is not None:
        record = _record_alone(inputs)
        return Renderer.of_record(record, files.place, given, audio=inputs.corrected, options=options)
    if inputs.portrait is None or not inputs.are_heard:
        raise SettingsError("give a PORTRAIT and an AUDIO file (or --text); see hallo render --help.")
    if inputs.audios and inputs.text is not None:
        raise SettingsError("give AUDIO or --text, not both.")
    if inputs.voices and (inputs.audios or inputs.text is not None):
        raise SettingsError("give --face for each face that speaks, or AUDIO or --text, not both.")
    renderer = Renderer.of(resolve(given))
    output = files.place or inputs.output
    if inputs.voices:
        return renderer, renderer.group_job(inputs.portrait, inputs.voices, output), options
    if given.flags.get("burn") and renderer.resolved.render.subtitles is None:
        raise SettingsError("--burn needs --subtitles FILE.srt.")
    audio = inputs.recording(renderer.resolved.runtime.speak)
    return renderer, renderer.job(inputs.portrait, audio, output), options


def _record_alone(inputs: Inputs) -> Path:
    """The record of --from. Raises SettingsError if there is none, or it is combined with other inputs."""
    if inputs.record is None:
        raise SettingsError("--audio corrects an earlier render: add its record with --from OUT.json.")
    if inputs.portrait or inputs.are_heard:
        raise SettingsError(
            "--from takes portrait and recording from the record. Leave PORTRAIT and AUDIO out; "
            "--audio names a corrected recording."
        )
    return inputs.record


def _require_no_output(audios: Iterable[str]) -> None:
    """Raise SpeechError if a recording seems to be the output without its -o."""
    for audio in audios:
        path = Path(audio)
        if path.suffix.lower() in OUTPUTS and not is_address(audio) and not os.path.exists(at_home(path)):
            video = path if path.suffix.lower() in SUFFIXES else path.with_suffix(".mp4")
            raise SpeechError(
                f"The recording {audio!r} does not exist. If it is the video to make, write -o {video}; "
                "else check the path."
            )
