"""`hallo train`: from videos or synthetic heads to a bundle."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.bundles.bundle import find_bundle
from hallo_cli.bundles.bundle_file import Geometry
from hallo_cli.cli.console import answer, say
from hallo_cli.cli.dtypes import Dtype, torch_dtype
from hallo_cli.cli.options import Application, argument, option
from hallo_cli.cli.train_view import shown_events
from hallo_cli.cli.train_workshop import autoencoder, distil_head, speech, synth, synth_speech
from hallo_cli.errors import Interrupted, SettingsError
from hallo_cli.inference.device import resolve_device
from hallo_cli.store.locks import locked

if TYPE_CHECKING:
    from hallo_cli.training.config import Stage
    from hallo_cli.training.take_encoder import TakeEncoder

app = Application(
    help="""Train the networks.

Example:
    hallo train prepare videos/ takes/
    hallo train encode takes/ encoded/ --bundle embedded
    hallo train stage1 --config stage1.toml
    hallo train stage2 --config stage2.toml
    hallo train export runs/stage2 my-bundle/ --base embedded

The guide is hallo docs training.
"""
)
for command in (synth, synth_speech, distil_head, speech, autoencoder):
    app.command()(command)

CONFIG = option(..., "The run's TOML file; see hallo docs training.", "--config", "-c", metavar="FILE")
SET = option(None, "Override a value: table.key=value. Repeatable.", "--set", metavar="KEY=VALUE")
EVENTS = option(False, "Print JSON events, one a line.", "--json")


@app.command()
def stage1(config: Path = CONFIG, overrides: list[str] | None = SET, as_json: bool = EVENTS) -> None:
    """Train on single frames: UNets, identity, face locator.

    Example:
        hallo train stage1 --config stage1.toml

    The same command resumes the run. Several GPUs: accelerate launch -m hallo_cli train stage1 ...
    """
    _train("stage1", config, overrides or [], as_json)


@app.command()
def stage2(config: Path = CONFIG, overrides: list[str] | None = SET, as_json: bool = EVENTS) -> None:
    """Train on clips: motion modules and audio attention.

    Example:
        hallo train stage2 --config stage2.toml

    The same command resumes the run. Several GPUs: accelerate launch -m hallo_cli train stage2 ...
    """
    _train("stage2", config, overrides or [], as_json)


@app.command()
def prepare(
    videos: Path = argument(
        ..., "Folder of videos of talking people, or a data set in Hallo's published layout."
    ),
    output: Path = argument(..., "Folder for the takes, index.jsonl and rejects.jsonl."),
    size: int = option(512, "Height and width of the frames that the networks train on.", min=64, max=2048),
    workers: int = option(1, "How many videos to process at a time.", min=1),
    min_face: float = option(
        160.0, "Smallest face to keep: the longer side of its outline, in pixels.", min=0.0
    ),
    min_sharpness: float = option(30.0, "Lowest sharpness to keep; a face below 30 is blurred.", min=0.0),
    max_s: float = option(8.0, "Longest take, in seconds.", min=1.0, max=60.0),
    validation_share: float = option(0.0, "Share of the videos kept for validation.", min=0.0, max=1.0),
    bundle: str | None = option(None, "The bundle whose framing and identity network are used."),
    separate_vocals: bool = option(
        False, "Keep only the voice. Needs the separator of the official weights or of --bundle."
    ),
) -> None:
    """Cut videos into takes: stretches with one usable face.

    Example:
        hallo train prepare videos/ takes/ --bundle official

    The same command resumes. rejects.jsonl says why stretches were left out.
    """
    from hallo_cli.training.footage import Standard
    from hallo_cli.training.prepare import PrepareSettings
    from hallo_cli.training.prepare import prepare as prepare_videos

    settings = PrepareSettings(
        size=size,
        standard=Standard(min_face=min_face, min_sharpness=min_sharpness, max_s=max_s),
        geometry=Geometry() if bundle is None else find_bundle(bundle).manifest.geometry,
        bundle=bundle,
        separate_vocals=separate_vocals,
        validation_share=validation_share,
    )
    n_takes = 0
    with locked(output / ".lock", what="preparing this folder"):
        for video in prepare_videos(videos, output, settings, workers=workers):
            n_takes += video.n_takes
            say(
                f"{video.done}/{video.total} {video.video}: {video.n_takes} takes, "
                f"{video.n_rejects} stretches left out; {video.seconds_left / 60:.0f} min left"
            )
    say(f"{n_takes} new takes in {output}; what was left out is in {output / 'rejects.jsonl'}")


@app.command()
def encode(
    takes: Path = argument(..., "Folder of take shards, from `train prepare` or `train synth`."),
    output: Path = argument(..., "Folder for the encoded shards."),
    bundle: str | None = option(None, "The bundle of the autoencoder and the speech encoder."),
    network: Path | None = option(None, "Network configuration (TOML or JSON), instead of --bundle."),
    vae: Path | None = option(None, "Autoencoder weights, with --network."),
    speech: Path | None = option(None, "Speech encoder weights (embedded kind), with --network."),
    device: str = option("cpu", "cpu or cuda."),
    dtype: Dtype = option("float32", "Number format of the networks."),
    part: str = option("0/1", "Encode every n-th shard from the i-th, to share the work: i/n."),
) -> None:
    """Compute latents, audio features and masks of takes.

    Example:
        hallo train encode takes/ encoded/ --bundle official

    The same command resumes. Shards of other takes or networks are refused.
    """
    from hallo_cli.training.encode_folder import bundle_encoder, encode_folder, file_encoder

    where = str(resolve_device(device))

    def make() -> TakeEncoder:
        if bundle is not None:
            return bundle_encoder(bundle, device=where, dtype=torch_dtype(dtype))
        if network is None or vae is None or speech is None:
            raise SettingsError("give --bundle, or --network, --vae and --speech together")
        return file_encoder(network, vae, speech, device=where, dtype=torch_dtype(dtype))

    for shard in encode_folder(takes, output, make, part=_part(part)):
        state = "kept" if shard.was_there else "encoded"
        say(f"{shard.done}/{shard.total} {shard.name} {state}")


@app.command()
def export(
    run: Path = argument(..., "The run's folder (run.output)."),
    output: Path = argument(..., "The new bundle's folder; with --official, the net.pth."),
    name: str = option("custom", "The bundle's name."),
    base: str | None = option(None, "The bundle of the speech encoder, framing and autoencoder."),
    vae: Path | None = option(None, "Autoencoder weights instead of the base's."),
    speech: Path | None = option(None, "Embedded speech encoder's weights instead of the base's."),
    licence: str = option("unknown", "The weights' licence."),
    steps: int | None = option(None, "Default steps, instead of the base's.", min=1, max=1000),
    guidance: float | None = option(None, "Default guidance, instead of the base's.", min=0.0, max=100.0),
    average: list[Path] | None = option(
        None, "Another run of the same networks; the mean is written. Repeatable.", metavar="RUN"
    ),
    audio_gain: float = option(
        1.0, "Scale the audio attention; above 1, mouths move more.", min=0.1, max=5.0
    ),
    dtype: Dtype = option("float16", "Number format of the weights."),
    official: bool = option(False, "Write a net.pth for the published program."),
    dead_weights: Path | None = option(
        None, "With --official: copy the unused weights from this net.pth.  [default: zeros]"
    ),
) -> None:
    """Write a run's last checkpoint as a bundle or a net.pth.

    Example:
        hallo train export runs/stage2 my-bundle/ --base official --name mine
    """
    from hallo_cli.training.export import BundleOptions, export_bundle, export_official

    if official:
        written = export_official(run, output, dead=dead_weights, dtype=torch_dtype(dtype))
    else:
        options = BundleOptions(
            name,
            licence=licence,
            base=base,
            vae=vae,
            speech=speech,
            steps=steps,
            guidance=guidance,
            average=tuple(average or ()),
            audio_gain=audio_gain,
        )
        written = export_bundle(run, output, options, dtype=torch_dtype(dtype)).path
    answer(str(written))


def _train(stage: Stage, file: Path, overrides: list[str], as_json: bool) -> None:
    from hallo_cli.training.config import load_config
    from hallo_cli.training.loop import train

    config = load_config(file, overrides)
    with _stop_requests() as stop, shown_events(as_json=as_json) as show:
        result = train(config, stage, on_event=show, should_stop=lambda: bool(stop))
    if not result.is_finished and stop:
        raise Interrupted(
            f"stopped at step {result.progress.step}; the same command continues from there",
            exit_status=stop[0],
        )
    say(f"{result.progress.step} steps, {result.progress.seconds / 60:.1f} min: {result.output}")


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """A list that gets the exit status at the first signal to stop; a second signal stops at once."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        asked.append(128 + number)
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _part(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise SettingsError(f"--part {text}: expected i/n with i from 0 to n - 1, as in 0/4")
    return int(index), int(count)
