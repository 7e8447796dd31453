"""`hallo train speech` and `autoencoder`: the two networks around the UNets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hallo_cli.cli.console import say
from hallo_cli.cli.help import argument, option
from hallo_cli.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from hallo_cli.models.autoencoder import AnchoredAutoencoder

Takes = Annotated[Path, argument(help="Folder of take shards, from `train synth` or `train prepare`.")]
Threads = Annotated[int, option(min=1, help="CPU threads.")]
Seed = Annotated[int, option(help="The random seed.")]


def add_encoder_commands(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(speech)
    app.command()(autoencoder)


def speech(
    corpus: Annotated[Path, argument(help="Folder of speech-*.npz shards, from `train synth-speech`.")],
    output: Annotated[Path, argument(help="Weights file to write (.safetensors).")],
    steps: Annotated[int, option(min=1, help="Optimizer steps.")] = 2200,
    init: Annotated[Path | None, option(help="Speech encoder's weights to start from.")] = None,
    like: Annotated[
        Path | None,
        option(help="Stay close to the features of these weights, so that networks work with either."),
    ] = None,
    learning_rate: Annotated[float, option(min=1e-6, help="AdamW's highest learning rate.")] = 2e-3,
    threads: Threads = 1,
    seed: Seed = 0,
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
    takes: Takes,
    output: Annotated[Path, argument(help="Weights file to write (.safetensors).")],
    network: Annotated[Path, option(help="Network configuration (TOML or JSON).")],
    init: Annotated[Path | None, option(help="Weights to start from.")] = None,
    decoder_only: Annotated[
        bool, option("--decoder-only", help="Train the decoder only; the latents stay the same.")
    ] = False,
    minutes: Annotated[float, option(min=0.01, help="How long to train.")] = 60,
    learning_rate: Annotated[float, option(min=1e-6, help="AdamW's highest learning rate.")] = 1.5e-3,
    perceptual: Annotated[
        float, option(min=0.0, help="Weight of the loss on frozen features of mouths and eyes.")
    ] = 0.0,
    adversarial: Annotated[
        float, option(min=0.0, help="Weight of the discriminator on those features.")
    ] = 0.0,
    latent_noise: Annotated[
        float, option(min=0.0, help="Noise added to the latents: more makes the decoder tolerate more error.")
    ] = 0.02,
    recoloured: Annotated[
        float, option(min=0.0, max=1.0, help="Share of the decoder's pictures whose colours change strongly.")
    ] = 0.8,
    threads: Threads = 2,
    seed: Seed = 0,
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
    from hallo_cli.store.writing import make_folder

    make_folder(output.parent)
    write_tensors(output, network.state_dict())
