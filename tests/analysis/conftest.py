"""The example portrait and one face analyser for all tests of the analysis."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hallo_cli.analysis.face import FaceAnalyser
from hallo_cli.domain import Bytes

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
