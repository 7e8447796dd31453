"""`hallo eval`: measures rendered videos and prints a table or JSON."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hallo_cli.cli.eval_view import Distances, Measured, show, write_videos_page
from hallo_cli.cli.options import AS_JSON, argument, option
from hallo_cli.errors import HalloError, InputError, SettingsError

if TYPE_CHECKING:
    from hallo_cli.analysis.identity import IdentityNetwork
    from hallo_cli.evaluation.distribution import FeatureNetwork, Kind
    from hallo_cli.evaluation.syncnet import SyncNet

COLUMNS = {"video", "audio", "portrait", "truth"}  # of a manifest
_network = functools.partial(option, None, rich_help_panel="Networks")  # shown with --help-all


@dataclass(frozen=True)
class Companions:
    """The options about what a video is compared with."""

    audio: Path | None = option(None, "The recording.  [default: the video's sound]")
    portrait: Path | None = option(None, "The portrait.  [default: the first frame]")
    truth: Path | None = option(None, "The true video of the same speech.")


@dataclass(frozen=True)
class NetworkFiles:
    """The options about networks that the user supplies."""

    bundle: str | None = _network(
        "Weights whose face networks measure identity.  [default: the official ones if installed; else the "
        "upper faces are compared]",
        metavar="NAME|DIR",
    )
    fid_network: Path | None = _network(
        "For FID: the TorchScript Inception of the StyleGAN releases, inception-2015-12-05.pt. "
        "(The .pth of pytorch-fid is not TorchScript.)"
    )
    fvd_network: Path | None = _network(
        "For FVD: the TorchScript I3D that StyleGAN-V uses, i3d_torchscript.pt."
    )
    efid_network: Path | None = _network(
        "For E-FID: a TorchScript network from frames, uint8 [n, 3, height, width], to expression "
        "coefficients [n, channels]. Papers use the 64 of Deep3DFaceRecon_pytorch; export it together "
        "with its face crop."
    )
    syncnet: Path | None = _network("For Sync-C and Sync-D: SyncNet's published weights, syncnet_v2.model.")
    reference_dir: Path | None = _network("A folder of real videos for FID, FVD and E-FID.", metavar="DIR")

    def load_networks(self) -> Networks:
        """Read the files. Raises SettingsError or InputError for the folder of real videos, WeightsError."""
        files: dict[Kind, Path | None] = {
            "fid": self.fid_network,
            "fvd": self.fvd_network,
            "efid": self.efid_network,
        }
        if any(files.values()) != (self.reference_dir is not None):
            raise SettingsError(
                "FID, FVD and E-FID need both: --reference-dir, a folder of real videos, and a network "
                "(--fid-network, --fvd-network, --efid-network; see hallo docs evaluation)."
            )
        from hallo_cli.analysis.of_bundle import find_identity
        from hallo_cli.evaluation.distribution import load_network
        from hallo_cli.evaluation.measure_video import videos_in

        syncnet = None
        if self.syncnet is not None:
            from hallo_cli.evaluation.syncnet import load_syncnet

            syncnet = load_syncnet(self.syncnet)
        return Networks(
            distances=[load_network(kind, file) for kind, file in files.items() if file is not None],
            real=[] if self.reference_dir is None else videos_in(self.reference_dir),
            syncnet=syncnet,
            identity=find_identity(self.bundle),
        )


@dataclass(frozen=True)
class Networks:
    """The loaded networks."""

    distances: list[FeatureNetwork]
    real: list[Path]  # the videos that distances are to
    syncnet: SyncNet | None
    identity: IdentityNetwork | None


def command(
    videos: list[Path] | None = argument(None, "Rendered videos.", metavar="VIDEO..."),
    manifest: Path | None = option(
        None,
        "A CSV with columns video, audio, portrait, truth. --audio, --portrait and --truth fill empty cells.",
        metavar="FILE",
    ),
    page: Path | None = option(
        None,
        "Also write a page with plots: mouth over speech, motion and joins, drift.",
        "--html",
        metavar="PAGE.html",
    ),
    as_json: bool = AS_JSON,
    *,
    companions: Companions,
    files: NetworkFiles,
) -> None:
    """Measure the quality of rendered videos.

    Example:
        hallo eval out.mp4 --portrait portrait.jpg

    It measures lips against speech, likeness to the portrait, flicker, drift and joins, on the CPU. FID, FVD,
    E-FID, Sync-C and Sync-D need networks whose licences keep them out of this package; hallo docs evaluation
    says where to get them.
    """
    rows = _rows(videos or [], manifest, companions)
    networks = files.load_networks()
    results = [_measured(*row, networks, is_only=len(rows) == 1) for row in rows]
    distances = _distances([result.video for result in results if result.figures], networks)
    show(results, distances, as_json=as_json)
    if page is not None:
        write_videos_page(page, results)
    if any(result.error for result in results):
        raise typer.Exit(1)
    if distances.errors:
        raise typer.Exit(next(iter(distances.errors.values())).exit_status)


def _measured(video: Path, beside: Companions, networks: Networks, *, is_only: bool) -> Measured:
    """Measure one video; an error is raised only if there is no other video."""
    from hallo_cli.evaluation.measure_video import measure_video, with_lip_sync

    try:
        figures, curves = measure_video(video, **vars(beside), identity=networks.identity)
        if networks.syncnet is not None:
            figures = with_lip_sync(figures, video, networks.syncnet, audio=beside.audio)
    except HalloError as error:
        if is_only:
            raise
        return Measured(video, error=str(error))
    return Measured(video, figures, curves=curves)


def _distances(videos: list[Path], networks: Networks) -> Distances:
    """All figures that can be measured; an error in one does not stop the others."""
    from hallo_cli.evaluation.measure_video import set_distance

    found = Distances()
    for network in networks.distances if videos else ():
        try:
            found.values[network.kind] = set_distance(network, videos, networks.real)
        except HalloError as error:
            found.errors[network.kind] = error
    return found


def _rows(videos: list[Path], manifest: Path | None, shared: Companions) -> list[tuple[Path, Companions]]:
    """The videos to measure. Raises SettingsError, InputError."""
    if manifest is None:
        if not videos:
            raise SettingsError("nothing to measure: name one or more videos, or --manifest FILE.csv")
        if len(videos) > 1 and (shared.audio or shared.truth):
            raise SettingsError("--audio and --truth belong to one video; use --manifest for several")
        return [(video, shared) for video in videos]
    if videos:
        raise SettingsError("give either videos or --manifest, not both")
    rows = []
    for number, record in enumerate(_read_manifest(manifest), 2):
        paths = {name: manifest.parent / record[name] for name in COLUMNS if record.get(name)}
        if "video" not in paths:
            raise InputError(f"{manifest}: line {number}: the video is missing")
        rows.append((paths.pop("video"), dataclasses.replace(shared, **paths)))
    return rows


def _read_manifest(manifest: Path) -> list[dict[str, str]]:
    import csv

    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            if "video" not in columns or set(columns) - COLUMNS:
                raise InputError(
                    f"{manifest}: columns {', '.join(columns or ['(none)'])}; expected video and any of "
                    "audio, portrait, truth"
                )
            records = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{manifest}: cannot be read as a CSV manifest ({error})") from error
    if not records:
        raise InputError(f"{manifest}: no rows under the header; list a video in each")
    return records
