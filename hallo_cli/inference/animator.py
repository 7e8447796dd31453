"""The clip loop: an analysed portrait and analysed speech in, clips of frames out. No paths, no printing.

What is computed how often, all of it exact:
once a portrait   its latents, its reference features, their keys and values, the identity tokens' attention,
                  the face locator;
once a clip       the motion frames' reference features, and what the audio and motion modules make of their
                  conditions before the frames come in;
every step        one pass of the denoising UNet, in which the unconditional half attends neither to the
                  portrait nor to audio (there the audio modules add a constant), and the motion frames' rows
                  end where nothing reads them any more;
never             motion modules that do not run, what follows the reference UNet's last feature.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hallo_cli.domain import Clip, Float, MotionFrames, Portrait, RegionMasks, Speech, StepDone
from hallo_cli.errors import PortraitError
from hallo_cli.inference import latents as conventions
from hallo_cli.inference import speed
from hallo_cli.inference.ahead import Threads, ahead
from hallo_cli.inference.finishing import DenoisedClip, make_finisher, motion_pictures
from hallo_cli.inference.job_context import JobContext, PortraitContext
from hallo_cli.inference.memory import reporting_memory
from hallo_cli.inference.sampling import (
    Noise,
    Predictor,
    Shape,
    compiled_pass,
    denoise,
    independent_noise,
    published_noise,
    run_unet,
    shared_noise,
)
from hallo_cli.inference.schedule import Solver, make_solver
from hallo_cli.inference.step_plan import DeepReuse, guidance_of
from hallo_cli.inference.thinning import thinned, thinning_mask
from hallo_cli.models import compat
from hallo_cli.models.anchored import Anchor
from hallo_cli.models.attention import TokenAttention
from hallo_cli.models.context import ClipContext, PerLayer
from hallo_cli.models.weights import Networks
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

N_HALVES = 2  # of a guidance pair: unconditional, conditional


@dataclass(frozen=True)
class ClipStart:
    """Where in a job to begin."""

    index: int  # of the first clip
    motion: MotionFrames | None  # what it continues from; None: the portrait


class Animator:
    """Renders with one set of networks; holds nothing of a job."""

    def __init__(self, networks: Networks, runtime: RuntimeSettings) -> None:
        self.networks, self.config = networks, networks.config
        self.execution = speed.choose_execution(runtime, is_anchored=self.config.is_anchored)
        speed.prepare_networks(networks, self.execution)
        self.dtype = networks.denoising_unet.conv_in.weight.dtype
        # Without motion modules that add nothing, the same bits in less time
        self.runs_motion = not self.config.is_anchored or networks.denoising_unet.uses_motion
        self.finisher = make_finisher(networks, self.execution)
        self.threads = Threads()

    @torch.inference_mode()
    def prepare(self, portrait: Portrait, settings: RenderSettings) -> JobContext:
        """The work that is done once a portrait.

        Raises PortraitError if the bundle needs a face embedding and the portrait has none, and
        DeviceMemoryError.
        """
        with reporting_memory():
            tokens = self._identity_tokens(portrait)
            reference_identity = None
            if tokens is not None:
                with speed.present(self.networks.reference_unet, self.execution) as network:
                    reference_identity = network.project_identity(tokens)
            pictures = _pictures(portrait.pixels).to(self.execution.device)
            anchor = self._anchor(pictures)
            context = self._portrait(pictures, reference_identity, anchor)
            once = None
            if compat.normalises_twice(self.config, pictures):
                once, context = context, self._portrait(2 * pictures - 1, reference_identity)
            return JobContext(
                settings=settings,
                pictures=pictures,
                anchor=anchor,
                portrait=context,
                portrait_once=once,
                reference_identity=reference_identity,
                identity=None if tokens is None else self.networks.denoising_unet.project_identity(tokens),
                masks=self._masks(portrait.masks),
                region_weights=self._input(_region_weights(settings)),
                face=torch.from_numpy(portrait.face_region).to(self.execution.device) > 0,
                window=portrait.window,
                face_features=self.networks.face_locator(self._located(portrait)),
            )

    def clips(
        self,
        context: JobContext,
        speech: Speech,
        *,
        first_clip: int = 0,
        motion: MotionFrames | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Generator[StepDone | Clip]:
        """Render the speech clip by clip, continuing from `motion` (None: from the portrait).

        Yields a StepDone after each denoising step and a Clip when its frames are there; ends early, between
        steps, once `is_cancelled()`. Only the last clip may be shorter than the settings' `clip_frames`.
        Where the execution `overlaps`, a clip is finished here while another thread denoises the next, unless
        compiled: CUDA graphs belong to one thread.
        Raises DeviceMemoryError.
        """
        start = ClipStart(first_clip, motion)
        items = self._denoised(context, speech, start, is_cancelled)
        if self.execution.overlaps and context.settings.compile == "off":
            items = ahead(items, self.threads, is_heavy=lambda item: isinstance(item, DenoisedClip))
        with closing(items):
            for item in items:
                if isinstance(item, StepDone):
                    yield item
                    continue
                with reporting_memory():
                    clip = item.finish()
                yield clip

    @torch.inference_mode()
    def _denoised(
        self,
        context: JobContext,
        speech: Speech,
        start: ClipStart,
        is_cancelled: Callable[[], bool],
    ) -> Generator[StepDone | DenoisedClip]:
        noise, motion = self._noise(context.settings), start.motion
        clip_frames = context.settings.clip_frames or self.config.clip_frames
        weights = _region_weights(context.settings)
        with reporting_memory():
            for offset in range(0, speech.n_frames, clip_frames):
                index = start.index + offset // clip_frames
                n_frames = min(clip_frames, speech.n_frames - offset)
                windows = audio_windows(speech, offset, n_frames, self.config.audio_window)
                windows = conventions.scaled_controls(self.config, windows, weights)
                windows, eyes = conventions.without_eyes(self.config, windows)
                pair = self.clip_context(context, windows, motion, index=index)
                latents = noise(index, self.latents_shape(context, n_frames)).to(self.execution.device)
                solver, predictor = self.sampler(context.settings, pair)
                for step, after in enumerate(denoise(predictor, solver, latents), 1):
                    latents = after
                    yield StepDone(index, step, len(solver.timesteps))
                    if is_cancelled():
                        return
                clip = self.finisher.begin(context, latents, index, motion, eyes=eyes)
                motion = clip.motion
                yield clip

    def sampler(self, settings: RenderSettings, pair: ClipContext) -> tuple[Solver, Predictor]:
        """What takes one clip from noise to latents."""
        assert settings.solver is not None
        assert settings.steps is not None
        predictor = Predictor(
            self.networks.denoising_unet,
            pair,
            guidance_of(settings),
            self.dtype,
            self.execution.splits_guidance,
            DeepReuse(settings.deep_every),
            compiled_pass() if settings.compile == "on" else run_unet,
        )
        return make_solver(self.config, settings.solver, settings.steps), predictor

    def latents_shape(self, context: JobContext, n_frames: int) -> Shape:
        """The shape of what is generated for a clip of so many frames."""
        height, width = context.portrait.latents.shape[-2:]
        return n_frames, self.config.latent_channels, height, width

    def clip_context(
        self, context: JobContext, windows: Float, motion: MotionFrames | None, *, index: int = 0
    ) -> ClipContext:
        """The guidance pair's conditions of a clip; windows [frames, audio_window, blocks, channels]."""
        unet, n_frames = self.networks.denoising_unet, len(windows)
        portrait, motion_features = context.portrait, None
        if self.runs_motion:
            portrait, motion_features = self._motion_features(context, ClipStart(index, motion))
        tokens = self.networks.audio_projection(self._input(windows))
        layers = unet.layer_contexts(
            reference=portrait.keys,
            identity=context.identity,
            audio=unet.project_audio(tokens, context.masks, context.region_weights),
            motion=unet.project_motion(motion_features)
            if motion_features is not None and self.config.motion_frames
            else None,
        )
        halves = compat.reference_rows(self.config, N_HALVES, n_frames)[n_frames:]
        reference_rows = self._identities()[halves, 0].to(self.execution.device)
        face_features = self.networks.face_locator.controlled(
            context.face_features, self._input(windows), self.config
        )
        return ClipContext(
            layers, context.masks, n_frames, n_frames, reference_rows, face_features, self.runs_motion
        )

    def _motion_features(
        self, context: JobContext, start: ClipStart
    ) -> tuple[PortraitContext, PerLayer[Tensor]]:
        """The portrait, and the motion frames' features [halves, motion frames, positions, channels]."""
        identities = self._identities()[:, 1:].to(self.execution.device)
        is_portrait = start.motion is None and not self.config.motion_thinning
        if is_portrait or not self.config.motion_frames:
            return context.portrait, context.portrait.features.map(lambda feature: feature[identities])
        pictures, portrait = self._motion_pictures(context, start), context.portrait
        if self.config.is_anchored:
            latents = conventions.reference_input(self.config, portrait.latents, pictures)
            features = self._reference_features(latents, None)
            return portrait, features.map(lambda feature: feature.expand(N_HALVES, *feature.shape))
        if context.portrait_once is not None:
            if compat.normalises_twice(self.config, torch.cat([context.pictures, pictures])):
                pictures = 2 * pictures - 1
            else:
                portrait = context.portrait_once
        latents = self._encode(pictures)
        if context.reference_identity is None:
            features = self._reference_features(latents, None)
            return portrait, features.map(lambda feature: feature.expand(N_HALVES, *feature.shape))
        rows = identities.flatten()
        features = self._reference_features(
            latents.repeat(N_HALVES, 1, 1, 1),
            context.reference_identity.map(lambda tokens: tokens.rows(rows)),
        )
        return portrait, features.map(lambda feature: feature.unflatten(0, (N_HALVES, -1)))

    def _motion_pictures(self, context: JobContext, start: ClipStart) -> Tensor:
        """The motion frames [motion frames, 3, height, width] in -1..1, thinned where the weights want it."""
        if start.motion is None:
            pictures = context.pictures.expand(self.config.motion_frames, -1, -1, -1)
        else:
            pictures = motion_pictures(start.motion, self.execution.device)
        share = self.config.motion_thinning
        if not share:
            return pictures
        height, width = pictures.shape[-2:]
        mask = thinning_mask((height, width), share, seed=context.settings.seed, clip=start.index)
        return thinned(pictures, mask.to(pictures.device), context.face)

    def _identities(self) -> Tensor:
        """Which identity row each picture of each half gets: [halves, portrait and motion frames]."""
        n_images = 1 + self.config.motion_frames
        rows = compat.identity_rows(self.config, N_HALVES, n_images).unflatten(0, (N_HALVES, n_images))
        return rows if self.config.identity_tokens else torch.zeros_like(rows)

    def _anchor(self, pictures: Tensor) -> Anchor | None:
        with speed.present(self.networks.vae, self.execution) as vae:
            return vae.anchor(pictures.to(next(vae.parameters()).dtype))

    def _portrait(
        self,
        pictures: Tensor,
        identity: PerLayer[TokenAttention] | None,
        anchor: Anchor | None = None,
    ) -> PortraitContext:
        latents = self._encode(pictures) if anchor is None else anchor.coarse.float()
        n_identities = 1 if identity is None else N_HALVES
        read = conventions.reference_input(self.config, latents).expand(n_identities, -1, -1, -1)
        features = self._reference_features(read, identity)
        return PortraitContext(latents, features, self.networks.denoising_unet.project_reference(features))

    def _reference_features(
        self, latents: Tensor, identity: PerLayer[TokenAttention] | None
    ) -> PerLayer[Tensor]:
        with speed.present(self.networks.reference_unet, self.execution) as network:
            features: PerLayer[Tensor] = network(latents.to(self.dtype), identity)
        return features.map(lambda feature: compat.stored_features(self.config, feature))

    def _identity_tokens(self, portrait: Portrait) -> Tensor | None:
        """Tokens of no identity and of the portrait's: [halves, tokens, width]."""
        projection = self.networks.image_projection
        if projection is None:
            return None
        if portrait.identity is None:
            raise PortraitError(
                "the portrait has no face embedding, but these weights need one. "
                "Analyse it with the bundle's identity network, or choose a bundle without."
            )
        embedding = self._input(portrait.identity)[None]
        tokens: Tensor = projection(torch.cat([torch.zeros_like(embedding), embedding]))
        return tokens

    def _located(self, portrait: Portrait) -> Tensor:
        """What the face locator looks at."""
        pixels = torch.from_numpy(portrait.pixels)[None]
        region = torch.from_numpy(portrait.face_region)[None].float()
        return self._moved(conventions.locator_input(self.config, pixels, region))

    def _masks(self, masks: RegionMasks) -> tuple[Tensor, ...]:
        """A level: [1, positions, 3]."""
        levels = []
        for regions in zip(masks.full, masks.face, masks.lip, strict=True):
            maps = torch.from_numpy(np.stack(regions))
            levels.append(maps.flatten(1).T[None])
        return tuple(level.to(self.execution.device, self.dtype) for level in levels)

    def _encode(self, pictures: Tensor) -> Tensor:
        with speed.present(self.networks.vae, self.execution) as vae:
            return vae.encode(pictures.to(next(vae.parameters()).dtype)).mean.float()

    def _input(self, values: Float) -> Tensor:
        return self._moved(torch.from_numpy(values))

    def _moved(self, values: Tensor) -> Tensor:
        return values.to(self.execution.device, self.dtype)

    def _noise(self, settings: RenderSettings) -> Noise:
        if self.config.noise == "per_job":
            return partial(shared_noise, settings.seed)
        if settings.noise == "published":
            return published_noise(settings.seed, self.dtype)
        return partial(independent_noise, settings.seed)


def _region_weights(settings: RenderSettings) -> Float:
    return np.array([settings.pose_weight, settings.face_weight, settings.lip_weight], np.float32)


def audio_windows(speech: Speech, offset: int, n_frames: int, width: int) -> Float:
    """Features around each of `n_frames` frames from `offset` on: [n_frames, width, blocks, channels]."""
    first = speech.context + offset - width // 2
    assert first >= 0
    index = first + np.arange(n_frames)[:, None] + np.arange(width)
    windows: Float = speech.features[index]
    return windows


def _pictures(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """[height, width, 3] -> [1, 3, height, width] in -1..1."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
