"""`hallo train speech`, `autoencoder` and `polish`: the two networks around the UNets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hallo_cli.cli.console import say
from hallo_cli.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from hallo_cli.models.autoencoder import TinyAutoencoder
    from hallo_cli.workshop.polish_decoder import PolishReport

Takes = Annotated[Path, typer.Argument(help="Folder of take shards, from `train synth` or `train prepare`.")]
Photographs = Annotated[Path, typer.Argument(help="Folder of photographs and textures that you may use.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
Seed = Annotated[int, typer.Option(help="The random seed.")]


def add_encoder_commands(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(speech)
    app.command()(autoencoder)
    app.command()(polish)


def speech(
    corpus: Annotated[Path, typer.Argument(help="Folder of speech-*.npz shards, from `train synth-speech`.")],
    output: Annotated[Path, typer.Argument(help="Weights file to write (.safetensors).")],
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps.")] = 2200,
    init: Annotated[Path | None, typer.Option(help="Speech encoder's weights to start from.")] = None,
    learning_rate: Annotated[float, typer.Option(min=1e-6, help="AdamW's highest learning rate.")] = 2e-3,
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
    _finish(train_speech_encoder(read_corpus(corpus), training, init=init, on_report=show), output)


def autoencoder(
    takes: Takes,
    photographs: Photographs,
    output: Annotated[Path, typer.Argument(help="Weights file to write (.safetensors).")],
    network: Annotated[Path, typer.Option(help="Network configuration (TOML or JSON).")],
    init: Annotated[Path | None, typer.Option(help="Weights to start from.")] = None,
    decoder_only: Annotated[
        bool, typer.Option("--decoder-only", help="Train the decoder only; the latents stay the same.")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps.")] = 3000,
    learning_rate: Annotated[float, typer.Option(min=1e-6, help="AdamW's highest learning rate.")] = 1.2e-3,
    frames: Annotated[int, typer.Option(min=1, help="Frames of takes to load at most.")] = 4000,
    threads: Threads = 2,
    seed: Seed = 0,
) -> None:
    """Train the embedded autoencoder.

    Example:
        hallo train autoencoder takes/ photos/ vae.safetensors --network net.toml

    It learns from crops of takes and photographs. Until it is done, the current weights are in
    NAME-unfinished.safetensors beside the output. Their latents are not normalised yet: use them for --init
    only.
    """
    from hallo_cli.workshop.train_autoencoder import (
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
        say(f"step {report.step}/{report.steps}  {report.psnr_db:.1f} dB  {report.elapsed_s:.0f} s")
        _save(average, _unfinished(output))

    _finish(train_autoencoder(vae, pictures, training, on_report=show), output)


def polish(
    takes: Takes,
    photographs: Photographs,
    output: Annotated[Path, typer.Argument(help="Autoencoder weights to write (.safetensors).")],
    shards: Annotated[Path, typer.Option(help="Folder of the takes encoded with this bundle.")],
    bundle: Annotated[str, typer.Option(help="The bundle whose decoder is trained.")],
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps.")] = 1600,
    clips: Annotated[int, typer.Option(min=8, help="How many takes the networks render first.")] = 480,
    adversarial: Annotated[
        float, typer.Option(min=0.0, max=10.0, help="Weight of the discriminator's loss.")
    ] = 2.0,
    learning_rate: Annotated[float, typer.Option(min=1e-6, help="AdamW's highest learning rate.")] = 4e-4,
    frames: Annotated[int, typer.Option(min=1, help="Frames of takes to load at most.")] = 3000,
    threads: Threads = 1,
    seed: Seed = 0,
) -> None:
    """Train a decoder to draw crisp mouths.

    Example:
        hallo train polish takes/ photos/ vae.safetensors \\
            --shards encoded/ --bundle my-bundle/

    It trains against a discriminator. The latents stay the same, so no other network needs training again.
    Give the result to hallo train export as --vae. Until it is done, the current weights are in
    NAME-unfinished.safetensors beside the output.
    """
    import torch

    from hallo_cli.models.autoencoder import TinyAutoencoder
    from hallo_cli.training.config import StartSettings
    from hallo_cli.training.init import start_networks
    from hallo_cli.workshop.mouth_windows import WindowSettings, make_windows, measure
    from hallo_cli.workshop.polish_decoder import PolishSettings, polish_decoder
    from hallo_cli.workshop.train_autoencoder import AutoencoderTraining, read_pictures

    torch.set_num_threads(threads)
    networks = start_networks(StartSettings(bundle=bundle), seed=seed)
    if not isinstance(networks.vae, TinyAutoencoder):
        raise InputError(
            f'{bundle}: its autoencoder is of the published kind; this polishes the "tiny" kind.'
        )
    pictures = read_pictures(
        takes, photographs, frames_per_take=AutoencoderTraining.frames_per_take, limit=frames, seed=seed
    )

    def show_clip(done: int, total: int) -> None:
        if done % 40 == 0 or done == total:
            say(f"rendered {done}/{total} takes")

    windows, held_out = make_windows(
        networks, shards, WindowSettings(clips=clips, seed=seed), on_clip=show_clip
    )
    sharpness, distance = measure(networks.vae, held_out)
    say(f"before: sharpness of lips {sharpness:.2f}, {distance:.1f} levels from the truth")

    def show(report: PolishReport, average: TinyAutoencoder) -> None:
        say(
            f"step {report.step}/{report.steps}  told apart {report.told_apart:.2f}  "
            f"sharpness {report.sharpness:.2f}  {report.distance:.1f} levels  {report.psnr_db:.1f} dB  "
            f"{report.elapsed_s:.0f} s"
        )
        _save(average, _unfinished(output))

    settings = PolishSettings(
        steps=steps, adversarial=adversarial, learning_rate=learning_rate, threads=threads, seed=seed
    )
    _finish(polish_decoder(networks.vae, windows, held_out, pictures, settings, on_report=show), output)


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
    from hallo_cli.models.tensor_file import write_tensors
    from hallo_cli.store.writing import make_folder

    make_folder(output.parent)
    write_tensors(output, network.state_dict())
