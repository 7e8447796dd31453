"""The example portrait and one face analyser for all tests of the analysis."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hallo_cli.analysis.face import FaceAnalyser
from hallo_cli.domain import Bytes, Float
from hallo_cli.media.audio import read_sound

ASSETS = Path(__file__).parent.parent.parent / "hallo_cli" / "assets"


@pytest.fixture(scope="session")
def astronaut_file() -> Path:
    return ASSETS / "examples" / "portrait_astronaut.png"


@pytest.fixture(scope="session")
def astronaut(astronaut_file: Path) -> Bytes:
    with Image.open(astronaut_file) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture(scope="session")
def analyser() -> FaceAnalyser:
    return FaceAnalyser()


@pytest.fixture(scope="session")
def speech() -> Float:
    """Two spoken sentences with a second of silence between them: 16 kHz."""
    names = ("0880", "0890")
    one, two = (
        read_sound(ASSETS / "examples" / f"sense_and_sensibility_01_austen_64kb-{n}.wav") for n in names
    )
    return np.concatenate([one, np.zeros(16_000, np.float32), two])
