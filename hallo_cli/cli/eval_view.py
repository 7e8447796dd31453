"""What `hallo eval` shows: tables or JSON, and a page with plots."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.cli.console import answer, plain, say
from hallo_cli.errors import HalloError
from hallo_cli.evaluation.figures import VideoFigures

if TYPE_CHECKING:
    from hallo_cli.evaluation.curves import Curves
    from hallo_cli.evaluation.distribution import Kind

SCHEMA = 1


@dataclass(frozen=True)
class Measured:
    """The figures of one video, or its error."""

    video: Path
    figures: VideoFigures | None = None
    error: str | None = None
    curves: Curves | None = None


@dataclass(frozen=True)
class Distances:
    """Fréchet distances of all measured videos to the real ones; for the others, the reason."""

    values: dict[Kind, float] = field(default_factory=dict)
    errors: dict[Kind, HalloError] = field(default_factory=dict)


def show(results: list[Measured], distances: Distances, *, as_json: bool) -> None:
    """Print the figures of all videos: a table each, or one JSON object."""
    if as_json:
        answer(json.dumps(_to_dict(results, distances), allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Table

    from hallo_cli.evaluation.distribution import LABELS

    console = Console()
    for result in results:
        table = Table("figure", "value", title=plain(result.video))
        for label, value in result.figures.rows() if result.figures else [("error", result.error or "")]:
            table.add_row(label, plain(value))
        console.print(table)
        for note in result.figures.notes if result.figures else ():
            answer(f"note: {note}")
    for name, distance in distances.values.items():
        answer(f"{LABELS[name]}: {distance:.3f}")
    for name, error in distances.errors.items():
        answer(f"{LABELS[name]}: not measured: {error}")


def write_videos_page(page: Path, results: list[Measured]) -> None:
    """Write a page with the plots and figures of all videos. Raises OutputError."""
    from hallo_cli.evaluation.plots import plots, table, text, write_page

    def parts() -> Iterator[str]:
        for result in results:
            yield f"<h2>{text(result.video)}</h2>\n"
            if result.curves is None or result.figures is None:
                yield f"<p>{text(result.error)}</p>\n"
                continue
            yield plots(result.curves)
            yield table([*result.figures.rows(), *(("note", note) for note in result.figures.notes)])

    write_page(page, page.stem, parts())
    n_plotted = sum(result.curves is not None for result in results)
    say(f"{page}: {n_plotted} video{'s' if n_plotted != 1 else ''} with plots")


def _to_dict(results: list[Measured], distances: Distances) -> dict[str, object]:
    videos = [
        {
            "video": str(result.video),
            "error": result.error,
            "figures": result.figures.to_dict() if result.figures else None,
        }
        for result in results
    ]
    errors = {name: str(error) for name, error in distances.errors.items()}
    return {"schema": SCHEMA, "videos": videos, "distances": distances.values, "distance_errors": errors}
