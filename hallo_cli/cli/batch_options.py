"""The options of `hallo batch` as data: each field is one flag, and all of them fit into the ledger."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from hallo_cli.cli.batch_plan import PLAN
from hallo_cli.cli.batch_view import PORCELAIN
from hallo_cli.cli.help import argument, option
from hallo_cli.cli.options import Given
from hallo_cli.errors import JobError, SettingsError
from hallo_cli.media.addresses import address_in, bare_address, is_address, stem_of
from hallo_cli.settings.canvas import colour_of
from hallo_cli.store.cache import at_home

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
    """The options as typed. The ledger keeps them for `retry`, so paths are text."""

    manifest: Annotated[
        str,
        argument(
            help="CSV with a header, or JSON Lines. Columns: "
            "portrait and audio (or text, or face_1 and face_2); "
            "id, output, preset, any setting. `-` reads standard input.",
            metavar="MANIFEST",
        ),
    ] = ""
    portraits: Annotated[
        str, option(help="A folder of pictures, instead of a manifest.", metavar="DIR", more=True)
    ] = ""
    audios: Annotated[str, option(help="A folder of recordings.", metavar="DIR", more=True)] = ""
    pairing: Annotated[
        Pairing,
        option(
            "--pair",
            help="cross: every picture with every recording; zip: in order; stem: by name.",
            more=True,
        ),
    ] = Pairing.cross
    may_be_alone: Annotated[
        bool,
        option(
            "--allow-unmatched",
            help="With --pair stem: leave out files without a partner, with a warning.",
            more=True,
        ),
    ] = False
    root: Annotated[
        str,
        option(
            help="The folder of relative inputs.  [default: the manifest's folder]", metavar="DIR", more=True
        ),
    ] = ""
    output_dir: Annotated[
        str,
        option(
            help="The folder for videos, also s3://BUCKET/FOLDER: see hallo docs clusters.  "
            "[default: NAME.videos]",
            metavar="DIR",
        ),
    ] = ""
    name_template: Annotated[
        str,
        option(help="How videos are named, from {id} {portrait} {audio} {row} {preset} {seed}.", more=True),
    ] = "{id}.mp4"
    base: Annotated[
        str,
        option(
            "--name",
            help="The batch's name; its files are NAME.results.jsonl and so on.  [default: the manifest "
            "without its suffix, or ./batch]",
            metavar="NAME",
            more=True,
        ),
    ] = ""
    is_confined: Annotated[
        bool, option("--confine", help="Refuse paths outside --root and --output-dir.", more=True)
    ] = False
    own_columns: Annotated[
        list[str] | None,
        option(
            "--ignore-column",
            help="A column of your own, kept in ledger and report. Repeatable. Columns that begin with x_ "
            "need no option.",
            metavar="NAME",
            more=True,
        ),
    ] = None
    jobs: Annotated[
        int, option("-j", "--jobs", help="Workers on each device.", metavar="N", min=1, max=256)
    ] = 1
    devices: Annotated[
        str, option(help="cuda:0,cuda:1 or cpu; auto takes all GPUs.  [default: --device]", metavar="LIST")
    ] = ""
    retries: Annotated[
        int, option(help="How often a failed row is tried again.", metavar="N", min=0, max=100, more=True)
    ] = 2
    other_seeds: Annotated[
        int,
        option(
            "--retry-on-fail",
            help="How many other seeds to try when the quality limits refuse a video.",
            metavar="N",
            min=0,
            max=100,
            more=True,
        ),
    ] = 0
    has_gate: Annotated[
        bool,
        option(
            "--quality/--no-quality", help="Measure each video; --no-quality counts frames only.", more=True
        ),
    ] = True
    is_fail_fast: Annotated[
        bool, option("--fail-fast", help="Stop at the first row that fails or is refused.", more=True)
    ] = False
    may_overwrite: Annotated[
        bool, option("--overwrite", help="Replace outputs that this batch did not make.", more=True)
    ] = False
    has_parallel_parts: Annotated[
        bool,
        option(
            "--parallel-segments",
            help="Render recordings longer than --segment in parts on several workers and blend the joins: "
            "faster, but less smooth at the joins.",
            more=True,
        ),
    ] = False
    max_gpu_hours: Annotated[
        float,
        option(
            help="Render only the rows that fit into this many worker hours; 0 is no limit.",
            metavar="X",
            min=0,
            more=True,
        ),
    ] = 0.0
    shard: Annotated[
        str,
        option(
            help="Render part I/N of the rows, 1/N to N/N. auto reads I and N of a Slurm array, auto/N reads "
            "I of an indexed Kubernetes job.",
            more=True,
        ),
    ] = "1/1"
    engine: Annotated[
        EngineKind,
        option(
            help="local: processes on this machine; ray: actors of a Ray cluster (see hallo docs clusters).",
            more=True,
        ),
    ] = EngineKind.local
    address: Annotated[
        str,
        option(help="The Ray cluster's address.  [default: the one running here, or a new one]", more=True),
    ] = ""
    flags: dict[str, object] = field(default_factory=dict)  # settings given as flags
    preset: str = ""
    config: str = ""

    def _root_of(self, manifest: Path) -> str:
        """Where the manifest's relative inputs are."""
        if is_address(self.manifest):
            return address_in(bare_address(self.manifest), "..")
        return str(manifest.parent)

    @property
    def given(self) -> Given:
        """The settings that were given as flags."""
        return Given(self.flags, self.preset or None, Path(self.config) if self.config else None)

    def with_settings(self, given: Given) -> BatchOptions:
        """These options with the settings. Paths become absolute, so that `retry` works from any folder."""
        is_file = self.manifest not in ("", STDIN) and not is_address(self.manifest)
        manifest = Path(self.manifest if is_file else "batch")
        if is_address(self.manifest):
            manifest = Path(stem_of(self.manifest))
        flags = dict(given.flags)
        if isinstance(bundle := flags.get("bundle"), str) and Path(bundle).is_dir():
            flags["bundle"] = absolute(bundle)
        if isinstance(background := flags.get("background"), str) and colour_of(background) is None:
            flags["background"] = absolute(background)
        for key, no_file in {"subtitles": "none", "certificate": "own", "consent": "none"}.items():
            if isinstance(file := flags.get(key), str) and file != no_file:
                flags[key] = absolute(str(at_home(Path(file))) if key == "consent" else file)
        return dataclasses.replace(
            self,
            manifest=absolute(self.manifest) if is_file else self.manifest,
            portraits=absolute(self.portraits),
            audios=absolute(self.audios),
            base=absolute(self.base) or str(base_of(manifest)),
            root=absolute(self.root or self._root_of(manifest)),
            output_dir=absolute(self.output_dir),
            flags=flags,
            preset=given.preset or "",
            config=absolute(str(given.config or "")),
        )


@dataclass(frozen=True)
class Telling:
    """The options about the plan and the output for programs."""

    is_dry: Annotated[bool, option("--dry-run", help="Check every row, show the plan and stop.")] = False
    as_porcelain: Annotated[
        bool,
        option(
            "--porcelain",
            help=f"Print one tab-separated line a row: {' '.join(PORCELAIN)}; with --dry-run: "
            f"{' '.join(PLAN)}.",
            more=True,
        ),
    ] = False
    sheet: Annotated[
        Path | None,
        option(
            help="With --dry-run: write one HTML page with a picture of every row.",
            metavar="FILE.html",
            more=True,
        ),
    ] = None
    as_csv: Annotated[bool, option("--csv", help="With --dry-run: print the plan as CSV.", more=True)] = False


def read_options(values: dict[str, object]) -> BatchOptions:
    """The options in a ledger. Raises JobError if they are not options of a batch."""
    from hallo_cli.store.binding import bind

    try:
        return bind(BatchOptions, values, skips_unknown=True)
    except ValueError as error:
        raise JobError(
            f"the ledger does not hold the options of its run ({error}); use hallo batch run."
        ) from error


def base_of(named: Path) -> Path:
    """The path that names a batch's files, from its manifest, its ledger or its name."""
    if is_address(str(named)):
        named = Path(stem_of(str(named)))
    if named.name.endswith(RESULTS):
        return named.with_name(named.name.removesuffix(RESULTS)).absolute()
    return (named.with_suffix("") if named.suffix.lower() in SUFFIXES else named).absolute()


def require_source(options: BatchOptions) -> None:
    """Raise SettingsError unless either a manifest or two folders are given."""
    if options.manifest and (options.portraits or options.audios):
        raise SettingsError("give either a MANIFEST or --portraits and --audios, not both.")
    if not options.manifest and not (options.portraits and options.audios):
        raise SettingsError("give a MANIFEST, or both --portraits and --audios; see hallo batch run --help.")
    for flag, folder in (("--portraits", options.portraits), ("--audios", options.audios)):
        if is_address(folder):
            raise SettingsError(f"{flag} is a folder on this machine; list addresses in a manifest.")


def absolute(path: str) -> str:
    """The absolute path; empty text stays empty, and an address as it is."""
    return path if is_address(path) else str(Path(path).absolute()) if path else ""
