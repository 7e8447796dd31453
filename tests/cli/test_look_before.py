"""What can be seen before a render: the still of `hallo check` and the draft of `hallo render`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile
from small_bundles import make_bundle
from typer.testing import CliRunner

from hallo_cli.cli.app import register
from hallo_cli.errors import ConsentError, OutputError, SettingsError
from hallo_cli.media.probe import probe

app = register("render", "check", "consent")
FACE = Path(__file__).parent.parent.parent / "hallo_cli/assets/examples/portrait_astronaut.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("look")
    make_bundle(folder / "bundle")
    samples = np.random.default_rng(0).normal(0, 2000, 16_000 * 3).astype(np.int16)
    wavfile.write(folder / "a.wav", 16_000, samples)
    return folder


def invoke(folder: Path, command: str, *options: str) -> str:
    inputs = [command, str(FACE), str(folder / "a.wav"), "--bundle", str(folder / "bundle"), *options]
    result = CliRunner().invoke(app, inputs, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_check_says_how_well_it_will_do(folder: Path) -> None:
    found = json.loads(invoke(folder, "check", "--json"))["portrait"]
    assert found["outlook"] == "fair"
    assert not any("mouth" in reason for reason in found["reasons"])  # smiles are shut by geometry
    assert 65 < found["light_level"] < 225


def test_check_obeys_the_consent_file(folder: Path) -> None:
    consent = folder / "consent.csv"

    def add(*files: str) -> None:
        command = ["consent", "add", str(consent), *files, "--who", "Anna", "--until", "2999-12-31"]
        assert CliRunner().invoke(app, command).exit_code == 0

    add(str(FACE))
    with pytest.raises(ConsentError, match=r"the recording .* has no entry"):
        invoke(folder, "check", "--consent", str(consent))
    add(str(folder / "a.wav"))
    said = invoke(folder, "check", "--consent", str(consent))
    assert "consent    portrait by 'Anna', until 2999-12-31" in said
    found = json.loads(invoke(folder, "check", "--consent", str(consent), "--json"))["consents"]
    assert found[1] == {"of": "voice", "who": "Anna", "until": "2999-12-31"}


@pytest.mark.parametrize("framing", ["crop", "full"])
def test_still_shows_the_picture_and_the_videos_frame(folder: Path, framing: str) -> None:
    options = ["--canvas", "9:16", "--framing", framing]
    invoke(folder, "check", "--still", str(folder / "still.png"), *options)
    with Image.open(folder / "still.png") as still:
        assert still.size[0] == 640 + 360 + 30  # two panels and their margins
        is_white = (np.asarray(still)[:, :650] == 255).all(axis=2)
        assert is_white.sum() > 500  # the square's outline


def test_still_that_cannot_be_written_is_told(folder: Path) -> None:
    with pytest.raises(OutputError):
        invoke(folder, "check", "--still", str(folder / "gone" / "still.png"))


@pytest.mark.parametrize(
    ("still", "said"), [("still.gif", r"must end in \.png"), (str(FACE), "would replace the portrait")]
)
def test_wrong_name_of_a_still_is_told_before_the_look(
    folder: Path, monkeypatch: pytest.MonkeyPatch, still: str, said: str
) -> None:
    monkeypatch.delattr("hallo_cli.cli.check.report")
    with pytest.raises(SettingsError, match=said):
        invoke(folder, "check", "--still", still)


def test_draft_lies_beside_the_video_and_replaces_the_one_before(folder: Path) -> None:
    (folder / "out.draft.mp4").write_bytes(b"an earlier draft")
    invoke(folder, "render", "-o", str(folder / "out.mp4"), "--draft", "--steps", "1", "--duration", "0.4")
    video = probe(folder / "out.draft.mp4").video
    assert video is not None
    assert video.n_frames == 10
    assert not (folder / "out.mp4").exists()


def test_draft_is_two_seconds_unless_told_otherwise(folder: Path) -> None:
    forecast = json.loads(invoke(folder, "render", "--draft", "--dry-run", "--json"))["forecast"]
    assert forecast["n_frames"] == 50
