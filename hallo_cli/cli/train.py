"""`hallo train`: from videos or synthetic heads to a bundle."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from hallo_cli.cli.console import answer, say
from hallo_cli.cli.dtypes import Dtype
from hallo_cli.cli.help import Application, argument, option
from hallo_cli.cli.train_encoders import add_encoder_commands
from hallo_cli.cli.train_synth import add_synth_commands
from hallo_cli.cli.train_view import shown_events
from hallo_cli.errors import Interrupted, SettingsError

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
add_synth_commands(app)
add_encoder_commands(app)

Config = Annotated[
    Path, option("--config", "-c", help="The run's TOML file; see hallo docs training.", metavar="FILE")
]
Set = Annotated[
    list[str] | None,
    option("--set", help="Override a value: table.key=value. Repeatable.", metavar="KEY=VALUE"),
]
Json = Annotated[bool, option("--json", help="Print JSON events, one a line.")]


@app.command()
def stage1(config: Config, overrides: Set = None, as_json: Json = False) -> None:
    """Train on single frames: UNets, identity, face locator.

    Example:
        hallo train stage1 --config stage1.toml

    The same command resumes the run. Several GPUs: accelerate launch -m hallo_cli train stage1 ...
    """
    _train("stage1", config, overrides or [], as_json)


@app.command()
def stage2(config: Config, overrides: Set = None, as_json: Json = False) -> None:
    """Train on clips: motion modules and audio attention.

    Example:
        hallo train stage2 --config stage2.toml

    The same command resumes the run. Several GPUs: accelerate launch -m hallo_cli train stage2 ...
    """
    _train("stage2", config, overrides or [], as_json)


@app.command()
def prepare(
    videos: Annotated[
        Path, argument(help="Folder of videos of talking people, or a data set in Hallo's published layout.")
    ],
    output: Annotated[Path, argument(help="Folder for the takes, index.jsonl and rejects.jsonl.")],
    size: Annotated[
        int, option(min=64, max=2048, help="Height and width of the frames that the networks train on.")
    ] = 512,
    workers: Annotated[int, option(min=1, help="How many videos to process at a time.")] = 1,
    min_face: Annotated[
        float, option(min=0.0, help="Smallest face to keep: the longer side of its outline, in pixels.")
    ] = 160.0,
    min_sharpness: Annotated[
        float, option(min=0.0, help="Lowest sharpness to keep; a face below 30 is blurred.")
    ] = 30.0,
    max_s: Annotated[float, option(min=1.0, max=60.0, help="Longest take, in seconds.")] = 8.0,
    validation_share: Annotated[
        float, option(min=0.0, max=1.0, help="Share of the videos kept for validation.")
    ] = 0.0,
    bundle: Annotated[
        str | None, option(help="The bundle whose framing and identity network are used.")
    ] = None,
    separate_vocals: Annotated[
        bool,
        option(
            "--separate-vocals",
            help="Keep only the voice. Needs the separator of the official weights or of --bundle.",
        ),
    ] = False,
) -> None:
    """Cut videos into takes: stretches with one usable face.

    Example:
        hallo train prepare videos/ takes/ --bundle official

    The same command resumes. rejects.jsonl says why stretches were left out.
    """
    from hallo_cli.bundles.bundle import find_bundle
    from hallo_cli.bundles.bundle_file import Geometry
    from hallo_cli.store.locks import locked
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
    takes: Annotated[Path, argument(help="Folder of take shards, from `train prepare` or `train synth`.")],
    output: Annotated[Path, argument(help="Folder for the encoded shards.")],
    bundle: Annotated[
        str | None, option(help="The bundle of the autoencoder and the speech encoder.")
    ] = None,
    network: Annotated[
        Path | None, option(help="Network configuration (TOML or JSON), instead of --bundle.")
    ] = None,
    vae: Annotated[Path | None, option(help="Autoencoder weights, with --network.")] = None,
    speech: Annotated[
        Path | None, option(help="Speech encoder weights (embedded kind), with --network.")
    ] = None,
    device: Annotated[str, option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[Dtype, option(help="Number format of the networks.")] = Dtype.float32,
    part: Annotated[
        str, option(help="Encode every n-th shard from the i-th, to share the work: i/n.")
    ] = "0/1",
) -> None:
    """Compute latents, audio features and masks of takes.

    Example:
        hallo train encode takes/ encoded/ --bundle official

    The same command resumes. Shards of other takes or networks are refused.
    """
    from hallo_cli.inference.device import resolve_device
    from hallo_cli.training.encode_folder import encode_folder

    where = str(resolve_device(device))

    def make() -> TakeEncoder:
        from hallo_cli.training.make_encoder import bundle_encoder, file_encoder

        if bundle is not None:
            return bundle_encoder(bundle, device=where, dtype=dtype.of_torch)
        if network is None or vae is None or speech is None:
            raise SettingsError("give --bundle, or --network, --vae and --speech together")
        return file_encoder(network, vae, speech, device=where, dtype=dtype.of_torch)

    for shard in encode_folder(takes, output, make, part=_part(part)):
        state = "kept" if shard.was_there else "encoded"
        say(f"{shard.done}/{shard.total} {shard.name} {state}")


@app.command()
def export(
    run: Annotated[Path, argument(help="The run's folder (run.output).")],
    output: Annotated[Path, argument(help="The new bundle's folder; with --official, the net.pth.")],
    name: Annotated[str, option(help="The bundle's name.")] = "custom",
    base: Annotated[
        str | None, option(help="The bundle of the speech encoder, framing and autoencoder.")
    ] = None,
    vae: Annotated[Path | None, option(help="Autoencoder weights instead of the base's.")] = None,
    speech: Annotated[
        Path | None, option(help="Embedded speech encoder's weights instead of the base's.")
    ] = None,
    licence: Annotated[str, option(help="The weights' licence.")] = "unknown",
    steps: Annotated[
        int | None, option(min=1, max=1000, help="Default steps, instead of the base's.")
    ] = None,
    guidance: Annotated[
        float | None, option(min=0.0, max=100.0, help="Default guidance, instead of the base's.")
    ] = None,
    average: Annotated[
        list[Path] | None,
        option(metavar="RUN", help="Another run of the same networks; the mean is written. Repeatable."),
    ] = None,
    audio_gain: Annotated[
        float, option(min=0.1, max=5.0, help="Scale the audio attention; above 1, mouths move more.")
    ] = 1.0,
    dtype: Annotated[Dtype, option(help="Number format of the weights.")] = Dtype.float16,
    official: Annotated[
        bool, option("--official", help="Write a net.pth for the published program.")
    ] = False,
    dead_weights: Annotated[
        Path | None,
        option(help="With --official: copy the unused weights from this net.pth.  [default: zeros]"),
    ] = None,
) -> None:
    """Write a run's last checkpoint as a bundle or a net.pth.

    Example:
        hallo train export runs/stage2 my-bundle/ --base official --name mine
    """
    from hallo_cli.training.export import BundleOptions, export_bundle, export_official

    if official:
        written = export_official(run, output, dead=dead_weights, dtype=dtype.of_torch)
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
        written = export_bundle(run, output, options, dtype=dtype.of_torch).path
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
