"""`hallo train speech` and `hallo train autoencoder`: the two networks that are trained before the UNets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hallo_cli.errors import InputError, OutputError

if TYPE_CHECKING:
    from torch import nn

    from hallo_cli.models.autoencoder import TinyAutoencoder

Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
Seed = Annotated[int, typer.Option(help="Everything random follows from it.")]


def add_encoder_commands(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(speech)
    app.command()(autoencoder)


def speech(
    corpus: Annotated[Path, typer.Argument(help="Folder of speech-*.npz shards, from `train synth-speech`.")],
    output: Annotated[Path, typer.Argument(help="Weights file to write (.safetensors).")],
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps.")] = 2200,
    threads: Threads = 1,
    seed: Seed = 0,
) -> None:
    """Train the embedded speech encoder on synthetic speech: visemes and phones.

    Until it is done, what there is lies beside the output as NAME-unfinished.safetensors.
    """
    from hallo_cli.training.speech_encoder import (
        SpeechReport,
        SpeechTraining,
        read_corpus,
        train_speech_encoder,
    )

    def show(report: SpeechReport, network: nn.Module) -> None:
        shapes = " ".join(f"{value:.2f}" for value in report.viseme_correlations)
        typer.echo(
            f"step {report.step}/{report.steps}  loss {report.loss:.3f}  visemes {shapes}  "
            f"phones {report.phone_accuracy:.2f}  {report.elapsed_s:.0f} s",
            err=True,
        )
        _save(network, _unfinished(output))

    training = SpeechTraining(steps=steps, threads=threads, seed=seed)
    _finish(train_speech_encoder(read_corpus(corpus), training, on_report=show), output)


def autoencoder(
    takes: Annotated[
        Path, typer.Argument(help="Folder of take shards, from `train synth` or `train prepare`.")
    ],
    photographs: Annotated[
        Path, typer.Argument(help="Folder of pictures that you may use: photographs, textures.")
    ],
    output: Annotated[Path, typer.Argument(help="Weights file to write (.safetensors).")],
    network: Annotated[Path, typer.Option(help="Network configuration (TOML or JSON).")],
    init: Annotated[Path | None, typer.Option(help="Weights to start from.")] = None,
    decoder_only: Annotated[
        bool, typer.Option("--decoder-only", help="Polish the decoder; the latents stay as they are.")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps.")] = 3000,
    learning_rate: Annotated[float, typer.Option(min=1e-6, help="AdamW's highest learning rate.")] = 1.2e-3,
    frames: Annotated[int, typer.Option(min=1, help="Frames of takes to load at most.")] = 4000,
    threads: Threads = 2,
    seed: Seed = 0,
) -> None:
    """Train the embedded autoencoder on crops of takes and of photographs.

    Until it is done, what there is lies beside the output as NAME-unfinished.safetensors, its latents not yet
    normalised: good for --init, not for encoding takes.
    """
    from hallo_cli.training.autoencoder import (
        AutoencoderReport,
        AutoencoderTraining,
        read_pictures,
        train_autoencoder,
    )

    training = AutoencoderTraining(
        steps=steps, learning_rate=learning_rate, decoder_only=decoder_only, threads=threads, seed=seed
    )
    vae = _new_autoencoder(network, init, seed=seed)
    pictures = read_pictures(
        takes, photographs, frames_per_take=training.frames_per_take, limit=frames, seed=seed
    )

    def show(report: AutoencoderReport, average: TinyAutoencoder) -> None:
        typer.echo(
            f"step {report.step}/{report.steps}  {report.psnr_db:.1f} dB  {report.elapsed_s:.0f} s", err=True
        )
        _save(average, _unfinished(output))

    _finish(train_autoencoder(vae, pictures, training, on_report=show), output)


def _new_autoencoder(network: Path, init: Path | None, *, seed: int) -> TinyAutoencoder:
    import torch

    from hallo_cli.models.autoencoder import TinyAutoencoder, build_autoencoder
    from hallo_cli.models.weights import fill
    from hallo_cli.training.init import read_network_config

    torch.manual_seed(seed)
    vae = build_autoencoder(read_network_config(network))
    if not isinstance(vae, TinyAutoencoder):
        raise InputError(
            f'{network}: vae_kind is "kl"; this trains the embedded kind, "tiny". Published autoencoders '
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
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from hallo_cli.training.takes import make_folder, partial_path, publish, reporting_write_errors

    make_folder(output.parent)
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    try:
        with reporting_write_errors(output):
            save_file(tensors, partial_path(output))
            publish(output)
    except SafetensorError as error:
        raise OutputError(f"{output} cannot be written ({error}): choose another file") from error
