"""Encodes takes for the trainer: latents, audio features, attention masks, once for all epochs.

The portrait's regions are those that rendering computes from the same landmarks; only takes from videos,
which have no portrait of their own, use the union over their frames as the published training does.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from hallo_cli.analysis import regions
from hallo_cli.analysis.head_motion import UNITS
from hallo_cli.bundles.bundle_file import Geometry
from hallo_cli.domain import SAMPLE_RATE, Bytes, Float
from hallo_cli.errors import InputError
from hallo_cli.models.anchored import Truth
from hallo_cli.models.autoencoder import AnchoredAutoencoder, Autoencoder
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.training.dataset import prefetched
from hallo_cli.training.encoded_shards import EncodedFormat
from hallo_cli.training.takes import MOUTH_MATERIALS, Take, picture, unpacked_flow

CONTEXT = 2  # frames of features before and after a take


@dataclass(frozen=True)
class TakeEncoder:
    """Everything that encoding runs."""

    network: NetworkConfig
    vae: Autoencoder
    vae_digest: str
    hear: Callable[[Float, int], Float]  # a recording at 16 kHz, number of frames -> [n, blocks, width]
    control_channel: int | None = None  # the first of the features that control head, eyes and brows
    geometry: Geometry = field(default_factory=Geometry)
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    batch: int = 32  # pictures at a time
    speech_digest: str = ""  # of the speech encoder's weights; empty where that is not known

    @property
    def origin(self) -> dict[str, str]:
        """What decides the encoded numbers, apart from the takes."""
        network, geometry = self.network, self.geometry
        known = {
            "autoencoder": f"{self.vae_digest} {network.latent_scale:g}",
            "speech encoder": self.speech_digest,
            "network": f"{network.image_size} {network.latent_factor} {network.levels} "
            f"{network.locator_input}",
            "framing": f"{geometry.face_expand_ratio:g} {geometry.lip_expand_ratio:g}",
        }
        return {name: value for name, value in known.items() if value}

    def shard(self, takes: list[Take]) -> tuple[dict[str, Tensor], EncodedFormat]:
        """The tensors of one encoded shard. Raises InputError if a take does not fit the networks."""
        ahead = prefetched(lambda index: _read(takes[index]), iter(range(len(takes))), 2)
        encoded = [self.take(*read) for read in ahead]
        lengths = torch.tensor([take.info.n_frames for take in takes])
        tensors = {name: torch.cat([one[name] for one in encoded]) for name in _common(encoded)}
        tensors["starts"] = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
        size = self.network.image_size
        grey = np.full((size, size, 3), 127.5, np.float32)
        tensors["grey"] = self._latents(grey[None], grey)[0][0]
        _, blocks, width = tensors["audio"].shape
        channels, rows, columns = (int(n) for n in tensors["latents"].shape[1:])
        header = EncodedFormat(
            latent_shape=(channels, rows, columns),
            image_size=size,
            audio_blocks=blocks,
            audio_dim=width,
            levels=self.network.levels,
            vae=self.vae_digest,
            context=CONTEXT,
        )
        return tensors, header

    def take(self, take: Take, frames: Bytes, portrait: Bytes) -> dict[str, Tensor]:
        """One take's rows of every tensor of a shard."""
        n_frames = take.info.n_frames
        frames, portrait = self._sized(frames), self._sized(portrait[None])[0]
        self._check(take, frames)
        latents, reference, spread = self._latents(frames, portrait, exact_motion(take))
        result = {
            "latents": latents,
            "reference": reference,
            "own_reference": torch.tensor([take.info.reference == "own" or self.network.is_anchored]),
            "audio": torch.from_numpy(self._audio(take)).half(),
            **self._regions(take),
        }
        if spread is not None:
            result["latents_spread"] = spread
        if self.network.locator_input == "portrait":
            result["reference_pixels"] = torch.from_numpy(portrait[None].copy())
        if take.identity is not None:
            result["identity"] = torch.from_numpy(np.asarray(take.identity, np.float32))[None]
        for name, values in take.truth.items():
            is_learnt_from = values.ndim <= 2  # not what is there to measure with: landmarks, masks
            if is_learnt_from and len(values) == n_frames and np.issubdtype(values.dtype, np.number):
                result[f"truth.{name}"] = torch.from_numpy(np.asarray(values, np.float16))
        return result

    def _check(self, take: Take, frames: Bytes) -> None:
        wanted = self.network.image_size
        if frames.shape[1:3] != (wanted, wanted):
            height, width = frames.shape[1:3]
            raise InputError(
                f"take {take.key}: frames of {width} x {height}, the networks train at {wanted}: prepare the "
                f"data at that size"
            )
        if take.info.fps != 25:
            raise InputError(f"take {take.key} has {take.info.fps} frames a second, training needs 25")
        if take.landmarks.shape != (478, 2):
            raise InputError(
                f"take {take.key}: landmarks of shape {take.landmarks.shape} instead of (478, 2)"
            )

    def _sized(self, pictures: Bytes) -> Bytes:
        """Pictures [n, height, width, 3] at the networks' size where theirs is a whole multiple of it."""
        size = self.network.image_size
        step = pictures.shape[1] // size
        if step <= 1 or pictures.shape[1:3] != (step * size, step * size):
            return pictures
        return np.stack([cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA) for one in pictures])

    @torch.inference_mode()
    def _latents(
        self,
        pictures: np.ndarray[Any, Any],
        portrait: np.ndarray[Any, Any],
        truth: Truth | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The pictures' latents, what the reference UNet is to know of the portrait, the latents' spread."""
        with torch.autocast(self.device.split(":")[0], dtype=self.dtype, enabled=self.dtype != torch.float32):
            if not isinstance(self.vae, AnchoredAutoencoder):
                means, spreads = self._encoded(pictures)
                return means, self._encoded(portrait[None])[0], spreads
            anchor = self.vae.anchor(self._planes(portrait[None]))
            latents = self.vae.encode(self._planes(pictures), anchor, truth).mean
            return latents.half().cpu().contiguous(), anchor.coarse.half().cpu().contiguous(), None

    def _encoded(self, pictures: np.ndarray[Any, Any]) -> tuple[Tensor, Tensor | None]:
        means, spreads = [], []
        for start in range(0, len(pictures), self.batch):
            encoding = self.vae.encode(self._planes(pictures[start : start + self.batch]))
            means.append(encoding.mean.half().cpu().contiguous())
            if encoding.log_variance is not None:
                spreads.append((0.5 * encoding.log_variance.float()).exp().half().cpu())
        return torch.cat(means), torch.cat(spreads) if spreads else None

    def _planes(self, pictures: np.ndarray[Any, Any]) -> Tensor:
        chunk = torch.from_numpy(pictures).to(self.device)
        return (chunk.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)

    def _audio(self, take: Take) -> Float:
        waveform = read_wav(take)
        n_frames, lead = take.info.n_frames, round(take.info.audio_lead_s * take.info.fps)
        n_total = max(lead + n_frames, -(-len(waveform) * 25 // SAMPLE_RATE))
        features = self.hear(waveform, n_total)
        rows = np.arange(lead - CONTEXT, lead + n_frames + CONTEXT).clip(0, n_total - 1)
        chosen = np.array(features[rows], np.float32)
        if self.control_channel is not None:  # what is heard there is invented, not what this take shows
            known = np.pad(_controls(take), ((CONTEXT, CONTEXT), (0, 0)), mode="edge")
            chosen[:, :, self.control_channel :] = known[:, None]
        return chosen

    def _regions(self, take: Take) -> dict[str, Tensor]:
        size, whole = take.info.size, (take.info.size, take.info.size)
        landmarks = np.asarray(take.landmarks, np.float32)
        if take.info.reference == "own":
            face_bounds = regions.face_rectangle(landmarks, whole, 1.0)
            lip_bounds = regions.lip_rectangle(landmarks, whole, 1.0)
            face = regions.face_rectangle(landmarks, whole, self.geometry.face_expand_ratio)
            lip = regions.lip_rectangle(landmarks, whole, self.geometry.lip_expand_ratio)
            maps = regions.region_maps(face, lip, whole)
        else:
            face = face_bounds = _region(take.info.face_box, size)
            lip = lip_bounds = _region(take.info.lip_box, size)
            maps = regions.union_maps(face, lip, whole)
        side, grids = self.network.image_size // self.network.latent_factor, []
        for _ in range(self.network.levels):
            grids.append((side, side))
            side = -(-side // 2)
        masks = regions.attention_masks(maps, grids)
        boxes = [_box(region, size) for region in (face, face_bounds, lip_bounds)]
        stacked = {
            f"masks.{level}": torch.from_numpy(np.stack(maps)[None]).half()
            for level, maps in enumerate(zip(masks.full, masks.face, masks.lip, strict=True))
        }
        return {"boxes": torch.tensor([boxes]), **stacked}


def read_wav(take: Take) -> Float:
    """A take's sound as float32 in -1..1. Raises InputError unless it is 16 kHz mono 16-bit PCM."""
    try:
        with wave.open(io.BytesIO(take.wav)) as file:
            kind = file.getframerate(), file.getnchannels(), file.getsampwidth()
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    except (wave.Error, EOFError, ValueError) as error:
        raise InputError(
            f"take {take.key}: its sound is not a WAV file ({error}): prepare it again"
        ) from error
    if kind != (SAMPLE_RATE, 1, 2):
        raise InputError(f"take {take.key}: sound of {kind} instead of 16 kHz, mono, 16 bit")
    return np.asarray(samples, np.float32) / np.float32(32768)


def exact_motion(take: Take) -> Truth | None:
    """What the corpus knows of the take's frames; None of takes from videos."""
    if "flow" not in take.truth:
        return None
    flow = torch.from_numpy(unpacked_flow(take.truth["flow"]) / np.float32(take.info.size))
    hidden = torch.from_numpy(~take.truth["seen"])[:, None].float()
    inner = torch.from_numpy(np.isin(take.truth["materials"], MOUTH_MATERIALS))[:, None].float()
    return Truth(flow.permute(0, 3, 1, 2).contiguous(), hidden, inner)


def _controls(take: Take) -> Float:
    """The controls of a take's frames in their units [frames, 7]; what it does not know is 0."""
    n_frames = take.info.n_frames
    parts = (("blink", 1), ("turn", 3), ("brow", 1), ("gaze", 2))
    known = [
        np.asarray(take.truth.get(name, np.zeros((n_frames, width))), np.float32).reshape(n_frames, width)
        for name, width in parts
    ]
    return np.asarray(np.concatenate(known, 1) / UNITS, np.float32)


def _read(take: Take) -> tuple[Take, Bytes, Bytes]:
    frames = np.stack([picture(take, data) for data in take.frames])
    return take, frames, frames[0] if take.reference is None else picture(take, take.reference)


def _common(encoded: list[dict[str, Tensor]]) -> list[str]:
    """The tensors that every take of the shard has; some takes may lack truth that others have."""
    return [name for name in encoded[0] if all(name in one for one in encoded)]


def _region(box: tuple[float, float, float, float], size: int) -> regions.Region:
    left, top, right, bottom = (min(max(round(edge), 0), size) for edge in box)
    return left, right, top, bottom


def _box(region: regions.Region, size: int) -> list[float]:
    left, right, top, bottom = region
    return [left / size, top / size, right / size, bottom / size]
