import shlex
import shutil
import sys
from pathlib import Path

import pytest

from hallo_cli.errors import SettingsError, SpeechError
from hallo_cli.media.probe import probe
from hallo_cli.media.speaking import speak, spoken_path

SPEAKER = """
import sys, wave
output, text = sys.argv[1], " ".join(sys.argv[2:]) or sys.stdin.read()
open(f"{__file__}.said", "a", encoding="utf-8").write(f"{text}|")
if "fail" in text: sys.exit("no voice\\nfor this")
if "mute" in text: sys.exit()
with wave.open(output, "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    file.writeframes(bytes(3200 * len(text)))
"""


@pytest.fixture
def speaker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A command that "speaks" a tenth of a second of silence for each letter, and notes what it was given."""
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "speaker.py").write_text(SPEAKER)
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(tmp_path / 'speaker.py'))} {{output}}"


def said(folder: Path) -> str:
    return (folder / "speaker.py.said").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", [" {text}", ""])
@pytest.mark.parametrize("text", ["Grüß Gott", "$(touch x); `id` 'a' \"b\"", "{output} {text}"])
def test_text_reaches_the_command_as_it_is(speaker: str, tmp_path: Path, form: str, text: str) -> None:
    file = speak(text, speaker + form)
    track = probe(file).audio
    assert said(tmp_path) == f"{text}|"
    assert track is not None
    assert track.duration_s == pytest.approx(0.1 * len(text), abs=0.001)
    assert not Path("x").exists()


def test_what_was_spoken_is_not_spoken_again(speaker: str, tmp_path: Path) -> None:
    assert speak("hello", speaker) == speak("hello", speaker) == spoken_path("hello", speaker)
    speak("hello", speaker + " {text}")
    assert said(tmp_path) == "hello|hello|"


def test_failing_command_is_told_and_leaves_nothing(speaker: str, tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match=r"failed \(status 1\): no voice"):
        speak("fail", speaker)
    with pytest.raises(SpeechError, match="wrote no sound"):
        speak("mute", speaker)
    assert list((tmp_path / "cache" / "speech").iterdir()) == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("espeak-ng {text}", "lacks {output}"),
        ("no-such-program-here {output}", "was not found"),
        ("say 'hello {output}", "No closing quotation"),
        ("", "lacks {output}"),
    ],
)
def test_unusable_command_is_told(command: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        speak("hello", command)


@pytest.mark.parametrize("text", ["", "  \n", "a\0b", "x" * 100_001])
def test_text_that_cannot_be_spoken_is_told(speaker: str, text: str) -> None:
    with pytest.raises(SpeechError, match="text to be spoken"):
        speak(text, speaker)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed here")
def test_espeak_speaks(speaker: str) -> None:
    track = probe(speak("-- Hello, world.", "espeak-ng -w {output} -- {text}")).audio
    assert track is not None
    assert (track.duration_s or 0) > 0.5


def test_text_is_never_an_option_of_the_command(speaker: str, tmp_path: Path) -> None:
    speak("--model=/etc/passwd", speaker + " {text}")
    assert said(tmp_path) == " --model=/etc/passwd|"
