"""The options of `hallo batch` as data: each field is one flag, and all of them fit into the ledger."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hallo_cli.cli.batch_view import PORCELAIN
from hallo_cli.cli.options import Given
from hallo_cli.errors import JobError, SettingsError
from hallo_cli.settings.canvas import colour_of

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt")
RESULTS = ".results.jsonl"
STDIN = "-"


class Pairing(StrEnum):
    """How two folders are paired."""

    cross = "cross"
    zip = "zip"
    stem = "stem"


class EngineKind(StrEnum):
    """Where workers run."""

    local = "local"
    ray = "ray"


@dataclass(frozen=True)
class BatchOptions:
    """What was typed, so that `retry` can read it back from the ledger; paths are texts for that reason."""

    manifest: Annotated[
        str,
        typer.Argument(
            help="CSV with a header, or JSON Lines: portrait and audio; id, output, preset, any setting. "
            "`-` reads standard input.",
            show_default=False,
        ),
    ] = ""
    portraits: Annotated[
        str,
        typer.Option(help="A folder of pictures, instead of a manifest.", metavar="DIR", show_default=False),
    ] = ""
    audios: Annotated[
        str,
        typer.Option(help="A folder of recordings to go with it.", metavar="DIR", show_default=False),
    ] = ""
    pairing: Annotated[Pairing, typer.Option("--pair", help="Each with each, in order, or by name.")] = (
        Pairing.cross
    )
    may_be_alone: Annotated[
        bool,
        typer.Option(
            "--allow-unmatched", help="With --pair stem: leave out files without a partner, with a warning."
        ),
    ] = False
    root: Annotated[
        str,
        typer.Option(
            help="Where relative inputs lie (default: the manifest's folder).",
            metavar="DIR",
            show_default=False,
        ),
    ] = ""
    output_dir: Annotated[
        str,
        typer.Option(help="Where videos go (default: NAME.videos).", metavar="DIR", show_default=False),
    ] = ""
    name_template: Annotated[
        str, typer.Option(help="Names of videos: {id} {portrait} {audio} {row} {preset} {seed}.")
    ] = "{id}.mp4"
    base: Annotated[
        str,
        typer.Option(
            "--name",
            help="What ledger, videos and logs are called: NAME.results.jsonl and so on (default: the "
            "manifest without its suffix; else ./batch).",
            metavar="NAME",
            show_default=False,
        ),
    ] = ""
    is_confined: Annotated[
        bool, typer.Option("--confine", help="Refuse rows that reach outside --root or --output-dir.")
    ] = False
    own_columns: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore-column",
            help="A column of your own, which is kept in ledger and report; may be repeated. Columns that "
            "begin with x_ are your own without it.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None
    jobs: Annotated[int, typer.Option("-j", "--jobs", help="Workers on each device.", min=1, max=256)] = 1
    devices: Annotated[
        str, typer.Option(help="cuda:0,cuda:1, or auto for all GPUs, or cpu (default: --device).")
    ] = ""
    retries: Annotated[
        int, typer.Option(help="How often a row is tried again after a failure.", min=0, max=100)
    ] = 2
    other_seeds: Annotated[
        int,
        typer.Option(
            "--retry-on-fail", help="Other seeds to try where the quality gate says fail.", min=0, max=100
        ),
    ] = 0
    has_gate: Annotated[
        bool, typer.Option("--quality/--no-quality", help="Measure more of a video than its frame count.")
    ] = True
    is_fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first row that fails or is refused.")
    ] = False
    may_overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace outputs that are not from this batch.")
    ] = False
    has_parallel_parts: Annotated[
        bool,
        typer.Option(
            "--parallel-segments",
            help="Render recordings longer than --segment in parts on several workers, blended where they "
            "join: sooner done, less continuous.",
        ),
    ] = False
    max_gpu_hours: Annotated[
        float, typer.Option(help="Do not start what is predicted to need more; 0: no limit.", min=0)
    ] = 0.0
    shard: Annotated[
        str,
        typer.Option(
            help="Render part I/N, 1/N to N/N; auto in a Slurm array, auto/N in an indexed Kubernetes job."
        ),
    ] = "1/1"
    engine: Annotated[
        EngineKind, typer.Option(help="Processes here, or actors of a Ray cluster (needs the ray extra).")
    ] = EngineKind.local
    address: Annotated[
        str, typer.Option(help="The Ray cluster; empty: the one that is running here, else a new one.")
    ] = ""
    flags: dict[str, object] = field(default_factory=dict)  # settings that were typed
    preset: str = ""
    config: str = ""

    @property
    def given(self) -> Given:
        """The settings that were typed."""
        return Given(self.flags, self.preset or None, Path(self.config) if self.config else None)

    def with_settings(self, given: Given) -> BatchOptions:
        """These options and the settings, every path absolute, so that `retry` works from any folder."""
        is_file = self.manifest not in ("", STDIN)
        manifest = Path(self.manifest if is_file else "batch")
        flags = dict(given.flags)
        if isinstance(bundle := flags.get("bundle"), str) and Path(bundle).is_dir():
            flags["bundle"] = _absolute(bundle)
        if isinstance(background := flags.get("background"), str) and colour_of(background) is None:
            flags["background"] = _absolute(background)
        if isinstance(certificate := flags.get("certificate"), str) and certificate != "own":
            flags["certificate"] = _absolute(certificate)
        return dataclasses.replace(
            self,
            manifest=_absolute(self.manifest) if is_file else self.manifest,
            portraits=_absolute(self.portraits),
            audios=_absolute(self.audios),
            base=_absolute(self.base) or str(base_of(manifest)),
            root=_absolute(self.root or str(manifest.parent)),
            output_dir=_absolute(self.output_dir),
            flags=flags,
            preset=given.preset or "",
            config=_absolute(str(given.config or "")),
        )


@dataclass(frozen=True)
class Telling:
    """What is said about a batch besides its progress."""

    is_dry: Annotated[bool, typer.Option("--dry-run", help="Check every row, print the plan, and stop.")] = (
        False
    )
    gpu_hour_price: Annotated[
        float, typer.Option(help="What an hour of a worker costs, for the plan.", min=0)
    ] = 0.0
    as_porcelain: Annotated[
        bool,
        typer.Option(
            "--porcelain",
            help=f"One tab-separated line a row on standard output: {' '.join(PORCELAIN)}.",
        ),
    ] = False


def read_options(values: dict[str, object]) -> BatchOptions:
    """The options that a ledger holds. Raises JobError where it holds others."""
    from hallo_cli.batch.fields import build_checked

    try:
        return build_checked(BatchOptions, values)
    except ValueError as error:
        raise JobError(
            f"the ledger does not say how the batch ran ({error}); run the batch itself."
        ) from error


def base_of(named: Path) -> Path:
    """What a batch's files are named after, from its manifest, its ledger or that name itself."""
    if named.name.endswith(RESULTS):
        return named.with_name(named.name.removesuffix(RESULTS)).absolute()
    return (named.with_suffix("") if named.suffix.lower() in SUFFIXES else named).absolute()


def require_source(options: BatchOptions) -> None:
    """Raise SettingsError unless there is a manifest or two folders, and not both."""
    if options.manifest and (options.portraits or options.audios):
        raise SettingsError("give a MANIFEST or --portraits and --audios, not both.")
    if not options.manifest and not (options.portraits and options.audios):
        raise SettingsError("give a MANIFEST, or both --portraits and --audios; see hallo batch run --help.")


def _absolute(path: str) -> str:
    """The path from the root on; empty stays empty."""
    return str(Path(path).absolute()) if path else ""
