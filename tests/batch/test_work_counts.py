"""How often a batch reads the inputs of a row: once to check them, once to render them."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from batch_doubles import batch_of, results, write_sound

import hallo_cli
from hallo_cli.analysis import portrait as analysis
from hallo_cli.batch.run import opened
from hallo_cli.domain import Bytes, Clip, Float, MotionFrames, Portrait, Speech, StepDone
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.jobs.compositor import Compositor
from hallo_cli.media import image
from hallo_cli.media.audio import Decoding
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings
from hallo_cli.store import digests

PICTURE = Path(hallo_cli.__file__).parent / "assets" / "examples" / "portrait_astronaut.png"


class StillEngine(BundleEngine):
    """The real engine whose networks never move the portrait."""

    at_rest: Bytes

    def load_networks(self, settings: RenderSettings) -> None:
        pass

    def compositor(self, path: Path, portrait: Portrait, settings: RenderSettings) -> Compositor:
        made = super().compositor(path, portrait, settings)
        self.at_rest = made.at_rest
        return made

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Iterator[StepDone | Clip]:
        for start in range(0, speech.n_frames, self.networks.clip_frames):
            frames = np.repeat(self.at_rest, self.networks.clip_frames, axis=0)
            index = (speech.first_frame + start) // self.networks.clip_frames
            yield Clip(index, frames, MotionFrames(np.zeros((2, 1, 1, 4), np.float32)))


def make_engine(bundle: str, runtime: RuntimeSettings) -> StillEngine:
    return StillEngine.open(bundle, runtime)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was hashed or decoded, by what was done and the file's name."""
    found: Counter[str] = Counter()
    read_through, read_image, iterate = digests._read_through, image.read_image, Decoding.__iter__

    def hashed(path: Path) -> str:
        found[f"hash {path.name}"] += 1
        return read_through(path)

    def decoded(file: Path) -> Bytes:
        found[f"decode {file.name}"] += 1
        return read_image(file)

    def heard(self: Decoding) -> Iterator[Float]:
        found[f"decode {self._source.name}"] += 1
        return iterate(self)

    monkeypatch.setattr(digests, "_read_through", hashed)
    monkeypatch.setattr(digests, "FRESH_NS", 0)  # as for files that were not written a moment ago
    monkeypatch.setattr(analysis, "read_image", decoded)
    monkeypatch.setattr(Decoding, "__iter__", heard)
    return found


def test_each_input_of_a_row_is_hashed_once_and_decoded_once_to_check_and_once_to_render(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: Counter[str]
) -> None:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "p.png").write_bytes(PICTURE.read_bytes())
    write_sound(tmp_path / "s.wav", 0.6)
    manifest = tmp_path / "batch.csv"
    manifest.write_text("id,portrait,audio\na,p.png,s.wav\n")
    batch = batch_of(manifest)
    batch = dataclasses.replace(batch, renderer=dataclasses.replace(batch.renderer, make_engine=make_engine))
    ofs = ("hash p.png", "hash s.wav", "decode p.png", "decode s.wav")
    with opened(batch) as open_batch:
        list(open_batch.check())
        assert [counts[what] for what in ofs] == [1, 1, 1, 1]
        list(open_batch.run())
    assert results(manifest)["a"].status == "done", results(manifest)["a"].message
    assert [counts[what] for what in ofs] == [1, 1, 2, 2]
