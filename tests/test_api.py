"""The door for programs, with a tiny bundle of random weights."""

import json
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pytest
from far_store import Store, storing  # noqa: F401
from scipy.io import wavfile
from small_bundles import make_bundle

import hallo_cli as hallo
from hallo_cli.jobs import events
from hallo_cli.media.probe import frame_hashes, probe
from hallo_cli.settings.keywords import Keywords
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings
from hallo_cli.settings.values import fields_of, limits_of, type_of

FACE = Path(hallo.__file__).parent / "assets/examples/portrait_astronaut.png"
N_FRAMES = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle and a recording of 6 frames."""
    folder = tmp_path_factory.mktemp("api")
    make_bundle(folder / "bundle")
    samples = np.random.default_rng(0).normal(0, 2000, 16_000 * N_FRAMES // 25).astype(np.int16)
    wavfile.write(folder / "speech.wav", 16_000, samples)
    return folder


@pytest.fixture(scope="module")
def renderer(folder: Path) -> hallo.Renderer:
    return hallo.Renderer(bundle=str(folder / "bundle"), threads=1)


def test_render_makes_the_video_and_says_what_it_is(folder: Path) -> None:
    seen: list[events.Event] = []
    video = hallo.render(
        str(FACE),
        str(folder / "speech.wav"),
        str(folder / "one.mp4"),
        progress=seen.append,
        bundle=str(folder / "bundle"),
        threads=1,
        steps=1,
    )
    assert (video.output, video.n_frames, video.was_done) == (folder / "one.mp4", N_FRAMES, False)
    assert json.loads(video.sidecar.read_text())["settings"]["steps"] == 1
    assert isinstance(seen[-1], events.Finished)


def test_video_with_an_address_is_rendered_here_and_sent(
    store: Store, renderer: hallo.Renderer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    video = renderer.render(FACE, "speech.wav", "s3://bucket/week/far.mp4")
    assert video.output.absolute() == folder / "far.mp4"
    assert store.names == {"far.mp4", "far.json"}
    store.remove("far.*")
    again = hallo.repeat("far.json", "s3://bucket/week/again.mp4", threads=1)
    assert again.output.name == "again.mp4"
    assert store.names == {"again.mp4", "again.json"}


def test_renderer_keeps_its_networks(renderer: hallo.Renderer, folder: Path) -> None:
    renderer.render(FACE, folder / "speech.wav", folder / "two.mp4")
    held = renderer.engine._animator
    renderer.render(FACE, folder / "speech.wav", folder / "three.mp4", seed=7)
    assert held is not None
    assert renderer.engine._animator is held


def test_frames_are_as_many_and_as_large_as_the_videos(renderer: hallo.Renderer, folder: Path) -> None:
    frames = list(renderer.frames(FACE, folder / "speech.wav"))
    assert [frame.shape for frame in frames] == [(512, 512, 3)] * N_FRAMES


def test_repeated_render_has_the_same_frames(renderer: hallo.Renderer, folder: Path) -> None:
    renderer.render(FACE, folder / "speech.wav", folder / "first.mp4")
    hallo.repeat(folder / "first.json", folder / "again.mp4", threads=1)
    assert list(frame_hashes(folder / "again.mp4")) == list(frame_hashes(folder / "first.mp4"))


def test_check_forecasts_without_rendering(renderer: hallo.Renderer, folder: Path) -> None:
    found = renderer.check(FACE, folder / "speech.wav")
    assert (found.forecast.n_frames, found.portrait.n_faces) == (N_FRAMES, 1)


def test_stop_ends_a_render_and_the_same_call_goes_on(renderer: hallo.Renderer, folder: Path) -> None:
    stop = hallo.StopRequest()
    stop.ask()
    with pytest.raises(hallo.Interrupted):
        renderer.render(FACE, folder / "speech.wav", folder / "stopped.mp4", stop=stop)
    video = renderer.render(FACE, folder / "speech.wav", folder / "stopped.mp4")
    assert probe(video.output).video is not None


def test_options_replace_what_is_there(renderer: hallo.Renderer, folder: Path) -> None:
    taken = folder / "taken.mp4"
    taken.write_bytes(b"something else")
    with pytest.raises(hallo.SettingsError, match="overwrite"):
        renderer.render(FACE, folder / "speech.wav", taken)
    renderer.render(FACE, folder / "speech.wav", taken, options=hallo.RunOptions(overwrite=True))
    assert probe(taken).video is not None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stepz": 3}, "Did you mean 'steps'"),
        ({"steps": 0}, "from 1 to 1000"),
        ({"preset": "nonsense"}, "unknown preset"),
        ({"config": "/nowhere.toml"}, "cannot be read"),
    ],
)
def test_wrong_setting_is_told_at_once(settings: dict[str, typing.Any], said: str) -> None:
    with pytest.raises(hallo.SettingsError, match=said):
        hallo.Renderer(**settings)


def test_what_belongs_to_all_renders_cannot_change_for_one(renderer: hallo.Renderer, folder: Path) -> None:
    with pytest.raises(hallo.SettingsError, match="device is fixed for a Renderer"):
        renderer.render(FACE, folder / "speech.wav", folder / "no.mp4", device="cpu")


def test_variables_count_as_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALLO_STEPS", "9")
    assert hallo.Renderer().resolved.render.steps == 9
    assert hallo.Renderer(steps=2).resolved.render.steps == 2


def test_missing_portrait_is_told_before_anything_is_loaded(renderer: hallo.Renderer, folder: Path) -> None:
    with pytest.raises(hallo.PortraitError, match="does not exist"):
        renderer.render("gone.png", folder / "speech.wav", folder / "no.mp4")


def test_keywords_are_the_settings() -> None:
    """A new setting belongs into settings/keywords.py, too: there editors and type checkers find it."""
    fields = {**fields_of(RenderSettings), **fields_of(RuntimeSettings)}
    hints = typing.get_type_hints(Keywords)
    assert hints.keys() - {"preset", "config"} == fields.keys()
    for key, field in fields.items():
        kinds = {*typing.get_args(hints[key])} or {hints[key]}
        assert type_of(field) in kinds
        assert (type(None) in kinds) == bool(limits_of(field).none_word)


@pytest.mark.parametrize("name", hallo.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(hallo, name).__doc__


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys; import hallo_cli as hallo; hallo.Renderer(steps=3);"
        "print([m for m in ('torch', 'numpy', 'typer', 'av', 'cv2', 'onnxruntime') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_unknown_setting_is_named_with_the_nearest() -> None:
    with pytest.raises(hallo.SettingsError, match=r"keyword arguments: unknown setting 'stpes'.*'steps'"):
        hallo.render("a.jpg", "a.wav", "a.mp4", stpes=3)  # type: ignore[call-arg]
