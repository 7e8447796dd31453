"""Trains SpeechNet on synthetic speech: visemes by regression, phones by classification.

The recordings are heard through random rooms, microphones, noises and vocal tracts, so that what is learnt of
synthetic voices holds for real ones. It knows nothing of pictures.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hallo_cli.analysis.speech_network import (
    FRAME_SAMPLES,
    LogMel,
    SpeechNet,
    SpeechNetConfig,
    normalised,
    recording_level,
)
from hallo_cli.domain import Float
from hallo_cli.errors import InputError
from hallo_cli.models.tensor_file import map_tensors
from hallo_cli.models.weights import fill

REST = "pau"  # the phone of silence
_CLOSURES = slice(3, 5)  # visemes close and tuck
_WARPS = (1.0, 0.84, 0.88, 0.92, 0.96, 1.04, 1.08, 1.13, 1.18)


@dataclass(frozen=True)
class SpeechTraining:
    """Settings of one training run."""

    steps: int = 2200
    batch_size: int = 24
    chunk_frames: int = 100
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    phone_weight: float = 0.3
    likeness_weight: float = 0.3  # of the features' mean square distance from those of `like`
    closure_weight: float = 2.0  # more for shut lips: an unsure network would leave them half open
    ema_decay: float = 0.99
    threads: int = 1
    seed: int = 0
    held_out_utterances: int = 48


@dataclass(frozen=True)
class SpeechCorpus:
    """Utterances laid end to end; utterance i has the frames `offsets[i]` to `offsets[i + 1]`."""

    waveform: npt.NDArray[np.int16]  # [640 * frames], 16 kHz
    visemes: npt.NDArray[np.float16]  # [frames, visemes]
    phones: npt.NDArray[np.uint8]  # [frames]
    offsets: npt.NDArray[np.int64]
    levels: Float  # [utterances] see recording_level
    phone_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.levels)

    def samples(self, utterance: int, first_frame: int, stop_frame: int) -> Float:
        """The sound of frames of the corpus, normalised by the level of the utterance that they are in."""
        part = _samples(self.waveform, first_frame, stop_frame)
        return normalised(part, float(self.levels[utterance]))


def read_corpus(folder: Path) -> SpeechCorpus:
    """All `speech-*.npz` shards of `folder`. Raises InputError if there is none."""
    shards = [np.load(path, allow_pickle=False) for path in sorted(folder.glob("speech-*.npz"))]
    if not shards:
        raise InputError(f"{folder} holds no speech-*.npz shard; make some with `hallo train synth-speech`")
    lengths = np.concatenate([np.diff(shard["frame_offsets"]) for shard in shards])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    waveform = np.concatenate([shard["waveform"] for shard in shards])
    levels = [
        recording_level(_samples(waveform, int(first), int(stop)))
        for first, stop in itertools.pairwise(offsets)
    ]
    return SpeechCorpus(
        waveform,
        np.concatenate([shard["visemes"] for shard in shards]),
        np.concatenate([shard["phones"] for shard in shards]),
        offsets,
        np.array(levels, np.float32),
        tuple(str(name) for name in shards[0]["phone_names"]),
    )


def _samples(waveform: npt.NDArray[np.int16], first_frame: int, stop_frame: int) -> Float:
    part = waveform[first_frame * FRAME_SAMPLES : stop_frame * FRAME_SAMPLES]
    return np.divide(part, 32768, dtype=np.float32)


@dataclass(frozen=True)
class SpeechReport:
    """How training stands: held-out numbers with the same disturbances as in training."""

    step: int
    steps: int
    loss: float
    viseme_correlations: tuple[float, ...]
    phone_accuracy: float
    elapsed_s: float


def train_speech_encoder(
    corpus: SpeechCorpus,
    training: SpeechTraining,
    *,
    on_report: Callable[[SpeechReport, SpeechNet], None],
    init: Path | None = None,
    like: Path | None = None,
    report_every: int = 250,
) -> SpeechNet:
    """A SpeechNet trained on all but the last `held_out_utterances` of `corpus`: its weights' moving average.

    `init`: weights to start from, also of a network of fewer context stages. `like`: weights whose features
    the new ones stay close to, so that other networks can hear with either. Raises WeightsError if they do
    not fit, InputError where the corpus is too small to hold some of it back.
    """
    if len(corpus) <= training.held_out_utterances:
        raise InputError(
            f"The corpus holds {len(corpus)} utterances; {training.held_out_utterances} are held back to "
            "measure by. Make more with `hallo train synth-speech --shards`."
        )
    torch.set_num_threads(training.threads)
    torch.manual_seed(training.seed)
    rng = np.random.default_rng(training.seed)
    names = corpus.phone_names
    network = SpeechNet(SpeechNetConfig(phones=len(names), rest=names.index(REST)))
    if init is not None:
        start_from(network, init)
    teacher = None
    if like is not None:
        teacher = SpeechNet(network.config).eval().requires_grad_(False)
        start_from(teacher, like)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(training.ema_decay)
    )
    optimizer = torch.optim.AdamW(
        network.parameters(), training.learning_rate, weight_decay=training.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.learning_rate, training.steps)
    log_mel = LogMel(network.config.n_mels, _WARPS)
    trained = range(len(corpus) - training.held_out_utterances)
    held_out = range(len(corpus) - training.held_out_utterances, len(corpus))
    started = time.monotonic()
    for step in range(training.steps):
        batch = _draw(corpus, trained, rng, training)
        loss = _loss(network, log_mel, batch, training, teacher)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
        if (step + 1) % report_every == 0 or step + 1 == training.steps:
            numbers = _measured(_inner(average), log_mel, _draw(corpus, held_out, rng, training))
            report = SpeechReport(step + 1, training.steps, loss.item(), *numbers, time.monotonic() - started)
            on_report(report, _inner(average))
    trained_net = _inner(average)
    trained_net.measure_opening(heard_features(trained_net, corpus, held_out))
    return trained_net


@torch.no_grad()
def heard_features(network: SpeechNet, corpus: SpeechCorpus, utterances: range) -> Tensor:
    """Features [frames, features] of some utterances, undisturbed."""
    log_mel = LogMel(network.config.n_mels)
    features = []
    for index in utterances:
        first, stop = corpus.offsets[index : index + 2].tolist()
        waveform = torch.from_numpy(corpus.samples(index, first, stop))
        features.append(network(log_mel(waveform[None])).features[0])
    return torch.cat(features)


def start_from(network: SpeechNet, weights: Path) -> None:
    """Fill `network` from a file; context stages that the file lacks begin as if they were not there.

    Raises WeightsError if the file does not fit.
    """
    tensors = map_tensors(weights)
    stored = {key.split(".")[1] for key in tensors if key.startswith("context.")}
    config = network.config
    dilations = config.dilations[: len(stored)]
    donor = SpeechNet(replace(config, dilations=dilations, has_opening="opening" in tensors))
    fill({"": donor}, weights, device="cpu", dtype=torch.float32)
    network.load_state_dict(donor.state_dict(), strict=False)
    for stage in list(network.context)[len(stored) :]:
        assert isinstance(stage.norm, nn.LayerNorm)
        nn.init.zeros_(stage.norm.weight)
        nn.init.zeros_(stage.norm.bias)


def _inner(average: torch.optim.swa_utils.AveragedModel) -> SpeechNet:
    assert isinstance(average.module, SpeechNet)
    return average.module.eval()


@dataclass(frozen=True)
class _Batch:
    clean: Tensor  # [batch, 640 * frames]
    waveform: Tensor  # the same, disturbed
    visemes: Tensor  # [batch, frames, visemes]
    phones: Tensor  # [batch, frames]
    warp: Tensor  # [batch] index into _WARPS


def _draw(
    corpus: SpeechCorpus, utterances: range, rng: np.random.Generator, training: SpeechTraining
) -> _Batch:
    length = training.chunk_frames
    chosen = rng.integers(utterances.start, utterances.stop, training.batch_size)
    chunks = [_chunk(corpus, int(index), length, rng) for index in chosen]
    waveforms, visemes, phones = (np.stack(parts) for parts in zip(*chunks, strict=True))
    clean = torch.from_numpy(waveforms)
    return _Batch(
        clean,
        disturbed(clean, rng),
        torch.from_numpy(visemes),
        torch.from_numpy(phones),
        torch.from_numpy(rng.integers(0, len(_WARPS), training.batch_size)),
    )


def _chunk(
    corpus: SpeechCorpus, index: int, length: int, rng: np.random.Generator
) -> tuple[Float, Float, npt.NDArray[np.int64]]:
    first, stop = corpus.offsets[index : index + 2].tolist()
    start = first + int(rng.integers(0, max(1, stop - first - length)))
    end = min(start + length, stop)
    missing = length - (end - start)
    rest = corpus.phone_names.index(REST)
    return (
        np.pad(corpus.samples(index, start, end), (0, missing * FRAME_SAMPLES)),
        np.pad(corpus.visemes[start:end].astype(np.float32), ((0, missing), (0, 0))),
        np.pad(corpus.phones[start:end].astype(np.int64), (0, missing), constant_values=rest),
    )


def disturbed(waveform: Tensor, rng: np.random.Generator) -> Tensor:
    """`waveform` [batch, samples] through random microphones and rooms, with noise, louder or quieter."""
    batch, n_samples = waveform.shape

    def some(share: float) -> Tensor:
        return torch.from_numpy((rng.random((batch, 1)) < share).astype(np.float32))

    def uniform(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (batch, 1)).astype(np.float32))

    spectrum = torch.fft.rfft(waveform)
    khz = torch.linspace(0, 8, spectrum.shape[1])
    spectrum = spectrum * 10 ** (_colour_db(khz, batch) * some(0.6) / 20)
    spectrum = spectrum * 10 ** (-torch.relu(khz - uniform(2.8, 8)) * 25 * some(0.4) / 20)
    spectrum = spectrum * 10 ** (-torch.relu(uniform(0, 0.3) - khz) * 80 * some(0.3) / 20)
    echo = torch.fft.rfft(_impulses(n_samples, uniform(0.015, 0.1), uniform(0, 0.12) * some(0.4)))
    sound = torch.fft.irfft(spectrum * echo, n_samples)
    noise = torch.fft.rfft(torch.randn(batch, n_samples)) / (1 + khz * uniform(0, 4))
    noise = torch.fft.irfft(noise, n_samples)
    noise = noise / noise.std(1, keepdim=True)
    loudness = 0.05 * 10 ** (-uniform(8, 45) / 20)
    # little louder or quieter: how loud a syllable is among the others says how wide the mouth opens
    return (sound + noise * loudness * some(0.6)) * 10 ** (uniform(-5, 4) / 20)


def _colour_db(khz: Tensor, batch: int) -> Tensor:
    knots = torch.cumsum(torch.randn(batch, 9) * 2.0, 1)
    knots = knots - knots.mean(1, keepdim=True)
    position = khz.clamp(max=7.999)
    low = position.long()
    share = position - low
    return knots[:, low] * (1 - share) + knots[:, low + 1] * share


def _impulses(n_samples: int, decay_s: Tensor, strength: Tensor) -> Tensor:
    length = 4000
    seconds = torch.arange(length) / 16000
    response = torch.randn(len(decay_s), length) * torch.exp(-seconds / decay_s) * strength
    response[:, 0] = 1
    return F.pad(response, (0, n_samples - length))


def _loss(
    network: SpeechNet, log_mel: LogMel, batch: _Batch, training: SpeechTraining, teacher: SpeechNet | None
) -> Tensor:
    heard = log_mel(batch.waveform, batch.warp)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(heard)
    weights = torch.ones_like(batch.visemes)
    weights[..., _CLOSURES] += training.closure_weight * batch.visemes[..., _CLOSURES]
    shapes = F.smooth_l1_loss(output.visemes.float(), batch.visemes, beta=0.1, reduction="none")
    phones = F.cross_entropy(output.phone_logits.float().flatten(0, 1), batch.phones.flatten())
    loss = (shapes * weights).mean() * 4 + phones * training.phone_weight
    if teacher is not None:
        with torch.no_grad():
            taught = teacher(log_mel(batch.clean, batch.warp)).features
        loss = loss + training.likeness_weight * F.mse_loss(output.features.float(), taught)
    return loss


@torch.no_grad()
def _measured(network: SpeechNet, log_mel: LogMel, batch: _Batch) -> tuple[tuple[float, ...], float]:
    output = network(log_mel(batch.waveform, batch.warp))
    pairs = zip(output.visemes.unbind(-1), batch.visemes.unbind(-1), strict=True)
    correlations = tuple(
        float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) for a, b in pairs
    )
    right = output.phone_logits.argmax(-1) == batch.phones
    return correlations, float(right.float().mean())
