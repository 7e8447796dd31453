"""Makes a batch of the rows that a person approved: its manifest, with the settings of the better picture."""

import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from hallo_cli.batch.columns import PRIORITY, TEXT
from hallo_cli.batch.ledger import Record
from hallo_cli.batch.rows import BadRow, Row
from hallo_cli.errors import ManifestError
from hallo_cli.media.files import shown
from hallo_cli.settings.schema import RenderSettings, Value
from hallo_cli.settings.values import fields_of, limits_of
from hallo_cli.store.writing import write_whole


def promoted_lines(
    rows: Iterable[Row | BadRow],
    approved: Mapping[str, Record],
    *,
    output_dir: Path,
    replaced: Collection[str],
) -> dict[str, dict[str, object]]:
    """A manifest's line for each approved row, by id.

    A line keeps the row's own settings but those in `replaced`, and the seed of the approved video. Videos
    keep their names, in another folder.
    """
    return {
        row.id: _line(row, approved[row.id], output_dir, replaced)
        for row in rows
        if isinstance(row, Row) and row.id in approved
    }


def write_promoted(
    manifest: Path, lines: Mapping[str, Mapping[str, object]], *, dropped: Collection[str]
) -> int:
    """Add the lines to a manifest, which earlier decisions may have made; returns its number of rows.

    Rows that are in `dropped` go. Raises ManifestError, OutputError.
    """
    kept = {name: line for name, line in _read(manifest).items() if name not in dropped}
    merged = {**kept, **lines}
    text = "".join(f"{json.dumps(dict(line), ensure_ascii=False)}\n" for line in merged.values())
    write_whole(manifest, text.encode())
    return len(merged)


def _line(row: Row, video: Record, output_dir: Path, replaced: Collection[str]) -> dict[str, object]:
    inputs = row.sources
    if TEXT in row.own:
        del inputs["audio"]  # spoken anew, from the row's own cells
    settings = {key: value for key, value in row.settings.items() if key not in replaced}
    if video.seed is not None:
        settings["seed"] = video.seed
    inside = row.output.is_relative_to(output_dir)
    return {
        "id": row.id,
        **inputs,
        "output": os.path.relpath(row.output, output_dir) if inside else row.output.name,
        **({PRIORITY: row.priority} if row.priority else {}),
        **{key: _written(key, value) for key, value in settings.items()},
        **row.own,
    }


def _written(key: str, value: Value) -> Value:
    """A setting as a manifest has it: a cell that is empty would count as left out."""
    return limits_of(fields_of(RenderSettings)[key]).none_word if value is None else value


def _read(manifest: Path) -> dict[str, dict[str, object]]:
    """The lines that are there. Raises ManifestError if they are not what `write_promoted` writes."""
    if not manifest.exists():
        return {}
    try:
        lines = [json.loads(text) for text in manifest.read_bytes().splitlines()]
        return {str(line["id"]): line for line in lines}
    except (OSError, ValueError, RecursionError, TypeError, KeyError) as error:
        raise ManifestError(
            f"{shown(manifest)} is not a manifest of promoted rows. Move it away, or choose another --name."
        ) from error
