"""`hallo eval`: figures of rendered videos, as a table or as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hallo_cli.errors import HalloError, InputError, SettingsError

if TYPE_CHECKING:
    from hallo_cli.evaluation.figures import VideoFigures

SCHEMA = 1
NETWORKS_HELP = (
    "FID: the TorchScript Inception of the StyleGAN releases (inception-2015-12-05.pt). "
    "FVD: the TorchScript I3D of the StyleGAN-V release (i3d_torchscript.pt). "
    "E-FID: any TorchScript network from frames to expression coefficients. Fetch them yourself: "
    "their licences keep them out of this package."
)


@dataclass(frozen=True)
class Row:
    """One video to measure, with what it may be compared with."""

    video: Path
    audio: Path | None = None
    portrait: Path | None = None
    truth: Path | None = None


def command(
    videos: Annotated[
        list[Path] | None, typer.Argument(help="Rendered videos.", metavar="VIDEO...", show_default=False)
    ] = None,
    audio: Annotated[
        Path | None, typer.Option(help="The recording (default: the video's own sound).", show_default=False)
    ] = None,
    portrait: Annotated[
        Path | None, typer.Option(help="The portrait (default: the first frame).", show_default=False)
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="The true video of the same speech.", show_default=False)
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="CSV with columns video, audio, portrait, truth instead of arguments.", show_default=False
        ),
    ] = None,
    reference_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of real videos that the distribution figures compare with.", show_default=False
        ),
    ] = None,
    fid_network: Annotated[Path | None, typer.Option(help="Inception for FID.", show_default=False)] = None,
    fvd_network: Annotated[Path | None, typer.Option(help="I3D for FVD.", show_default=False)] = None,
    efid_network: Annotated[
        Path | None, typer.Option(help="Expression network for E-FID.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Measure rendered videos: lips against speech, likeness to the portrait, flicker, drift, seams.

    Everything runs on the CPU with the face networks of this package. FID, FVD and E-FID need --reference-dir
    and a network file each.
    """
    rows = _rows(videos or [], manifest, Row(Path(), audio, portrait, truth))
    networks = {"fid": fid_network, "fvd": fvd_network, "efid": efid_network}
    if any(networks.values()) and reference_dir is None:
        raise SettingsError(f"--reference-dir is missing: give a folder of real videos. {NETWORKS_HELP}")
    from hallo_cli.evaluation.video import measure_set, measure_video

    results: list[tuple[Row, VideoFigures | None, str | None]] = []
    for row in rows:
        try:
            figures = measure_video(row.video, audio=row.audio, portrait=row.portrait, truth=row.truth)
            results.append((row, figures, None))
        except HalloError as error:
            if len(rows) == 1:
                raise
            results.append((row, None, str(error)))
    used = {name: file for name, file in networks.items() if file is not None}
    distances = (
        measure_set([row.video for row in rows], reference_dir, used) if reference_dir and used else {}
    )
    _show(results, distances, as_json=as_json)
    if any(error for _, _, error in results):
        raise typer.Exit(1)


def _rows(videos: list[Path], manifest: Path | None, shared: Row) -> list[Row]:
    if manifest is None:
        if not videos:
            raise SettingsError("nothing to measure: name one or more videos, or --manifest FILE.csv")
        if len(videos) > 1 and (shared.audio or shared.truth):
            raise SettingsError("--audio and --truth go with one video; use --manifest for several")
        return [Row(video, shared.audio, shared.portrait, shared.truth) for video in videos]
    if videos:
        raise SettingsError("give either videos or --manifest, not both")
    return _read_manifest(manifest)


def _read_manifest(manifest: Path) -> list[Row]:
    import csv

    columns = {"video", "audio", "portrait", "truth"}
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            unknown = set(reader.fieldnames or []) - columns
            if unknown or "video" not in (reader.fieldnames or []):
                raise InputError(
                    f"{manifest}: columns {', '.join(reader.fieldnames or ['(none)'])}; expected video and "
                    "any of audio, portrait, truth"
                )
            records = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{manifest}: cannot be read as a CSV manifest ({error})") from error
    folder = manifest.parent

    def path(record: dict[str, str], name: str) -> Path | None:
        value = record.get(name)
        return folder / value if value else None

    missing = [number for number, record in enumerate(records, 2) if not record.get("video")]
    if missing:
        raise InputError(f"{manifest}: line {missing[0]}: the video is missing")
    return [
        Row(folder / record["video"], path(record, "audio"), path(record, "portrait"), path(record, "truth"))
        for record in records
    ]


def _show(
    results: list[tuple[Row, VideoFigures | None, str | None]], distances: dict[str, float], *, as_json: bool
) -> None:
    if as_json:
        videos = [
            {"video": str(row.video), "error": error, "figures": figures.to_dict() if figures else None}
            for row, figures, error in results
        ]
        typer.echo(json.dumps({"schema": SCHEMA, "videos": videos, "distances": distances}, allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for row, figures, error in results:
        table = Table("figure", "value", title=str(row.video))
        for label, value in figures.rows() if figures else [("error", error or "")]:
            table.add_row(label, value)
        console.print(table)
        for note in figures.notes if figures else ():
            console.print(f"note: {note}")
    for name, distance in distances.items():
        console.print(f"{name.upper()}: {distance:.3f}")
