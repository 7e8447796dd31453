"""The settings of a training run: reads a TOML file into frozen dataclasses.

One dataclass field is one TOML key; defaults and bounds live here only. Knows no torch and reads nothing but
that file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from hallo_cli.errors import SettingsError
from hallo_cli.models.network_config import Compat
from hallo_cli.store.binding import bind, plain
from hallo_cli.store.cache import at_home

Stage = Literal["stage1", "stage2"]
Part = Literal[
    "reference", "spatial", "identity", "locator", "audio", "audio_projection", "motion"
]  # spatial: all of the denoising UNet but its audio and motion modules
STAGE_PARTS: dict[Stage, tuple[Part, ...]] = {
    "stage1": ("reference", "spatial", "identity", "locator"),
    "stage2": ("audio", "audio_projection", "motion"),
}


def _in_folder(path: Path, info: ValidationInfo) -> Path:
    assert isinstance(info.context, Path)
    return info.context / at_home(path)


FilePath = Annotated[Path, AfterValidator(_in_folder)]  # relative ones are taken from the file's folder
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
Timestep = Annotated[int, Field(ge=0, le=1000)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
AboveZero = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class RunSettings:
    """Where a run lives, how long it is and what it writes."""

    output: FilePath  # checkpoints, logs, validation pictures
    steps: AtLeastOne = 30_000  # optimizer steps
    max_minutes: Amount = 0.0  # of training in all, resumed runs added up; 0: no limit
    seed: Count = 42
    device: str = "auto"
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    threads: Count = 0  # of the CPU; 0: all
    accumulation: AtLeastOne = 1  # batches a step
    gradient_checkpointing: bool = False
    compile: bool = False
    ema_decay: ShareBelowOne = 0.0  # 0: no moving average of the weights is kept
    checkpoint_every: AtLeastOne = 500
    keep_checkpoints: AtLeastOne = 3
    log_every: AtLeastOne = 20
    validate_every: Count = 500  # 0: never
    render_every: Count = 0  # steps between renderings of held-out takes; 0: never
    render_steps: AtLeastOne = 20  # denoising steps of those
    tensorboard: bool = False
    resume_from: FilePath | None = None  # checkpoint folder to go on from where `output` has none yet


@dataclass(frozen=True)
class StartSettings:
    """The initial weights; a later entry overwrites weights of an earlier one."""

    network: FilePath | None = None  # NetworkConfig as TOML or JSON; None: of bundle or run, or published
    compat: Compat = "sane"  # of new networks (sd15, or a file that leaves it out): official keeps the quirks
    sd15: FilePath | None = None  # Stable Diffusion 1.5 UNet weights: both UNets but audio and motion
    official: FilePath | None = None  # an official net.pth
    bundle: str | None = None  # "embedded", "official" or a directory
    stage1: FilePath | None = None  # folder of the published first stage's four files, to begin stage 2 with
    run: FilePath | None = None  # another run's folder: its last checkpoint's (averaged) weights
    motion: FilePath | None = None  # AnimateDiff mm_sd_v15_v2 weights: the motion modules
    vae: FilePath | None = None  # autoencoder weights, where no bundle brings them


@dataclass(frozen=True)
class DataSettings:
    """Which encoded takes are read, and how a batch is put together."""

    shards: FilePath  # folder of encoded shards (hallo train encode)
    validation: FilePath | None = None  # another such folder; None: takes held out from `shards`
    held_out: Count = 16  # takes of `shards` kept for validation where there is no folder for it
    takes: AtLeastOne = 8  # a batch and process
    frames: Count = 0  # of each take: any frames in stage 1, one clip in stage 2; 0: one, or a whole clip
    margin: Count = 30  # least distance of the reference from the target where it is one of the frames
    end_margin: Count = 0  # last frames of a take that no clip of stage 2 reaches; published: 3
    balance_visemes: bool = False  # draw frames evenly over open, wide, round and closed mouths
    blink_repeats: AtLeastOne = 1  # how often an epoch shows a take in which the eyes shut
    sample_latents: bool = True  # draw from the autoencoder's distribution where shards hold its spread
    prefetch: AtLeastOne = 4  # batches prepared ahead


@dataclass(frozen=True)
class ValidationSettings:
    """Pictures and recordings that are rendered whole, every `run.render_every` steps."""

    pairs: tuple[tuple[FilePath, FilePath], ...] = ()  # [picture, recording]
    bundle: str | None = None  # brings speech encoder, identity network and framing; None: start.bundle
    duration_s: Annotated[float, Field(ge=0.04, le=600)] = 4.0  # of each recording


@dataclass(frozen=True)
class DropSettings:
    """How often a condition is dropped, which classifier-free guidance needs."""

    image: Share = 0.05  # reference UNet not run: no reference features, no motion features
    identity: Share = 0.0  # identity embedding zeroed; together with the image in stage 1
    audio: Share = 0.05  # audio tokens zeroed
    motion: Share = 0.05  # motion frames grey, as at the start of a recording


@dataclass(frozen=True)
class ObjectiveSettings:
    """What is minimised. The defaults are the paper's code without its quirks."""

    compat: Compat = "sane"  # official: scalar loss before weighting, drops per batch
    train: tuple[Part, ...] = ()  # parts that learn; empty: those of the stage
    audio: bool | None = None  # audio attention runs; None: in stage 2 only
    timesteps: Literal["uniform", "few_step"] = "uniform"  # few_step: the last one, or one from the middle
    last_share: Share = 0.6  # few_step: share of samples that start from pure noise, as the first step
    middle_timesteps: tuple[Timestep, Timestep] = (
        400,
        600,
    )  # few_step: of the others; end excluded
    weighting: Literal["min_snr", "x0", "none"] = "min_snr"
    snr_clamp: Amount = 5.0
    noise_offset: Amount = 0.05  # of the noise, per sample and channel
    shared_noise: bool = False  # one noise for all frames of a take
    regions: tuple[Amount, Amount, Amount, Amount] | None = (
        None  # weight everywhere, + lower face, lips, eyes
    )
    change_weight: Amount = 0.0  # weight of |target - reference|, relative to its mean, on top
    motion_thinning: Share = 0.0  # share of motion frames' pixels outside the face that go grey (Hallo2)
    motion_timesteps: Timestep = 0  # motion frames get noise of earlier timesteps (Hallo2: 50); 0: none
    drops: DropSettings = field(default_factory=DropSettings)

    def __post_init__(self) -> None:
        first, stop = self.middle_timesteps
        if first >= stop:
            raise ValueError(f"middle_timesteps = [{first}, {stop}] must rise")


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW and its learning rate."""

    lr: Amount = 1e-5
    warmup: Count = 1  # steps of linear rise
    schedule: Literal["constant", "linear", "cosine", "cosine_with_restarts", "polynomial"] = "constant"
    cycles: AtLeastOne = 1  # cosine_with_restarts: how often the rate falls
    power: Amount = 1.0  # polynomial: how steeply it falls
    decay_from: ShareBelowOne = 0.0  # share of the run (steps, or minutes where limited) before the decay
    final: Amount = 0.0  # share of lr at the end of the decay
    weight_decay: Amount = 0.01
    betas: tuple[ShareBelowOne, ShareBelowOne] = (0.9, 0.999)
    eps: AboveZero = 1e-8
    clip_norm: AboveZero = 1.0
    bits: Literal[8, 32] = 32  # of the moments; 8 needs bitsandbytes and saves three quarters of their memory


@dataclass(frozen=True)
class TrainingConfig:
    """One run of `hallo train stage1` or `stage2`."""

    run: RunSettings
    data: DataSettings
    start: StartSettings = field(default_factory=StartSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read a run's TOML file; `overrides` are "table.key=value" with TOML values, or bare text.

    Relative paths in the file are taken from the file's folder. Raises SettingsError that names the
    file or the override, and the key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}): name a training TOML file") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    config = _bound(values, str(path), path.parent)
    for override in overrides:
        values = plain(config)
        _override(values, override)
        config = _bound(values, f"--set {override}", Path())
    return config


def _bound(values: dict[str, Any], origin: str, folder: Path) -> TrainingConfig:
    try:
        return bind(TrainingConfig, values, folder=folder)
    except ValueError as error:
        raise SettingsError(f"{origin}: {error}") from error


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise SettingsError(f"--set {override!r} is not of the form table.key=value")
    *tables, name = key.strip().split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise SettingsError(f"--set {override!r}: {table} is not a table")
    try:
        values[name] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[name] = text.strip()
