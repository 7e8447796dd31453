"""Hallo, Hallo2 and JoyHallo from their own trees: loaded strictly, rendered, resumed to the same frames."""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from family_trees import write_tree
from job_runs import make_job

from hallo_cli.analysis.identity import IdentityNetwork
from hallo_cli.bundles.networks import check_bundle_fits
from hallo_cli.bundles.trees import HALLO2, JOYHALLO, OFFICIAL, TREES, Tree
from hallo_cli.errors import Interrupted, WeightsError
from hallo_cli.jobs import events
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import StopRequest, run_job
from hallo_cli.media.probe import frame_hashes
from hallo_cli.settings.resolve import Sources, resolve
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

FACE = Path(__file__).parents[2] / "hallo_cli/assets/examples/portrait_astronaut.png"
ON_CPU = RuntimeSettings(device="cpu", threads=1)


def published(**changes: object) -> RenderSettings:
    """The preset official, made short and small: ten frames, three clips of four in two segments."""
    settings = resolve(Sources({}, {}, preset="official")).render
    short = {"steps": 2, "size": 64, "dtype": "float32", "duration_s": 0.4, "segment_s": 0.5}
    return dataclasses.replace(settings, **{"separate_vocals": False, **short, **changes})  # type: ignore[arg-type]


def shortened(job: Job, **changes: object) -> Job:
    return dataclasses.replace(job, portrait=FACE, settings=published(**changes))


@dataclass(frozen=True)
class Rendered:
    """An engine with a tree's weights, and what it renders undisturbed."""

    engine: BundleEngine
    frames: list[str]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Tree], Rendered]:
    @cache
    def of(name: str) -> Rendered:
        folder = tmp_path_factory.mktemp(name)
        engine = BundleEngine(write_tree(TREES[name], folder / "tree"), ON_CPU)
        job = shortened(make_job(folder))
        run_job(job, engine)
        return Rendered(engine, list(frame_hashes(job.output)))

    return lambda tree: of(tree.name)


@pytest.mark.parametrize("tree", TREES.values(), ids=lambda tree: tree.name)
def test_each_tree_renders_and_resumes_to_the_same_frames(
    job: Job, rendered: Callable[[Tree], Rendered], tree: Tree
) -> None:
    engine, whole = rendered(tree).engine, rendered(tree).frames
    check_bundle_fits(engine.bundle)
    job, stop = shortened(job), StopRequest()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.ClipRendered) and event.frames_done == 4:
            stop.ask()

    with pytest.raises(Interrupted):
        run_job(job, engine, on_event=listen, stop=stop)
    run_job(job, engine)
    assert len(whole) == 10
    assert list(frame_hashes(job.output)) == whole


def test_weights_of_one_tree_do_not_fit_another(tmp_path: Path, rendered: Callable[[Tree], Rendered]) -> None:
    joyhallo = shutil.copytree(rendered(JOYHALLO).engine.bundle.path, tmp_path / "joyhallo")
    (joyhallo / "bundle.toml").write_text(
        (joyhallo / "bundle.toml").read_text().replace("shared_audio_attention = true", "")
    )
    with pytest.raises(WeightsError, match=r"missing denoising_unet.*attn2_1"):
        check_bundle_fits(BundleEngine.open(str(joyhallo), ON_CPU).bundle)


def test_relatives_frames_differ(rendered: Callable[[Tree], Rendered]) -> None:
    assert rendered(OFFICIAL).frames != rendered(HALLO2).frames


def test_painting_is_rendered_without_an_identity_as_published(
    job: Job,
    tmp_path: Path,
    rendered: Callable[[Tree], Rendered],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(IdentityNetwork, "_found", lambda *_: [])
    run_job(shortened(job), BundleEngine(rendered(OFFICIAL).engine.bundle, ON_CPU))
    assert "the identity network finds no face" in caplog.text
    assert len(list(frame_hashes(job.output))) == 10


def test_voice_is_separated_first_as_published(
    job: Job, tmp_path: Path, rendered: Callable[[Tree], Rendered], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hallo_cli")
    engine = rendered(OFFICIAL).engine
    plain = engine.decode(job.audio, tmp_path / "plain.f32", published())
    voice = engine.decode(job.audio, tmp_path / "voice.f32", published(separate_vocals=True))
    assert voice.n_samples == plain.n_samples
    inside = slice(400, 6000)
    error = voice.read(0, 6400)[inside] - 0.5 * plain.read(0, 6400)[inside]
    # The network halves what it is given; in between are sixteen bits and two changes of rate.
    assert abs(error).max() < 0.05
    run_job(shortened(job, separate_vocals=True), engine)
    assert "the voice is separated from music and noise first" in caplog.text
    assert len(list(frame_hashes(job.output))) == 10
