"""`hallo eval`: figures of rendered videos, as a table or as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hallo_cli.cli.options import takes_settings
from hallo_cli.errors import HalloError, InputError, SettingsError

if TYPE_CHECKING:
    from hallo_cli.evaluation.figures import VideoFigures
    from hallo_cli.evaluation.syncnet import SyncNet

SCHEMA = 1


@dataclass(frozen=True)
class Companions:
    """What a video may be compared with, as options."""

    audio: Annotated[
        Path | None, typer.Option(help="The recording (default: the video's own sound).", show_default=False)
    ] = None
    portrait: Annotated[
        Path | None, typer.Option(help="The portrait (default: the first frame).", show_default=False)
    ] = None
    truth: Annotated[
        Path | None, typer.Option(help="The true video of the same speech.", show_default=False)
    ] = None


@dataclass(frozen=True)
class NetworkFiles:
    """Networks that the user supplies, as options."""

    fid_network: Annotated[
        Path | None,
        typer.Option(
            help="For FID: the TorchScript Inception of the StyleGAN releases (inception-2015-12-05.pt).",
            show_default=False,
        ),
    ] = None
    fvd_network: Annotated[
        Path | None,
        typer.Option(
            help="For FVD: the TorchScript I3D of the StyleGAN-V release (i3d_torchscript.pt).",
            show_default=False,
        ),
    ] = None
    efid_network: Annotated[
        Path | None,
        typer.Option(
            help="For E-FID: any TorchScript network from frames to expression coefficients.",
            show_default=False,
        ),
    ] = None
    syncnet: Annotated[
        Path | None,
        typer.Option(
            help="For Sync-C and Sync-D: SyncNet's published weights, syncnet_v2.model from "
            "www.robots.ox.ac.uk/~vgg/software/lipsync/data.",
            show_default=False,
        ),
    ] = None
    reference_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of real videos that FID, FVD and E-FID compare with.", show_default=False),
    ] = None

    def load(self) -> Networks:
        """Read the files. Raises SettingsError where the folder is missing, WeightsError."""
        files = {"fid": self.fid_network, "fvd": self.fvd_network, "efid": self.efid_network}
        named = {name: file for name, file in files.items() if file is not None}
        if bool(named) != (self.reference_dir is not None):
            raise SettingsError(
                "FID, FVD and E-FID need both: --reference-dir, a folder of real videos, and a network "
                "(--fid-network, --fvd-network, --efid-network; see hallo eval --help)."
            )
        from hallo_cli.evaluation.distribution import load_network

        distances = {name: load_network(file) for name, file in named.items()}
        if self.syncnet is None:
            return Networks(distances)
        from hallo_cli.evaluation.syncnet import load_syncnet

        return Networks(distances, load_syncnet(self.syncnet))


@dataclass(frozen=True)
class Networks:
    """The same, loaded."""

    distances: dict[str, Any]
    syncnet: SyncNet | None = None


@dataclass(frozen=True)
class Row:
    """One video to measure, with what it may be compared with."""

    video: Path
    companions: Companions = field(default_factory=Companions)


@takes_settings
def command(
    videos: Annotated[
        list[Path] | None, typer.Argument(help="Rendered videos.", metavar="VIDEO...", show_default=False)
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="CSV with columns video, audio, portrait, truth instead of arguments.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    *,
    companions: Companions,
    files: NetworkFiles,
) -> None:
    """Measure rendered videos: lips against speech, likeness to the portrait, flicker, drift, seams.

    Everything runs on the CPU with the face networks of this package. Figures of the literature (FID, FVD,
    E-FID, Sync-C, Sync-D) need network files that you fetch yourself: their licences keep them out of this
    package.
    """
    rows = _rows(videos or [], manifest, companions)
    networks = files.load()
    results = [_measured(row, networks, is_only=len(rows) == 1) for row in rows]
    distances = {}
    if files.reference_dir:
        from hallo_cli.evaluation.video import measure_set

        distances = measure_set([row.video for row in rows], files.reference_dir, networks.distances)
    _show(results, distances, as_json=as_json)
    if any(error for _, _, error in results):
        raise typer.Exit(1)


def _measured(row: Row, networks: Networks, *, is_only: bool) -> tuple[Row, VideoFigures | None, str | None]:
    """The figures of one video, or what is wrong with it."""
    from hallo_cli.evaluation.video import measure_video, with_lip_sync

    beside = row.companions
    try:
        figures = measure_video(row.video, audio=beside.audio, portrait=beside.portrait, truth=beside.truth)
        if networks.syncnet is not None:
            figures = with_lip_sync(figures, row.video, networks.syncnet, audio=beside.audio)
    except HalloError as error:
        if is_only:
            raise
        return row, None, str(error)
    return row, figures, None


def _rows(videos: list[Path], manifest: Path | None, shared: Companions) -> list[Row]:
    if manifest is None:
        if not videos:
            raise SettingsError("nothing to measure: name one or more videos, or --manifest FILE.csv")
        if len(videos) > 1 and (shared.audio or shared.truth):
            raise SettingsError("--audio and --truth go with one video; use --manifest for several")
        return [Row(video, shared) for video in videos]
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
        Row(
            folder / record["video"],
            Companions(path(record, "audio"), path(record, "portrait"), path(record, "truth")),
        )
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
