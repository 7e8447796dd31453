"""The options of `hallo batch` as data: each field is one flag. The ledger keeps those of BatchOptions."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from hallo_cli.batch.budget import Budget
from hallo_cli.cli.batch_plan import PLAN
from hallo_cli.cli.batch_view import PORCELAIN
from hallo_cli.cli.options import argument, option, rare
from hallo_cli.errors import JobError, SettingsError
from hallo_cli.media.addresses import address_in, bare_address, is_address, stem_of
from hallo_cli.settings.canvas import colour_of
from hallo_cli.settings.resolve import Sources
from hallo_cli.store.binding import bind
from hallo_cli.store.cache import at_home

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt")
RESULTS = ".results.jsonl"
STDIN = "-"


@dataclass(frozen=True)
class BatchOptions:
    """The options as typed. The ledger keeps them for `retry`, so paths are text."""

    manifest: str = argument(
        "",
        "CSV with a header, or JSON Lines. Columns: "
        "portrait and audio (or text, or face_1 and face_2); "
        "id, output, preset, any setting. `-` reads standard input.",
        metavar="MANIFEST",
    )
    portraits: str = rare("", "A folder of pictures, instead of a manifest.", metavar="DIR")
    audios: str = rare("", "A folder of recordings.", metavar="DIR")
    pairing: Literal["cross", "zip", "stem"] = rare(
        "cross", "cross: every picture with every recording; zip: in order; stem: by name.", "--pair"
    )
    may_be_alone: bool = rare(
        False, "With --pair stem: leave out files without a partner, with a warning.", "--allow-unmatched"
    )
    root: str = rare("", "The folder of relative inputs.  [default: the manifest's folder]", metavar="DIR")
    output_dir: str = option(
        "",
        "The folder for videos, also s3://BUCKET/FOLDER: see hallo docs clusters.  [default: NAME.videos]",
        metavar="DIR",
    )
    name_template: str = rare(
        "{id}.mp4", "How videos are named, from {id} {portrait} {audio} {row} {preset} {seed}."
    )
    base: str = rare(
        "",
        "The batch's name; its files are NAME.results.jsonl and so on.  [default: the manifest "
        "without its suffix, or ./batch]",
        "--name",
        metavar="NAME",
    )
    is_confined: bool = rare(False, "Refuse paths outside --root and --output-dir.", "--confine")
    own_columns: list[str] | None = rare(
        None,
        "A column of your own, kept in ledger and report. Repeatable. Columns that begin with x_ "
        "need no option.",
        "--ignore-column",
        metavar="NAME",
    )
    jobs: int = option(1, "Workers on each device.", "-j", "--jobs", metavar="N", min=1, max=256)
    devices: str = option(
        "", "cuda:0,cuda:1 or cpu; auto takes all GPUs.  [default: --device]", metavar="LIST"
    )
    retries: int = rare(2, "How often a failed row is tried again.", metavar="N", min=0, max=100)
    other_seeds: int = rare(
        0,
        "How many other seeds to try when the quality limits refuse a video.",
        "--retry-on-fail",
        metavar="N",
        min=0,
        max=100,
    )
    has_gate: bool = rare(
        True, "Measure each video; --no-quality counts frames only.", "--quality/--no-quality"
    )
    is_fail_fast: bool = rare(False, "Stop at the first row that fails or is refused.", "--fail-fast")
    may_overwrite: bool = rare(False, "Replace outputs that this batch did not make.", "--overwrite")
    has_parallel_parts: bool = rare(
        False,
        "Render recordings longer than --segment in parts on several workers and blend the joins: "
        "faster, but less smooth at the joins.",
        "--parallel-segments",
    )
    max_gpu_hours: float = rare(
        0.0, "Render only the rows that fit into this many worker hours; 0 is no limit.", metavar="X", min=0
    )
    shard: str = rare(
        "1/1",
        "Render part I/N of the rows, 1/N to N/N. auto reads I and N of a Slurm array, auto/N reads "
        "I of an indexed Kubernetes job.",
    )
    engine: Literal["local", "ray"] = rare(
        "local",
        "local: processes on this machine; ray: actors of a Ray cluster (see hallo docs clusters).",
    )
    address: str = rare("", "The Ray cluster's address.  [default: the one running here, or a new one]")
    flags: dict[str, object] = field(default_factory=dict)  # settings given as flags
    preset: str = ""
    config: str = ""

    def _root_of(self, manifest: Path) -> str:
        """Where the manifest's relative inputs are."""
        if is_address(self.manifest):
            return address_in(bare_address(self.manifest), "..")
        return str(manifest.parent)

    @property
    def given(self) -> Sources:
        """The settings that were given as flags."""
        config = Path(self.config) if self.config else None
        return Sources(self.flags, config=config, preset=self.preset or None)

    def with_settings(self, given: Sources) -> BatchOptions:
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
class Spending:
    """What this run may cost, and which rows it is for."""

    gpu_hour_price: float = rare(
        0.0, "The price of one worker hour, for the plan's costs.", metavar="X", min=0
    )
    max_cost: float = rare(
        0.0,
        "Render only the rows that fit into this price (with --gpu-hour-price); 0 is no limit.",
        metavar="X",
        min=0,
    )
    finish_by: str = rare(
        "", "Render only the rows that end by then: 06:00, or 2026-11-30T06:00.", metavar="TIME"
    )
    only: list[str] | None = rare(
        None, "Render only rows whose ids match, such as 'anna-*'. Repeatable.", metavar="PATTERN"
    )

    def budget(self, max_gpu_hours: float) -> Budget:
        """All limits in one value. Raises SettingsError."""
        if self.max_cost and not self.gpu_hour_price:
            raise SettingsError("--max-cost needs the price of an hour: add --gpu-hour-price.")
        hours = [max_gpu_hours] if max_gpu_hours else []
        hours += [self.max_cost / self.gpu_hour_price] if self.max_cost else []
        ends = next_time(self.finish_by, datetime.now()).timestamp() if self.finish_by else math.inf
        return Budget(min(hours, default=math.inf) * 3600, ends)


@dataclass(frozen=True)
class Telling:
    """The options about the plan and the output for programs."""

    is_dry: bool = option(False, "Check every row, show the plan and stop.", "--dry-run")
    as_porcelain: bool = rare(
        False,
        f"Print one tab-separated line a row: {' '.join(PORCELAIN)}; with --dry-run: {' '.join(PLAN)}.",
        "--porcelain",
    )
    sheet: Path | None = rare(
        None, "With --dry-run: write one HTML page with a picture of every row.", metavar="FILE.html"
    )
    as_csv: bool = rare(False, "With --dry-run: print the plan as CSV.", "--csv")


def read_options(values: dict[str, object]) -> BatchOptions:
    """The options in a ledger. Raises JobError if they are not options of a batch."""
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


def next_time(text: str, now: datetime) -> datetime:
    """The next time that the clock shows 06:00, or a date with a time. Raises SettingsError."""
    try:
        if "T" in text or " " in text.strip():
            time = datetime.fromisoformat(text.strip())
        else:
            hour = datetime.strptime(text.strip(), "%H:%M").time()
            time = datetime.combine(now.date(), hour)
            time += timedelta(days=time <= now)
        is_past = time.timestamp() <= now.timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise SettingsError(
            f"--finish-by {text!r} is not a time; give one such as 06:00 or 2026-11-30T06:00."
        ) from error
    if is_past:
        raise SettingsError(f"--finish-by {text!r} is past; give a future time.")
    return time
