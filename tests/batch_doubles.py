"""A batch on the trivial engine: only the network is fake, all else is real.

What a picture's file is called makes its row misbehave, so that tests say in the manifest what goes wrong.
`python tests/batch_doubles.py MANIFEST [WORKERS]` runs a batch with signals handled as the command line does.
"""

import json
import os
import signal
import sys
import time
import wave  # every worker imports this module, and scipy's reader takes longer than all the rest
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from job_doubles import SIZE, TrivialEngine
from PIL import Image

from hallo_cli.batch import batch_events
from hallo_cli.batch.failure import attempt
from hallo_cli.batch.ledger import Record, read_records
from hallo_cli.batch.local_pool import LocalPool
from hallo_cli.batch.paths import Paths
from hallo_cli.batch.places import Layout
from hallo_cli.batch.renderer import JobRenderer
from hallo_cli.batch.renderer_spec import RendererSpec
from hallo_cli.batch.run import Batch, Source, opened
from hallo_cli.batch.task import Began, Broken, Ended, Message, Rendered, Task
from hallo_cli.cli.signals import obeying_signals
from hallo_cli.domain import Clip, MotionFrames, Portrait, Speech, StepDone
from hallo_cli.errors import DeviceMemoryError, EncoderError, HalloError, Interrupted, WeightsError
from hallo_cli.jobs.runner import StopRequest
from hallo_cli.media.image import read_image
from hallo_cli.settings.quality import QualityLimits
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

CLIP_S = float(os.environ.get("HALLO_TEST_CLIP_S", "0"))


class PoisonableEngine(TrivialEngine):
    """Reads pictures for real, and does to itself what their names say."""

    def __init__(self, bundle: str) -> None:
        super().__init__(clip_s=CLIP_S)
        if bundle == "missing":
            raise WeightsError("no bundle called 'missing'.")
        self.fallbacks = []

    def portrait(self, path: Path, settings: RenderSettings) -> Portrait:
        if path.stem.startswith("crash-check"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if path.stem.startswith("sleep-check"):
            time.sleep(600)
        time.sleep(float(os.environ.get("HALLO_TEST_PREPARE_S", "0")))
        read_image(path)
        found = super().portrait(path, settings)
        self.poison = path.stem
        self.poisons = {**getattr(self, "poisons", {}), found.pixels.tobytes(): path.stem}
        return found

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Iterator[StepDone | Clip]:
        poison = self.poisons[portrait.pixels.tobytes()]
        for step in super().clips(portrait, settings, speech, motion):
            if isinstance(step, Clip) and step.index == 1:
                misbehave(poison, settings.seed)
            yield step


def misbehave(poison: str, seed: int) -> None:
    """Fail as the picture's name asks, after the first clip."""
    if poison.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if poison.startswith("memory"):
        raise DeviceMemoryError("out of memory after every fallback.")
    if poison.startswith("device"):
        raise RuntimeError("CUDA error: device-side assert triggered")
    if poison.startswith("bug"):
        raise ZeroDivisionError("division by zero")
    if poison.startswith("encoder"):
        raise EncoderError("ffmpeg ended with status 1.")
    marker = os.environ.get("HALLO_TEST_MARKER")
    if poison.startswith("once") and marker and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def make_engine(bundle: str, runtime: RuntimeSettings) -> PoisonableEngine:
    time.sleep(float(os.environ.get("HALLO_TEST_LOAD_S", "0")))
    return PoisonableEngine(bundle)


def judge_by_seed(video: Path, portrait: Path) -> dict[str, float]:
    """Figures that only odd seeds pass, read from the record beside the video."""
    seed = json.loads(video.with_suffix(".json").read_text())["settings"]["seed"]
    return {"seam_jump": 1.0 if seed % 2 else 99.0}


class InlinePool:
    """A worker in this process: rows are rendered when they are waited for. For tests that kill nobody."""

    slots = ("cpu",)

    def __init__(self, make_renderer: RendererSpec) -> None:
        self._make_renderer = make_renderer
        self._renderer: JobRenderer | None = None
        self._tasks: list[Task] = []
        self._stop = StopRequest()

    def send(self, slot: str, task: Task) -> None:
        self._tasks.append(task)

    def wait(self, timeout_s: float) -> list[tuple[str, Message]]:
        if self._renderer is None:
            try:
                self._renderer = self._make_renderer("cpu")
            except HalloError as error:
                return [("cpu", Broken(type(error).__name__, str(error), error.exit_status))]
        task = self._tasks.pop(0)
        result = attempt(str(task), partial(self._work, self._renderer, task))
        return [("cpu", Began(task.number, "render")), ("cpu", Ended(task.number, result))]

    def _work(self, renderer: JobRenderer, task: Task) -> Rendered:
        if self._stop.exit_status is not None:
            raise Interrupted("stopped before it began")
        prepared = renderer.prepare(task)
        rendered = renderer.render(task, prepared, report=lambda done, of: None, stop=self._stop)
        return renderer.measure(task, rendered)

    def stop(self) -> None:
        self._stop.ask()

    def log(self, slot: str) -> Path | None:
        return None

    def close(self) -> None:
        pass


def batch_of(manifest: Path, *, workers: int = 0, **changes: object) -> Batch:
    """A batch; without workers, everything happens in this process."""
    paths = Paths(manifest.with_suffix(""))
    spec = RendererSpec(
        make_engine=make_engine,
        runtime=RuntimeSettings(device="cpu"),
        measure=changes.pop("measure", None),  # type: ignore[arg-type]
        limits={"": QualityLimits(), "still": QualityLimits()},
    )
    base = RenderSettings(segment_s=0.5)
    values = {
        "source": Source(manifest),
        "layout": Layout(manifest.parent, paths.videos),
        "paths": paths,
        "resolve": lambda preset: base,
        "renderer": spec,
        "predict": lambda engine, settings, frames: frames / 10,
        "make_pool": lambda spec: (
            LocalPool(spec, ["cpu"] * workers, paths.folder / "logs") if workers else InlinePool(spec)
        ),
        "check_processes": min(1, workers),
        **changes,
    }
    return Batch(**values)  # type: ignore[arg-type]


def run(batch: Batch) -> list[batch_events.Event]:
    """Check and run a batch to its end."""
    with opened(batch) as open_batch:
        list(open_batch.check())
        return list(open_batch.run())


def results(manifest: Path) -> dict[str, Record]:
    """What the ledger says last, by id."""
    return {record.id: record for record in read_records(Paths(manifest.with_suffix("")).results)}


def write_picture(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_sound(path: Path, seconds: float, seed: int = 0) -> None:
    samples = np.random.default_rng(seed).normal(0, 3000, round(16_000 * seconds)).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.astype("<i2").tobytes())


def write_batch(folder: Path, names: list[str], seconds: float = 0.6) -> Path:
    """A manifest of one row for each picture's name, each with a picture of its own."""
    write_sound(folder / "speech.wav", seconds)
    for seed, name in enumerate(names):
        write_picture(folder / f"{name}.png", seed)
    lines = ["id,portrait,audio", *(f"{name},{name}.png,speech.wav" for name in names)]
    manifest = folder / "batch.csv"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return manifest


def main() -> int:
    manifest, workers = Path(sys.argv[1]), int(sys.argv[2])
    try:
        with (
            opened(batch_of(manifest, workers=workers, check_processes=0)) as open_batch,
            obeying_signals(open_batch.stop, in_hand="the current clips"),
        ):
            list(open_batch.check())
            for event in open_batch.run():
                print(batch_events.to_json(event), flush=True)  # noqa: T201
    except HalloError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_status
    return int(any(not record.is_rendered for record in results(manifest).values()))


if __name__ == "__main__":
    import batch_doubles  # so that spawned workers find what they are sent under a name they can import

    sys.exit(batch_doubles.main())
