import time
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile
from small_bundles import make_bundle

from hallo_cli.analysis.portrait import PortraitAnalyser
from hallo_cli.api import Renderer
from hallo_cli.errors import InputError
from hallo_cli.jobs import bundle_engine, inputs, preflight
from hallo_cli.jobs.look_limit import look_limit_s, look_within
from hallo_cli.media import audio

FACE = Path(__file__).parent.parent.parent / "hallo_cli/assets/examples/portrait_astronaut.png"
STUCK = {
    "portrait": [(PortraitAnalyser, "analyse"), (PortraitAnalyser, "look")],
    "recording": [(audio, "decode"), (preflight, "listen_to")],
}

LOOKS_AT_PORTRAITS = [
    (preflight, "look_at_portrait"),
    (bundle_engine.BundleEngine, "portrait"),
    (bundle_engine.BundleEngine, "compositor"),
]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).normal(0, 2000, 8000).astype(np.int16)
    wavfile.write(tmp_path / "speech.wav", 16_000, noise)
    return tmp_path / "speech.wav"


def hang(*given: object, **named: object) -> None:
    time.sleep(60)


@pytest.mark.parametrize("word", STUCK)
@pytest.mark.parametrize("command", ["check", "render"])
def test_file_that_takes_for_ever_is_given_up_and_named(
    sound: Path, monkeypatch: pytest.MonkeyPatch, word: str, command: str
) -> None:
    folder = make_bundle(sound.parent / "bundle").path
    renderer = Renderer(bundle=str(folder), device="cpu", look_limit=1)
    renderer.engine.analyser  # noqa: B018 - made before the clock runs
    for place, name in STUCK[word]:
        monkeypatch.setattr(place, name, hang)
    if word == "recording":  # on a loaded machine, a portrait may take more than the second
        for place, name in LOOKS_AT_PORTRAITS:
            monkeypatch.setattr(place, name, lambda *given: None)
    began = time.monotonic()
    outputs = [sound.with_name("out.mp4")] if command == "render" else []
    with pytest.raises(InputError, match=f"The {word} .* takes longer than 1 s to read. Convert it"):
        getattr(renderer, command)(FACE, sound, *outputs)
    assert time.monotonic() - began < 30


def test_digest_that_takes_for_ever_is_given_up(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "LOOK_S", 0.2)
    monkeypatch.setattr(inputs, "file_digest", hang)
    with pytest.raises(InputError, match="takes longer than 0 s to read"):
        inputs._digest(sound, "recording", InputError)


def test_look_that_fails_says_what_it_says(sound: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        look_within(5.0, sound, "recording", lambda: 1 / 0)


def test_time_for_a_look_grows_with_the_file(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(100 << 20)
    assert look_limit_s(tmp_path / "none", 300.0) == 300.0
    assert look_limit_s(tmp_path / "large", 300.0) == 400.0
