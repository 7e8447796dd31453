"""The real engine: one bundle's networks and analysers, loaded when first needed, kept between jobs."""

from __future__ import annotations

import dataclasses
import gc
import importlib.metadata
import logging
import os
from collections.abc import Generator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.bundles.bundle import Bundle, find_bundle
from hallo_cli.errors import SettingsError
from hallo_cli.inference.device import device_name, dtype_name
from hallo_cli.inference.memory import next_fallback
from hallo_cli.jobs import forecast
from hallo_cli.jobs.containers import is_transparent
from hallo_cli.jobs.look_limit import look_within
from hallo_cli.media.video_format import exact_rate
from hallo_cli.store.writing import rename

if TYPE_CHECKING:
    from hallo_cli.analysis.portrait import PortraitAnalyser, PortraitOptions
    from hallo_cli.analysis.speech import SpeechEncoder
    from hallo_cli.domain import Clip, MotionFrames, Portrait, Speech, StepDone
    from hallo_cli.inference.animator import Animator
    from hallo_cli.inference.job_context import JobContext
    from hallo_cli.jobs.compositor import Compositor
    from hallo_cli.jobs.engine import SpeechTrack
    from hallo_cli.media.audio import Recording
    from hallo_cli.models.network_config import NetworkConfig
    from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

RECORDED_PACKAGES = ("torch", "diffusers", "transformers", "onnxruntime", "numpy", "av")

ANCHORED_SIZE = 512  # default size of the video's square
LARGE_WIDTH = 640  # networks with wider layers cost as much as the official ones

logger = logging.getLogger(__name__)


class BundleEngine:
    """Implements `engine.Engine` with a bundle's networks."""

    def __init__(self, bundle: Bundle, runtime: RuntimeSettings) -> None:
        self.bundle = bundle
        self.runtime = runtime
        self._animator: Animator | None = None
        self._dtype = ""  # of the animator's networks
        self._context: tuple[tuple[str, RenderSettings], JobContext] | None = None

    @classmethod
    def open(cls, bundle: str, runtime: RuntimeSettings) -> BundleEngine:
        """The engine for a bundle's name or folder. Raises WeightsError."""
        return cls(find_bundle(bundle), runtime)

    @cached_property
    def weights_id(self) -> str:
        """See Engine."""
        return self.bundle.weights_id

    @property
    def networks(self) -> NetworkConfig:
        """The bundle's configuration."""
        return self.bundle.manifest.networks

    @property
    def leaves_processor_free(self) -> bool:
        """See Engine."""
        return device_name(self.runtime.device) != "cpu"

    def resolve_settings(self, settings: RenderSettings) -> RenderSettings:
        """See Engine."""
        sampling = self.bundle.manifest.sampling
        resolved = dataclasses.replace(
            settings,
            steps=sampling.steps if settings.steps is None else settings.steps,
            guidance=sampling.guidance if settings.guidance is None else settings.guidance,
            solver=settings.solver or sampling.solver,
            clip_frames=self._clip_frames(settings),
            size=settings.size or (ANCHORED_SIZE if self.networks.is_anchored else self.networks.image_size),
            dtype=dtype_name(settings.dtype, device_name(self.runtime.device)),
        )
        self._require_fitting(resolved)
        if resolved.separate_vocals:
            from hallo_cli.analysis import vocals

            vocals.find_network(self.bundle)
        return resolved

    def describe(self) -> dict[str, str]:
        """See Engine."""
        from hallo_cli.media.ffmpeg import describe_ffmpeg

        manifest = self.bundle.manifest
        versions = {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}
        return {
            "name": manifest.name,
            "version": manifest.version,
            "licence": manifest.licence,
            "device": device_name(self.runtime.device),
            "ffmpeg": describe_ffmpeg(),
            **versions,
        }

    @cached_property
    def analyser(self) -> PortraitAnalyser:
        """Finds and frames faces as this bundle's training did."""
        from hallo_cli.analysis.of_bundle import analyser_of

        threads = self.runtime.threads or os.cpu_count() or 1
        return analyser_of(self.bundle, self.networks, threads=threads)

    def portrait(self, path: Path, settings: RenderSettings) -> Portrait:
        """See Engine."""
        look = partial(self.analyser.analyse, path, self.portrait_options(settings))
        return look_within(self.runtime.look_limit_s, path, "portrait", look)

    def portrait_options(self, settings: RenderSettings) -> PortraitOptions:
        """What the settings say about the portrait."""
        from hallo_cli.analysis.portrait import PortraitOptions

        shown_size = None if self.networks.is_anchored else settings.size  # which then is the video's alone
        return PortraitOptions(
            size=shown_size or self.networks.image_size,
            framing=settings.framing,
            face_index=settings.face_index,
            face_expand_ratio=settings.face_expand_ratio,
            as_published=settings.face_checks == "published",
        )

    def compositor(self, path: Path, portrait: Portrait, settings: RenderSettings) -> Compositor:
        """See Engine."""
        from hallo_cli.jobs.compositor import fitted, straight

        look = partial(self._layers, path, portrait, settings)
        layers = look_within(self.runtime.look_limit_s, path, "portrait", look)
        shown = fitted(layers, portrait, settings)
        return straight(shown) if is_transparent(settings) else shown

    def _layers(self, path: Path, portrait: Portrait, settings: RenderSettings) -> Compositor:
        from hallo_cli.analysis.framing import View
        from hallo_cli.analysis.of_bundle import canvas_of
        from hallo_cli.jobs.compositor import Compositor, alpha_of, cut_alpha, read_alpha, with_alpha

        side, geometry = settings.size or ANCHORED_SIZE, self.bundle.manifest.geometry
        picture = partial(self.analyser.upright, path, portrait)
        canvas = canvas_of(self.networks, picture, portrait, View(settings.framing, side, geometry))
        inner = Compositor.of(canvas)
        if not is_transparent(settings):
            return inner
        grey = read_alpha(path, portrait)
        shown = cut_alpha(grey, portrait, settings.framing)
        view = View(settings.framing, side, geometry, is_alpha=True)
        layer = canvas_of(self.networks, lambda: grey, shown, view)
        return with_alpha(inner, alpha_of(layer))

    def decode(self, source: Path, target: Path, settings: RenderSettings) -> Recording:
        """See Engine."""
        from hallo_cli.jobs.inputs import stretch_of
        from hallo_cli.media.audio import Recording, decode

        limit_s = self.runtime.look_limit_s
        stretch, notes = look_within(limit_s, source, "recording", partial(stretch_of, source, settings))
        if not settings.separate_vocals:
            look = partial(decode, source, target, stretch)
            recording = look_within(limit_s, source, "recording", look)
            return dataclasses.replace(recording, notes=(*notes, *recording.notes))
        from hallo_cli.analysis import vocals

        logger.info("%s: the voice is separated from music and noise first", source.name)
        part = target.with_name(f"{target.name}.part-voice")  # at first it holds the mixture
        voice = vocals.separate(source, part, self.bundle, stretch)
        rename(part, target)
        return Recording(target, voice.n_samples, (*notes, *voice.notes))

    @cached_property
    def encoder(self) -> SpeechEncoder:
        """Turns sound into features as this bundle's training did."""
        from hallo_cli.analysis.speech import load_encoder
        from hallo_cli.inference.device import use_threads

        use_threads(self.runtime)  # the speech of a job's first clips is analysed before networks are loaded
        return load_encoder(self.bundle)

    def track(self, recording: Recording, n_frames: int, settings: RenderSettings) -> SpeechTrack:
        """See Engine."""
        from hallo_cli.analysis.speech import RecordingTrack, TrackOptions

        options = TrackOptions(
            n_frames=n_frames,
            clip_frames=self._clip_frames(settings),
            fps=float(exact_rate(settings.fps)),
            overlap_s=settings.overlap_s,
            seed=settings.seed,
            guards_silence=settings.silence_guard,
            piece_s=self.bundle.manifest.speech.piece_s,
        )
        return RecordingTrack(recording, self.encoder, options)

    def load_networks(self, settings: RenderSettings) -> Animator:
        """See Engine: the networks in the settings' dtype."""
        from hallo_cli.bundles.networks import load_networks
        from hallo_cli.inference.animator import Animator
        from hallo_cli.inference.device import autoencoder_dtype, resolve_device, resolve_dtype

        if self._animator is None or self._dtype != settings.dtype:
            if self._animator is not None:
                self._release()
            # offloaded networks stay in host memory, since the device may be too small for them
            device = resolve_device("cpu" if self.runtime.offload else self.runtime.device)
            dtype = resolve_dtype(settings.dtype, device)
            vae_dtype = autoencoder_dtype(dtype, resolve_device(self.runtime.device))
            networks = load_networks(self.bundle, device=device, dtype=dtype, vae_dtype=vae_dtype)
            self._animator, self._dtype = Animator(networks, self.runtime), settings.dtype
        return self._animator

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Generator[StepDone | Clip]:
        """See Engine."""
        animator = self.load_networks(settings)
        key = (portrait.digest, settings)
        if self._context is None or self._context[0] != key:
            self._context = key, animator.prepare(portrait, settings)
        first_clip = speech.first_frame // self._clip_frames(settings)
        return animator.clips(self._context[1], speech, first_clip=first_clip, motion=motion)

    def fall_back(self) -> str | None:
        """See Engine."""
        fallback = next_fallback(self.runtime)
        if fallback is None:
            return None
        name, self.runtime = fallback
        self._release()
        return name

    def note_speed(self, settings: RenderSettings, seconds_per_frame: float) -> None:
        """See Engine."""
        forecast.remember(self.workload_of(settings), seconds_per_frame)

    def workload_of(self, settings: RenderSettings) -> forecast.Workload:
        """The facts that decide how long a frame of resolved settings takes."""
        assert settings.size is not None
        return forecast.Workload(
            weights_id=self.weights_id,
            device=device_name(self.runtime.device).partition(":")[0],
            dtype=settings.dtype,
            size=settings.size,
            passes=forecast.count_passes(settings),
            is_large=max(self.networks.channels) >= LARGE_WIDTH,
            is_compiled=settings.compile == "on",
        )

    def _release(self) -> None:
        """Free the networks and their memory on the device."""
        import torch

        self._animator, self._context = None, None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _clip_frames(self, settings: RenderSettings) -> int:
        return settings.clip_frames or self.networks.clip_frames

    def _require_fitting(self, settings: RenderSettings) -> None:
        networks = self.networks
        most = networks.max_temporal - networks.motion_frames
        if self._clip_frames(settings) > most:
            raise SettingsError(
                f"--clip-frames {settings.clip_frames}: these weights know {most} positions in a clip. "
                f"Give 1 to {most}."
            )
        if networks.is_anchored:
            if settings.framing == "whole":
                raise SettingsError(
                    "--framing whole squeezes the picture for the official weights; these weights move the "
                    "picture itself. Use --framing full to show all of it."
                )
            return
        from hallo_cli.inference.latents import fits

        size = settings.size or networks.image_size
        if not fits(networks, size):
            sizes = [side for side in range(64, 2048 + 1, 8) if fits(networks, side)]
            nearest = min(sizes, key=lambda side: abs(side - size))
            known = ", ".join(map(str, sizes[:4]))
            raise SettingsError(
                f"--size {size} does not fit these weights (they take {known} and so on): give {nearest}."
            )
