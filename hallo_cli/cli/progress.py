"""Shows what a job does: a bar for terminals, plain lines for logs, JSON lines for programs."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import typer

from hallo_cli.cli.console import answer, plain, say
from hallo_cli.cli.options import option, rare
from hallo_cli.errors import BUG_STATUS, HalloError, PrintableFormatter
from hallo_cli.jobs import events
from hallo_cli.jobs.events import EVENTS_VERSION, Event, Listener, to_json

if TYPE_CHECKING:
    from rich.progress import Progress

PLAIN_INTERVAL_S = 10.0  # seconds between two lines about frames in a log
LONGEST_LINE = 68  # columns, besides the bar and ^C: a wrapped line would be left behind
STAGES = {
    "analyse": "analysing portrait and recording",
    "load": "loading the networks",
    "render": "rendering",
    "join": "joining segments and sound",
    "send": "uploading the video",
}
Style = Literal["auto", "bar", "plain", "json", "none"]  # how progress is shown


@dataclass(frozen=True)
class Shown:
    """The options about what a run prints."""

    as_json: bool = rare(False, "Print JSON events, one a line.", "--json")
    progress: Style = rare("auto", "How progress is shown on standard error.")
    is_quiet: bool = option(False, "Print only errors and the result.", "-q", "--quiet")
    verbosity: int = rare(
        0, "Print more; -vv prints everything.", "-v", "--verbose", count=True, show_default=False
    )

    def start_log(self) -> None:
        """Show the package's own messages: warnings, with -v what is done, with -vv everything."""
        level = [logging.WARNING, logging.INFO, logging.DEBUG][min(self.verbosity, 2)]
        handler = SayingHandler()
        handler.setFormatter(PrintableFormatter("hallo: %(message)s"))
        logging.basicConfig(handlers=[handler])
        logging.getLogger("hallo_cli").setLevel(logging.ERROR if self.is_quiet else level)


class SayingHandler(logging.Handler):
    """Prints log messages above a live view."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message and its traceback."""
        for line in self.format(record).split("\n"):
            say(line)


@dataclass
class Speed:
    """The frames per second of this run, and the time left."""

    clock: Callable[[], float] = time.monotonic
    started: float | None = None
    first: int = 0
    done: int = 0
    total: int = 0

    def update(self, done: int, total: int) -> None:
        """Record how many frames are done; the first call marks where this run began."""
        if self.started is None:
            self.started, self.first = self.clock(), done
        self.done, self.total = done, total

    @property
    def fps(self) -> float | None:
        """Frames a second; None before the first clip."""
        if self.started is None or self.done <= self.first:
            return None
        return (self.done - self.first) / max(self.clock() - self.started, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the last frame; None before the first clip."""
        return (self.total - self.done) / self.fps if self.fps else None

    def __str__(self) -> str:
        """As in "4.2 frames/s, 0:01:30 left"."""
        if self.fps is None or self.seconds_left is None:
            return ""
        return f"{self.fps:.1f} frames/s, {clock(self.seconds_left)} left"


def chosen(style: Style) -> Style:
    """What `auto` means on this terminal."""
    if style != "auto":
        return style
    return "bar" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"


@contextmanager
def showing(style: Style, *, is_quiet: bool = False) -> Iterator[Listener]:
    """A listener that shows events in this style on standard error."""
    style = chosen(style)
    if style == "json":
        yield lambda event: say(to_json(event))
    elif is_quiet:
        yield lambda event: None
    elif style == "none":
        yield say_warning
    elif style == "plain":
        yield PlainLines().show
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(stderr=True)
        bar = BarColumn(min(40, max(8, console.width - LONGEST_LINE)))
        columns = (TextColumn("{task.description}"), bar, TextColumn("{task.fields[detail]}"))
        with Progress(*columns, console=console, transient=True) as progress:
            yield Bar(progress).show


@dataclass
class PlainLines:
    """One line for each stage and, every few seconds, for the frames done."""

    speed: Speed = field(default_factory=Speed)
    last: float = 0.0

    def show(self, event: Event) -> None:
        """Listen to one event."""
        if isinstance(event, events.ClipRendered):
            self.speed.update(event.frames_done, event.n_frames)
            is_last = event.frames_done == event.n_frames
            if not is_last and self.speed.clock() - self.last < PLAIN_INTERVAL_S:
                return
            self.last = self.speed.clock()
        text = describe(event, self.speed)
        if text:
            say(text)


@dataclass
class Bar:
    """A bar over the frames, with stage, clip, speed and time left."""

    progress: Progress
    speed: Speed = field(default_factory=Speed)
    n_clips: int = 0
    step: str = ""

    def __post_init__(self) -> None:
        self.task = self.progress.add_task("starting", total=None, detail="")

    def show(self, event: Event) -> None:
        """Listen to one event."""
        match event:
            case events.StageStarted():
                self.progress.update(self.task, description=STAGES[event.stage], detail="")
            case events.Planned():
                self.n_clips = event.n_clips
                self.progress.update(self.task, total=event.n_frames, completed=event.frames_done)
            case events.StepRendered():
                self._show_clip(event.clip, f" step {event.step}/{event.n_steps}")
            case events.ClipRendered():
                self.speed.update(event.frames_done, event.n_frames)
                self.progress.update(self.task, completed=event.frames_done)
                self._show_clip(event.clip, "")
            case events.FellBack() | events.Warned():
                self.progress.console.print(plain(describe(event, self.speed)))

    def _show_clip(self, clip: int, step: str) -> None:
        detail = f"clip {clip + 1}/{self.n_clips}{step}  {self.speed}"
        self.progress.update(self.task, detail=detail)


def describe(event: Event, speed: Speed) -> str:
    """One event for people; empty where it is not worth a line."""
    match event:
        case events.StageStarted():
            return STAGES[event.stage]
        case events.Planned():
            kept = f", {event.frames_done} done by an earlier run" if event.frames_done else ""
            return f"{event.n_frames} frames in {event.n_clips} clips{kept}; work is kept in {event.work_dir}"
        case events.ClipRendered():
            return f"{event.frames_done}/{event.n_frames} frames {speed}".rstrip()
        case events.Warned():
            return f"warning: {event.message}"
        case events.FellBack():
            return f"out of memory ({event.reason}): continuing with {event.fallback}"
        case _:
            return ""


def say_warning(event: Event) -> None:
    """An event that is shown even with --progress none."""
    if isinstance(event, events.Warned):
        say(describe(event, Speed()))


def clock(seconds: float) -> str:
    """A time as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


@contextmanager
def failures_as_json(is_wanted: bool) -> Iterator[None]:
    """With --json, print why the command failed as the last event on standard output."""
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:  # reported as an event, then raised on to the boundary
        if is_wanted:
            _print_failure(error)
        raise


def _print_failure(error: Exception) -> None:
    import json

    line: dict[str, object] = {"version": EVENTS_VERSION, "event": "failed"}
    if isinstance(error, HalloError):
        line |= {"kind": type(error).__name__, "message": str(error), "exit_status": error.exit_status}
    else:
        line |= {"kind": "Bug", "message": f"{type(error).__name__}: {error}", "exit_status": BUG_STATUS}
    answer(json.dumps(line))
