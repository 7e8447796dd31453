"""What `hallo train stage1` and `stage2` show of a run: JSON lines, or lines and a bar with the time left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hallo_cli.cli.console import answer
from hallo_cli.errors import printable

if TYPE_CHECKING:
    from tqdm import tqdm

    from hallo_cli.training.logs import Logged, TrainingEvent

BAR = "{percentage:3.0f}%|{bar:40}| {desc}"


@contextmanager
def shown_events(*, as_json: bool) -> Iterator[Callable[[TrainingEvent], None]]:
    """A listener for a run's events; the bar is drawn where standard error is a terminal."""
    if as_json:
        from hallo_cli.training.logs import to_json

        yield lambda event: answer(to_json(event))
        return
    from tqdm import tqdm

    is_drawn = sys.stderr.isatty()
    with tqdm(total=1.0, bar_format=BAR, file=sys.stderr, disable=not is_drawn, leave=False) as bar:
        yield lambda event: _show(event, bar)


def _show(event: TrainingEvent, bar: tqdm[None]) -> None:
    from hallo_cli.training.logs import Logged

    bar.write(printable(_line(event)), file=sys.stderr)
    if isinstance(event, Logged):
        bar.n = event.share
        bar.set_description_str(f"{event.minutes_left:.0f} min left")


def _line(event: TrainingEvent) -> str:
    from hallo_cli.training.logs import Logged, Rendered, Spoken, Validated

    if isinstance(event, Logged):
        return f"step {event.step}  {_figures(event)}"
    if isinstance(event, Validated):
        return f"step {event.step}  validation loss {event.validation_loss:.4f}"
    if isinstance(event, Rendered):
        found = event.opening_correlation
        follows = "no faces to measure" if found is None else f"mouth correlation {found:.2f}"
        return f"step {event.step}  {follows}  {event.sheet}"
    if isinstance(event, Spoken):
        return f"step {event.step}  {event.n_videos} videos in {event.folder}"
    return f"step {event.step}  saved {event.checkpoint}"


def _figures(event: Logged) -> str:
    return (
        f"loss {event.loss:.4f}  gradient {event.gradient_norm:.2f}  lr {event.learning_rate:.2e}  "
        f"{event.frames_per_s:.1f} frames/s  {event.minutes:.1f} min, {event.minutes_left:.1f} left"
    )
