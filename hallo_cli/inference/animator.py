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

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hallo_cli.domain import Clip, Float, MotionFrames, Portrait, RegionMasks, Speech, StepDone
from hallo_cli.errors import DeviceMemoryError, PortraitError
from hallo_cli.inference import latents as conventions
from hallo_cli.inference import speed
from hallo_cli.inference.decode import decode_frames, give_back_detail
from hallo_cli.inference.sampling import (
    Guidance,
    IndependentNoise,
    Noise,
    Predictor,
    PublishedNoise,
    Shape,
    SharedNoise,
    denoise,
)
from hallo_cli.inference.schedule import Solver, make_solver
from hallo_cli.models import compat
from hallo_cli.models.attention import KeyValue, TokenAttention
from hallo_cli.models.context import ClipContext, UNetTree
from hallo_cli.models.weights import Networks
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

N_HALVES = 2  # of a guidance pair: unconditional, conditional


@dataclass(frozen=True)
class PortraitContext:
    """The portrait as the reference UNet sees it; a row an identity: none and the face's, or one in all."""

    latents: Tensor  # [1, channels, height, width], whole
    features: UNetTree[Tensor]  # [identities, positions, channels]
    keys: UNetTree[KeyValue]  # the same rows, as the denoising UNet reads them


@dataclass(frozen=True)
class JobContext:
    """Everything about a job that stays the same from clip to clip."""

    settings: RenderSettings
    pictures: Tensor  # [1, 3, height, width] the portrait in -1..1
    portrait: PortraitContext
    portrait_once: PortraitContext | None  # where the portrait's own was normalised twice (compat)
    copy: Tensor | None  # [1, 3, height, width] the portrait after the autoencoder
    reference_identity: UNetTree[TokenAttention] | None  # rows: identities
    identity: UNetTree[TokenAttention] | None  # rows: halves
    masks: tuple[Tensor, ...]
    region_weights: Tensor  # [3]
    face_features: Tensor


class Animator:
    """Renders with one set of networks; holds nothing of a job."""

    def __init__(self, networks: Networks, runtime: RuntimeSettings) -> None:
        self.networks, self.config = networks, networks.config
        self.execution = speed.choose_execution(runtime)
        self.unet = speed.prepare_networks(networks, self.execution)
        self.dtype = networks.denoising_unet.conv_in.weight.dtype

    @torch.inference_mode()
    def prepare(self, portrait: Portrait, settings: RenderSettings) -> JobContext:
        """The work that is done once a portrait.

        Raises PortraitError where the bundle needs a face embedding and the portrait has none, and
        DeviceMemoryError.
        """
        with reporting_memory():
            tokens = self._identity_tokens(portrait)
            reference_identity = None
            if tokens is not None:
                with speed.present(self.networks.reference_unet, self.execution) as network:
                    reference_identity = network.project_identity(tokens)
            pictures = _pictures(portrait.pixels).to(self.execution.device)
            context = self._portrait(pictures, reference_identity)
            once = None
            if compat.normalises_twice(self.config, pictures):
                once, context = context, self._portrait(2 * pictures - 1, reference_identity)
            return JobContext(
                settings=settings,
                pictures=pictures,
                portrait=context,
                portrait_once=once,
                copy=self._decode(context.latents, 1) if self.config.detail_back else None,
                reference_identity=reference_identity,
                identity=None if tokens is None else self.networks.denoising_unet.project_identity(tokens),
                masks=self._masks(portrait.masks),
                region_weights=self._input(
                    np.array([settings.pose_weight, settings.face_weight, settings.lip_weight], np.float32)
                ),
                face_features=self._face_features(portrait),
            )

    @torch.inference_mode()
    def clips(
        self,
        context: JobContext,
        speech: Speech,
        *,
        first_clip: int = 0,
        motion: MotionFrames | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[StepDone | Clip]:
        """Render the speech clip by clip, continuing from `motion` (None: from the portrait).

        Yields a StepDone after each denoising step and a Clip when its frames are there; ends early, between
        steps, once `is_cancelled()`. Only the last clip may be shorter than the config's `clip_frames`.
        Raises DeviceMemoryError.
        """
        noise = self._noise(context.settings)
        with reporting_memory():
            for offset in range(0, speech.n_frames, self.config.clip_frames):
                index = first_clip + offset // self.config.clip_frames
                n_frames = min(self.config.clip_frames, speech.n_frames - offset)
                windows = audio_windows(speech, offset, n_frames, self.config.audio_window)
                pair = self.clip_context(context, windows, motion)
                latents = noise(index, self.latents_shape(context, n_frames)).to(self.execution.device)
                solver, predictor = self.sampler(context.settings, pair)
                for step, after in enumerate(denoise(predictor, solver, latents), 1):
                    latents = after
                    yield StepDone(index, step, len(solver.timesteps))
                    if is_cancelled():
                        return
                clip = self.finish(context, self.pictures(context, latents), index, motion)
                motion = clip.motion
                yield clip

    def sampler(self, settings: RenderSettings, pair: ClipContext) -> tuple[Solver, Predictor]:
        """What takes one clip from noise to latents."""
        assert settings.guidance is not None
        assert settings.solver is not None
        assert settings.steps is not None
        guidance = Guidance(settings.guidance, settings.guidance_start, settings.guidance_stop)
        solver = make_solver(self.config, settings.solver, settings.steps)
        return solver, Predictor(self.unet, pair, guidance, self.dtype, self.execution.splits_guidance)

    def latents_shape(self, context: JobContext, n_frames: int) -> Shape:
        """The shape of what is generated for a clip of so many frames."""
        _, channels, height, width = conventions.generated_rows(self.config, context.portrait.latents).shape
        return n_frames, channels, height, width

    def pictures(self, context: JobContext, generated: Tensor) -> Tensor:
        """The frames [frames, 3, height, width] in -1..1 of generated latents."""
        latents = conventions.from_generated(self.config, generated, context.portrait.latents)
        frames = self._decode(latents, self.execution.decode_chunk)
        if context.copy is not None:
            frames = give_back_detail(frames, context.pictures, context.copy)
        return frames

    def finish(self, context: JobContext, frames: Tensor, index: int, motion: MotionFrames | None) -> Clip:
        """The clip of these frames; `motion` is what it started from."""
        n_motion = self.config.motion_frames
        before = (
            context.pictures.expand(n_motion, -1, -1, -1) if motion is None else self._motion_pictures(motion)
        )
        last = torch.cat([before, frames])[len(frames) :]  # a clip may be shorter than its motion frames
        return Clip(
            index,
            _as_images(compat.as_bytes(self.config, frames / 2 + 0.5)),
            MotionFrames(_as_images(last)),
        )

    def clip_context(self, context: JobContext, windows: Float, motion: MotionFrames | None) -> ClipContext:
        """The guidance pair's conditions; windows [frames, audio_window, blocks, channels]."""
        unet, n_frames = self.networks.denoising_unet, len(windows)
        portrait, motion_features = self._motion_features(context, motion)
        tokens = self.networks.audio_projection(self._input(windows))
        layers = unet.layer_contexts(
            reference=portrait.keys,
            identity=context.identity,
            audio=unet.project_audio(tokens, context.masks, context.region_weights),
            motion=unet.project_motion(motion_features) if self.config.motion_frames else None,
        )
        halves = compat.reference_rows(self.config, N_HALVES, n_frames)[n_frames:]
        reference_rows = self._identities()[halves, 0].to(self.execution.device)
        return ClipContext(layers, context.masks, n_frames, n_frames, reference_rows, context.face_features)

    def _motion_features(
        self, context: JobContext, motion: MotionFrames | None
    ) -> tuple[PortraitContext, UNetTree[Tensor]]:
        """The portrait, and the motion frames' features [halves, motion frames, positions, channels]."""
        identities = self._identities()[:, 1:].to(self.execution.device)
        if motion is None or not self.config.motion_frames:
            return context.portrait, context.portrait.features.map(lambda feature: feature[identities])
        pictures, portrait = self._motion_pictures(motion), context.portrait
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

    def _identities(self) -> Tensor:
        """Which identity row each picture of each half gets: [halves, portrait and motion frames]."""
        n_images = 1 + self.config.motion_frames
        rows = compat.identity_rows(self.config, N_HALVES, n_images).unflatten(0, (N_HALVES, n_images))
        return rows if self.config.identity_tokens else torch.zeros_like(rows)

    def _portrait(self, pictures: Tensor, identity: UNetTree[TokenAttention] | None) -> PortraitContext:
        latents = self._encode(pictures)
        n_identities = 1 if identity is None else N_HALVES
        features = self._reference_features(latents.expand(n_identities, -1, -1, -1), identity)
        return PortraitContext(latents, features, self.networks.denoising_unet.project_reference(features))

    def _reference_features(
        self, latents: Tensor, identity: UNetTree[TokenAttention] | None
    ) -> UNetTree[Tensor]:
        rows = conventions.generated_rows(self.config, latents)
        with speed.present(self.networks.reference_unet, self.execution) as network:
            features: UNetTree[Tensor] = network(rows.to(self.dtype), identity)
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

    def _face_features(self, portrait: Portrait) -> Tensor:
        pixels, region = torch.from_numpy(portrait.pixels)[None], torch.from_numpy(portrait.face_region)[None]
        pictures = conventions.locator_input(self.config, pixels, region.float())
        features: Tensor = self.networks.face_locator(pictures.to(self.execution.device, self.dtype))
        return features

    def _masks(self, masks: RegionMasks) -> tuple[Tensor, ...]:
        """A level: [1, positions, 3]."""
        levels = []
        for regions in zip(masks.full, masks.face, masks.lip, strict=True):
            maps = torch.from_numpy(np.stack(regions))
            levels.append(conventions.generated_rows(self.config, maps).flatten(1).T[None])
        return tuple(level.to(self.execution.device, self.dtype) for level in levels)

    def _encode(self, pictures: Tensor) -> Tensor:
        with speed.present(self.networks.vae, self.execution) as vae:
            return vae.encode_mean(pictures.to(next(vae.parameters()).dtype)).float()

    def _decode(self, latents: Tensor, chunk: int) -> Tensor:
        with speed.present(self.networks.vae, self.execution) as vae:
            return decode_frames(vae, latents, chunk=chunk)

    def _motion_pictures(self, motion: MotionFrames) -> Tensor:
        return torch.from_numpy(motion.pixels).to(self.execution.device).permute(0, 3, 1, 2)

    def _input(self, values: Float) -> Tensor:
        return torch.from_numpy(values).to(self.execution.device, self.dtype)

    def _noise(self, settings: RenderSettings) -> Noise:
        if self.config.noise == "per_job":
            return SharedNoise(settings.seed)
        if settings.noise == "published":
            return PublishedNoise(settings.seed, self.dtype)
        return IndependentNoise(settings.seed)


def audio_windows(speech: Speech, offset: int, n_frames: int, width: int) -> Float:
    """Features around each of `n_frames` frames from `offset` on: [n_frames, width, blocks, channels]."""
    first = speech.context + offset - width // 2
    assert first >= 0
    index = first + np.arange(n_frames)[:, None] + np.arange(width)
    windows: Float = speech.features[index]
    return windows


@contextmanager
def reporting_memory() -> Iterator[None]:
    """Raise DeviceMemoryError where torch runs out of memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(
            "the device ran out of memory. Use a smaller size, decode fewer frames at a time "
            "(--decode-chunk 1) or close other programs that use it."
        ) from error
    except RuntimeError as error:
        if "not enough memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
        raise DeviceMemoryError("the computer ran out of memory. Use a smaller size.") from error


def _pictures(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """[height, width, 3] -> [1, 3, height, width] in -1..1."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def _as_images(pictures: Tensor) -> Any:
    """[rows, 3, height, width] -> a numpy array [rows, height, width, 3]."""
    return pictures.permute(0, 2, 3, 1).contiguous().cpu().numpy()
