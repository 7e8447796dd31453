"""flite, when it is installed (a Debian package): more natural voices than espeak-ng's, with phone times."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

from hallo_cli.domain import Float
from hallo_cli.errors import InputError
from hallo_cli.workshop.corpus.phones import PHONE_ID, REST, Segment

_TIMING = re.compile(r"([a-z]+):([\d.]+)")


def has_flite() -> bool:
    """Whether the flite command can be found."""
    return shutil.which("flite") is not None


def speak(text: str, *, voice: str, stretch: float) -> tuple[Float, int, list[Segment]]:
    """Mono samples in -1..1, their rate, and the phones. `stretch` > 1 speaks slower."""
    with tempfile.TemporaryDirectory(prefix="hallo-flite-") as folder:
        target = Path(folder) / "speech.wav"
        command = [
            "flite",
            "-psdur",
            "-voice",
            voice,
            "--setf",
            f"duration_stretch={stretch:.3f}",
            "-t",
            text,
        ]
        done = subprocess.run(
            [*command, "-o", str(target)], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0 or not target.exists():
            raise InputError(
                f"flite failed on {text!r} ({done.stderr.strip()}); remove it from PATH to go without."
            )
        samples, rate = _read(target)
    return samples, rate, _segments(done.stdout)


def _read(path: Path) -> tuple[Float, int]:
    with wave.open(str(path)) as file:
        data = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        return data.astype(np.float32) / np.float32(32768), file.getframerate()


def _segments(timing: str) -> list[Segment]:
    segments: list[Segment] = []
    start = 0.0
    for phone, end in _TIMING.findall(timing):
        segments.append(Segment(start, float(end), phone if phone in PHONE_ID else REST))
        start = float(end)
    return segments
