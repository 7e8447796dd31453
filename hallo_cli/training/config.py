"""The settings of a training run: reads a TOML file into frozen dataclasses.

One dataclass field is one TOML key; defaults live here only. Knows no torch and reads nothing but that file.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hallo_cli.errors import SettingsError
from hallo_cli.models.network_config import Compat
from hallo_cli.store.cache import at_home

Stage = Literal["stage1", "stage2"]
Part = Literal[
    "reference", "spatial", "identity", "locator", "audio", "audio_projection", "motion"
]  # spatial: all of the denoising UNet but its audio and motion modules
STAGE_PARTS: dict[Stage, tuple[Part, ...]] = {
    "stage1": ("reference", "spatial", "identity", "locator"),
    "stage2": ("audio", "audio_projection", "motion"),
}


@dataclass(frozen=True)
class RunSettings:
    """Where a run lives, how long it is and what it writes."""

    output: Path  # checkpoints, logs, validation pictures
    steps: int = 30_000  # optimizer steps
    max_minutes: float = 0.0  # of training in all, resumed runs added up; 0: no limit
    seed: int = 42
    device: str = "auto"
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    threads: int = 0  # of the CPU; 0: all
    accumulation: int = 1  # batches a step
    gradient_checkpointing: bool = False
    compile: bool = False
    ema_decay: float = 0.0  # 0: no moving average of the weights is kept
    checkpoint_every: int = 500
    keep_checkpoints: int = 3
    log_every: int = 20
    validate_every: int = 500  # 0: never
    render_every: int = 0  # steps between renderings of held-out takes; 0: never
    render_steps: int = 20  # denoising steps of those
    tensorboard: bool = False
    resume_from: Path | None = None  # checkpoint folder to go on from where `output` has none yet


@dataclass(frozen=True)
class StartSettings:
    """The initial weights; a later entry overwrites weights of an earlier one."""

    network: Path | None = None  # NetworkConfig as TOML or JSON; else that of bundle or run, else published
    compat: Compat = "sane"  # of new networks (sd15, or a file that leaves it out): official keeps the quirks
    sd15: Path | None = None  # Stable Diffusion 1.5 UNet weights: both UNets but audio and motion
    official: Path | None = None  # an official net.pth
    bundle: str | None = None  # "embedded", "official" or a directory
    stage1: Path | None = None  # folder of the four files of the published first stage, to begin stage 2 with
    run: Path | None = None  # another run's folder: its last checkpoint's (averaged) weights
    motion: Path | None = None  # AnimateDiff mm_sd_v15_v2 weights: the motion modules
    vae: Path | None = None  # autoencoder weights, where no bundle brings them


@dataclass(frozen=True)
class DataSettings:
    """Which encoded takes are read, and how a batch is put together."""

    shards: Path  # folder of encoded shards (hallo train encode)
    validation: Path | None = None  # another such folder; None: takes held out from `shards`
    held_out: int = 16  # takes of `shards` kept for validation where there is no folder for it
    takes: int = 8  # a batch and process
    frames: int = 0  # of each take: any frames in stage 1, one clip in stage 2; 0: one, or a whole clip
    margin: int = 30  # least distance of the reference from the target where it is one of the frames
    end_margin: int = 0  # last frames of a take that no clip of stage 2 reaches; published: 3
    balance_visemes: bool = False  # draw frames evenly over open, wide, round and closed mouths
    blink_repeats: int = 1  # how often an epoch shows a take in which the eyes shut
    sample_latents: bool = True  # draw from the autoencoder's distribution where shards hold its spread
    prefetch: int = 4  # batches prepared ahead


@dataclass(frozen=True)
class ValidationSettings:
    """Pictures and recordings that are rendered whole, every `run.render_every` steps."""

    pairs: tuple[tuple[Path, Path], ...] = ()  # [picture, recording]
    bundle: str | None = None  # brings speech encoder, identity network and framing; None: start.bundle
    duration_s: float = 4.0  # of each recording


@dataclass(frozen=True)
class DropSettings:
    """How often a condition is dropped, which classifier-free guidance needs."""

    image: float = 0.05  # reference UNet not run: no reference features, no motion features
    identity: float = 0.0  # identity embedding zeroed; together with the image in stage 1
    audio: float = 0.05  # audio tokens zeroed
    motion: float = 0.05  # motion frames grey, as at the start of a recording


@dataclass(frozen=True)
class PixelLossSettings:
    """A loss on decoded pixels of a window around the lips, through the frozen decoder."""

    weight: float = 0.0  # 0: off
    gradient: float = 1.0  # weight of the L1 of the pixels' differences beside the L1 of the pixels
    window: tuple[int, int] = (12, 14)  # height and width in latent cells
    share: float = 1.0  # of the batch's frames that are decoded


@dataclass(frozen=True)
class ObjectiveSettings:
    """What is minimised. The defaults are the paper's code without its quirks."""

    compat: Compat = "sane"  # official: scalar loss before weighting, drops per batch
    train: tuple[Part, ...] = ()  # parts that learn; empty: those of the stage
    audio: bool | None = None  # audio attention runs; None: in stage 2 only
    timesteps: Literal["uniform", "few_step"] = "uniform"  # few_step: the last one, or one from the middle
    last_share: float = 0.6  # few_step: how many of the samples start from pure noise, as the first step does
    middle_timesteps: tuple[int, int] = (400, 600)  # few_step: the others, as the later steps; end excluded
    weighting: Literal["min_snr", "x0", "none"] = "min_snr"
    snr_clamp: float = 5.0
    noise_offset: float = 0.05  # of the noise, per sample and channel
    shared_noise: bool = False  # one noise for all frames of a take
    regions: tuple[float, float, float, float] | None = None  # weight everywhere, + lower face, lips, eyes
    change_weight: float = 0.0  # weight of |target - reference|, relative to its mean, on top
    motion_thinning: float = 0.0  # share of the motion frames' pixels outside the face that go grey (Hallo2)
    motion_timesteps: int = 0  # motion frames get noise of timesteps below this one (Hallo2: 50); 0: none
    drops: DropSettings = field(default_factory=DropSettings)
    pixels: PixelLossSettings = field(default_factory=PixelLossSettings)


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW and its learning rate."""

    lr: float = 1e-5
    warmup: int = 1  # steps of linear rise
    schedule: Literal["constant", "linear", "cosine", "cosine_with_restarts", "polynomial"] = "constant"
    cycles: int = 1  # cosine_with_restarts: how often the rate falls
    power: float = 1.0  # polynomial: how steeply it falls
    decay_from: float = 0.0  # share of the run (steps, or minutes where limited) before the decay starts
    final: float = 0.0  # share of lr at the end of the decay
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip_norm: float = 1.0


@dataclass(frozen=True)
class TrainingConfig:
    """One run of `hallo train stage1` or `stage2`. Raises SettingsError if values make no sense."""

    run: RunSettings
    data: DataSettings
    start: StartSettings = field(default_factory=StartSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)

    def __post_init__(self) -> None:
        pixels = self.objective.pixels
        for table in (self.run, self.data, self.objective, self.objective.drops, pixels, self.optimizer):
            _check_numbers(table)
        for name in ("image", "identity", "audio", "motion"):
            _require(getattr(self.objective.drops, name) <= 1, f"objective.drops.{name} must be 0 to 1")
        least_one = (
            *(
                "run.steps",
                "run.accumulation",
                "run.checkpoint_every",
                "run.keep_checkpoints",
                "run.log_every",
            ),
            *("run.render_steps", "data.takes", "data.blink_repeats", "data.prefetch", "optimizer.cycles"),
        )
        for key in least_one:
            part, name = key.split(".")
            _require(getattr(getattr(self, part), name) >= 1, f"{key} must be at least 1")
        first, stop = self.objective.middle_timesteps
        _require(
            0 <= first < stop <= 1000, "objective.middle_timesteps must be [first, stop] within 0 to 1000"
        )
        _require(0 <= self.objective.last_share <= 1, "objective.last_share must be 0 to 1")
        _require(min(pixels.window) >= 1, "objective.pixels.window must be at least [1, 1]")
        _require(self.objective.motion_thinning <= 1, "objective.motion_thinning must be 0 to 1")
        _require(self.objective.motion_timesteps <= 1000, "objective.motion_timesteps must be 0 to 1000")
        _require(0 < pixels.share <= 1, "objective.pixels.share must be above 0, 1 at most")
        _require(max(self.optimizer.betas) < 1, "optimizer.betas must be below 1")
        _require(self.optimizer.clip_norm > 0, "optimizer.clip_norm must be above 0")
        _require(self.optimizer.eps > 0, "optimizer.eps must be above 0")
        _require(self.optimizer.decay_from < 1, "optimizer.decay_from must be below 1")
        _require(0.04 <= self.validation.duration_s <= 600, "validation.duration_s must be 0.04 to 600")
        _require(self.run.ema_decay < 1, "run.ema_decay must be below 1")


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read a run's TOML file; `overrides` are "table.key=value" with TOML values, or bare text.

    Relative paths in the file are taken from the file's folder. Raises SettingsError with the key at fault.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}): name a training TOML file") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    config: TrainingConfig = _parse(TrainingConfig, values, where="", folder=path.parent)
    if not overrides:
        return config
    merged = to_dict(config)
    for override in overrides:
        _override(merged, override)
    result: TrainingConfig = _parse(TrainingConfig, merged, where="", folder=Path())
    return result


def to_dict(settings: Any) -> dict[str, Any]:
    """Plain nested tables, as JSON and TOML hold them; None is left out."""
    values = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    _require(bool(equals), f"--set {override!r} is not of the form table.key=value")
    *tables, name = key.strip().split(".")
    for table in tables:
        values = values.setdefault(table, {})
        _require(isinstance(values, dict), f"--set {override!r}: {table} is not a table")
    try:
        values[name] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[name] = text.strip()


def _parse(kind: Any, values: Any, *, where: str, folder: Path) -> Any:
    _require(isinstance(values, Mapping), f"{where or 'the file'} must be a table")
    kinds = typing.get_type_hints(kind)
    for key in values:
        if key not in kinds:
            near = difflib.get_close_matches(key, kinds, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(kinds)}"
            raise SettingsError(f"unknown key {where}{key}: {hint}")
    missing = [f.name for f in dataclasses.fields(kind) if _is_required(f) and f.name not in values]
    _require(not missing, f"{where}{', '.join(missing)} must be given")
    parsed = {key: _value(kinds[key], values[key], f"{where}{key}", folder) for key in values}
    return kind(**parsed)


def _is_required(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def _value(kind: Any, value: Any, where: str, folder: Path) -> Any:
    if dataclasses.is_dataclass(kind):
        return _parse(kind, value, where=f"{where}.", folder=folder)
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    value = _frozen(value)
    if float in kinds and type(value) is int:
        value = float(value)
    for one in kinds:
        if (converted := _fit(one, value, folder)) is not None:
            return converted
    raise SettingsError(f"{where} = {value!r} does not fit: expected {_kind_name(kind)}")


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _fit(kind: Any, value: Any, folder: Path) -> Any:
    if kind is Path:
        return folder / at_home(Path(value)) if isinstance(value, str) else None
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return value if value in arguments else None
    if origin is not tuple:
        return value if type(value) is kind else None
    if not isinstance(value, tuple):
        return None
    wanted = arguments[:1] * len(value) if arguments[-1] is ... else arguments
    if len(wanted) != len(value):
        return None
    items = [
        _fit(k, float(v) if k is float and type(v) is int else v, folder)
        for k, v in zip(wanted, value, strict=True)
    ]
    return None if None in items else tuple(items)


def _kind_name(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(kind)))
    return getattr(kind, "__name__", None) or str(kind).replace("pathlib.", "")


def _check_numbers(table: Any) -> None:
    for item in dataclasses.fields(table):
        value = getattr(table, item.name)
        numbers = value if isinstance(value, tuple) else (value,)
        is_right = all(0 <= n < float("inf") for n in numbers if isinstance(n, int | float))
        _require(is_right, f"{item.name} = {value!r} must be a finite number, 0 or more")


def _require(is_right: bool, message: str) -> None:
    if not is_right:
        raise SettingsError(f"training config: {message}")
