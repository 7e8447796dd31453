import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from certificates import make_certificate
from scipy.io import wavfile
from small_bundles import make_bundle
from typer.testing import CliRunner

from hallo_cli.cli.app import register
from hallo_cli.errors import InputError, SettingsError

app = register("render", "verify")
FACE = Path(__file__).parent.parent.parent / "hallo_cli/assets/examples/portrait_astronaut.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, a recording and a video of it: out.mp4."""
    folder = tmp_path_factory.mktemp("verify")
    make_bundle(folder / "bundle")
    wavfile.write(folder / "a.wav", 16_000, np.random.default_rng(0).normal(0, 2000, 3840).astype(np.int16))
    render(folder, "out.mp4")
    return folder


def render(folder: Path, output: str, *options: str) -> None:
    inputs = [str(FACE), str(folder / "a.wav"), "-o", str(folder / output), "--overwrite"]
    arguments = ["render", *inputs, "--bundle", str(folder / "bundle"), "--threads", "1", *options]
    CliRunner().invoke(app, arguments, catch_exceptions=False)


def verify(video: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["verify", str(video), *options], catch_exceptions=False)
    return result.exit_code, result.stdout


def test_rendered_video_is_good(folder: Path) -> None:
    status, said = verify(folder / "out.mp4")
    assert status == 0
    assert "made by AI, with Hallo CLI" in said
    assert "this machine's certificate" in said
    assert "unchanged since it was signed" in said
    assert "describes this video" in said


def test_video_comes_out_the_same_again(folder: Path) -> None:
    status, said = verify(folder / "out.mp4", "--again", "--threads", "1")
    assert (status, said.splitlines()[-1]) == (0, "again      all 6 frames are the same")


def test_verdict_for_programs(folder: Path) -> None:
    status, said = verify(folder / "out.mp4", "--json")
    verdict = json.loads(said)
    assert (status, verdict["good"], verdict["is_own"], verdict["schema"]) == (0, True, True, 1)


def test_unmarked_video_ends_with_1(folder: Path) -> None:
    render(folder, "plain.mp4", "--no-provenance")
    status, said = verify(folder / "plain.mp4")
    assert status == 1
    assert "does not say who or what made it" in said


def test_changed_video_ends_with_1(folder: Path) -> None:
    content = bytearray((folder / "out.mp4").read_bytes())
    content[-50] ^= 1
    (folder / "changed.mp4").write_bytes(content)
    status, said = verify(folder / "changed.mp4")
    assert status == 1
    assert "CHANGED since it was signed" in said
    assert "this machine's certificate" in said


def test_users_certificate_is_trusted_when_named(folder: Path, tmp_path: Path) -> None:
    mine = make_certificate(tmp_path / "mine.pem")
    render(folder, "mine.mp4", "--certificate", str(mine))
    assert "not trusted here" in verify(folder / "mine.mp4")[1]
    assert (
        "by 'Example Films', a certificate that you trust"
        in verify(folder / "mine.mp4", "--trust", str(mine))[1]
    )


@pytest.mark.parametrize("name", ["gone.pem", "empty.pem"])
def test_missing_certificate_is_one_line_and_status_2(folder: Path, name: str) -> None:
    (folder / "empty.pem").write_bytes(b"")
    inputs = [str(FACE), "a.wav", "-o", "no.mp4", "--bundle", "bundle", "--certificate", name, "-q"]
    command = [sys.executable, "-m", "hallo_cli", "render", *inputs, "--progress", "none"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert name in result.stderr
    assert not list(folder.glob("no*"))


def test_what_is_no_video_and_no_certificate_is_told(folder: Path) -> None:
    with pytest.raises(InputError):
        verify(folder / "gone.mp4")
    with pytest.raises(SettingsError, match="Give a PEM file"):
        verify(folder / "out.mp4", "--trust", str(folder / "a.wav"))
