"""Named pictures and recordings rendered by the networks in training, as `hallo render` would render them.

Pictures and sounds are analysed once, before the first step, so that what is wrong with them shows at once.
"""

from __future__ import annotations

import copy
import os
import tempfile
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path

import torch

from hallo_cli.analysis.framing import Canvas, View
from hallo_cli.analysis.motion_canvas import MotionCanvas
from hallo_cli.analysis.of_bundle import analyser_of, canvas_of
from hallo_cli.analysis.portrait import PortraitAnalyser, PortraitOptions
from hallo_cli.analysis.speech import RecordingTrack, SpeechEncoder, TrackOptions, load_encoder
from hallo_cli.bundles.bundle import Bundle, find_bundle
from hallo_cli.domain import Clip, Portrait, Speech
from hallo_cli.errors import SettingsError
from hallo_cli.inference.animator import Animator
from hallo_cli.inference.device import autoencoder_dtype
from hallo_cli.media.audio import decode
from hallo_cli.media.joining import Sound, assemble
from hallo_cli.media.sound_track import Stretch
from hallo_cli.media.video import SegmentWriter
from hallo_cli.media.video_format import VideoFormat
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.weights import Networks
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings
from hallo_cli.store.writing import make_folder
from hallo_cli.training.config import Stage, TrainingConfig
from hallo_cli.training.footage import FPS

FRAMING = "crop"


@dataclass(frozen=True)
class SpokenPair:
    """One picture and one recording, analysed."""

    portrait: Portrait
    canvas: Canvas | MotionCanvas
    speech: Speech  # whole clips
    n_frames: int  # of the video
    sound: Sound


@dataclass(frozen=True)
class SpokenPairs:
    """All pairs of a run, and how they are rendered."""

    pairs: tuple[SpokenPair, ...]
    settings: RenderSettings
    runtime: RuntimeSettings

    def render(self, networks: Networks, folder: Path, dtype: torch.dtype) -> list[Path]:
        """Write pair-1.mp4, pair-2.mp4, ... with sound, rendered by a copy of the networks in `dtype`.

        Raises EncoderError, OutputError, DeviceMemoryError.
        """
        make_folder(folder)
        animator = Animator(_copied(networks, dtype), self.runtime)
        return [
            self._write(animator, pair, folder / f"pair-{number}.mp4")
            for number, pair in enumerate(self.pairs, 1)
        ]

    def _write(self, animator: Animator, pair: SpokenPair, target: Path) -> Path:
        width, height = pair.canvas.size
        video = VideoFormat(width, height, FPS)
        context = animator.prepare(pair.portrait, self.settings)
        n_missing = pair.n_frames
        with tempfile.TemporaryDirectory(prefix="hallo-") as folder:
            silent = Path(folder) / "silent.mp4"
            with (
                SegmentWriter(silent, video) as writer,
                closing(animator.clips(context, pair.speech)) as steps,
            ):
                for step in steps:
                    if isinstance(step, Clip):
                        frames = step.frames[:n_missing]
                        writer.write(pair.canvas.compose(frames))
                        n_missing -= len(frames)
                writer.commit()
            assemble([silent], target, video=video, sound=pair.sound)
        return target


def require_hearing(config: TrainingConfig, stage: Stage) -> None:
    """Raise SettingsError where a run names pairs that it cannot render."""
    hears = stage == "stage2" if config.objective.audio is None else config.objective.audio
    if config.validation.pairs and not hears:
        raise SettingsError(
            "validation.pairs: stage 1 trains no audio attention, so nothing can speak yet. Leave them out "
            "until stage 2."
        )
    if config.validation.pairs and not config.run.render_every:
        raise SettingsError("validation.pairs are rendered every run.render_every steps: set it")


def analyse_pairs(config: TrainingConfig, network: NetworkConfig, device: torch.device) -> SpokenPairs | None:
    """The pairs of a run's validation; None where it names none.

    Raises SettingsError where no bundle brings a speech encoder, PortraitError, SpeechError, WeightsError.
    """
    if not config.validation.pairs:
        return None
    bundle = _bundle(config, network)
    settings = RenderSettings(
        steps=config.run.render_steps,
        solver=bundle.manifest.sampling.solver,
        guidance=bundle.manifest.sampling.guidance,
        size=network.image_size,
        framing=FRAMING,
        duration_s=config.validation.duration_s,
    )
    threads = config.run.threads or os.cpu_count() or 1
    analysis = _Analysis(analyser_of(bundle, network, threads=threads), load_encoder(bundle), bundle, network)
    pairs = [_analysed(picture, sound, settings, analysis) for picture, sound in config.validation.pairs]
    return SpokenPairs(
        tuple(pairs), settings, RuntimeSettings(device=str(device), threads=config.run.threads)
    )


@dataclass(frozen=True)
class _Analysis:
    analyser: PortraitAnalyser
    encoder: SpeechEncoder
    bundle: Bundle
    network: NetworkConfig


def _analysed(picture: Path, sound: Path, settings: RenderSettings, by: _Analysis) -> SpokenPair:
    options = PortraitOptions(size=by.network.image_size, framing=FRAMING)
    portrait = by.analyser.analyse(picture, options)
    view = View(FRAMING, by.network.image_size, by.bundle.manifest.geometry)
    shown = canvas_of(by.network, partial(by.analyser.upright, picture, portrait), portrait, view)
    with tempfile.TemporaryDirectory(prefix="hallo-") as folder:
        recording = decode(sound, Path(folder) / "sound.f32", Stretch(0.0, settings.duration_s))
        clip = by.network.clip_frames
        n_frames = max(1, ceil(round(recording.duration_s * FPS, 6)))
        track_options = TrackOptions(
            n_frames=n_frames,
            clip_frames=clip,
            seed=settings.seed,
            guards_silence=settings.silence_guard,
            piece_s=by.bundle.manifest.speech.piece_s,
        )
        track = RecordingTrack(recording, by.encoder, track_options)
        speech = track.speech(0, ceil(n_frames / clip) * clip)
    heard = Sound(sound, Stretch(duration_s=settings.duration_s))
    return SpokenPair(portrait, shown, speech, n_frames, heard)


def _bundle(config: TrainingConfig, network: NetworkConfig) -> Bundle:
    """What brings speech encoder, identity network and framing."""
    name = config.validation.bundle or config.start.bundle
    if name is None:
        raise SettingsError(
            "validation.pairs need a speech encoder: give validation.bundle, such as 'official' or 'embedded'"
        )
    bundle = find_bundle(name)
    theirs = bundle.manifest.networks
    for key in ("audio_blocks", "audio_dim", "identity_tokens", "image_size"):
        ours, its = getattr(network, key), getattr(theirs, key)
        if ours != its:
            raise SettingsError(
                f"validation.bundle = {name!r} is for networks with {key} {its}, this run's have {ours}: "
                "give the bundle that the takes were encoded with"
            )
    return bundle


def _copied(networks: Networks, dtype: torch.dtype) -> Networks:
    """A copy to render with: rendering rearranges weights and kernels, which training must not notice."""
    copied = copy.deepcopy(networks)
    for module in copied.by_prefix().values():
        module.eval().requires_grad_(False).to(dtype)
    device = next(copied.vae.parameters()).device
    copied.vae.eval().requires_grad_(False).to(autoencoder_dtype(dtype, device))
    copied.reference_unet.checkpointing = copied.denoising_unet.checkpointing = False
    return copied
