"""A picture file becomes a portrait, or a message that says what to change."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hallo_cli.analysis.face import SILHOUETTE, Face, FaceAnalyser
from hallo_cli.analysis.framing import View
from hallo_cli.analysis.of_bundle import canvas_of
from hallo_cli.analysis.portrait import PortraitAnalyser, PortraitOptions, Requirements
from hallo_cli.analysis.sight import sharpness
from hallo_cli.bundles.bundle_file import Geometry
from hallo_cli.domain import Bytes, Portrait
from hallo_cli.errors import PortraitError
from hallo_cli.media.image import write_png
from hallo_cli.models.network_config import NetworkConfig

SMALL = NetworkConfig(
    channels=(48, 96, 128),
    norm_groups=16,
    attention_levels=(False, True, True),
    motion_levels=(False, True, True),
    identity_tokens=0,
    image_size=256,
)
EMBEDDED_LIKE = Requirements(SMALL, Geometry(crop_scale=1.32, crop_shift=0.015))
OPTIONS = PortraitOptions(size=256)
face_analyser = cache(FaceAnalyser)


@pytest.fixture(autouse=True)
def networks_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The face networks keep nothing of a portrait: all tests look with the same ones."""
    monkeypatch.setattr("hallo_cli.analysis.portrait.FaceAnalyser", face_analyser)


@pytest.fixture
def portrait_analyser(tmp_path: Path) -> PortraitAnalyser:
    return PortraitAnalyser(EMBEDDED_LIKE, cache=tmp_path / "cache")


def assert_equal(a: Portrait, b: Portrait) -> None:
    assert np.array_equal(a.pixels, b.pixels)
    assert (a.crop, a.source_size, a.digest) == (b.crop, b.source_size, b.digest)
    for name in ("landmarks", "face_region"):
        assert np.array_equal(getattr(a, name), getattr(b, name))
    for name in ("full", "face", "lip"):
        for x, y in zip(getattr(a.masks, name), getattr(b.masks, name), strict=True):
            assert np.array_equal(x, y)


def test_portrait_is_framed_and_measured(portrait_analyser: PortraitAnalyser, astronaut_file: Path) -> None:
    portrait = portrait_analyser.analyse(astronaut_file, OPTIONS)
    assert portrait.pixels.shape == (256, 256, 3)
    assert portrait.source_size == (512, 512)
    outline = portrait.landmarks[list(SILHOUETTE)]
    assert np.ptp(outline, axis=0).max() == pytest.approx(256 / 1.32, abs=0.5)
    assert [m.shape for m in portrait.masks.lip] == [(32, 32), (16, 16), (8, 8)]
    assert portrait.face_region.shape == (256, 256)
    assert set(np.unique(portrait.face_region)) == {0.0, 1.0}
    assert portrait.identity is None


def test_official_portraits_have_masks_of_four_levels(tmp_path: Path, astronaut_file: Path) -> None:
    official = Requirements(NetworkConfig.official(), Geometry())
    portrait = PortraitAnalyser(official, cache=tmp_path).analyse(astronaut_file, PortraitOptions(size=512))
    assert [m.shape[0] for m in portrait.masks.face] == [64, 32, 16, 8]


def test_second_analysis_comes_from_the_cache(
    portrait_analyser: PortraitAnalyser, astronaut_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = portrait_analyser.analyse(astronaut_file, OPTIONS)
    monkeypatch.setattr(PortraitAnalyser, "look", lambda *_: pytest.fail("analysed again"))
    assert_equal(portrait_analyser.analyse(astronaut_file, OPTIONS), first)


def test_cache_knows_the_content_not_the_name(
    portrait_analyser: PortraitAnalyser, astronaut_file: Path, astronaut: Bytes, tmp_path: Path
) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(astronaut_file.read_bytes())
    first = portrait_analyser.analyse(file, OPTIONS)
    write_png(file, np.ascontiguousarray(astronaut[:, ::-1]))
    second = portrait_analyser.analyse(file, OPTIONS)
    assert first.digest != second.digest
    assert not np.array_equal(first.pixels, second.pixels)


def test_other_options_are_analysed_anew(portrait_analyser: PortraitAnalyser, astronaut_file: Path) -> None:
    sizes = [
        portrait_analyser.analyse(astronaut_file, PortraitOptions(size=size)).pixels.shape[0]
        for size in (256, 128, 256)
    ]
    assert sizes == [256, 128, 256]


def test_damaged_cache_is_made_again(
    portrait_analyser: PortraitAnalyser, astronaut_file: Path, tmp_path: Path
) -> None:
    first = portrait_analyser.analyse(astronaut_file, OPTIONS)
    (note,) = (tmp_path / "cache").iterdir()
    for damage in (b"", b"PK\x03\x04 broken", note.read_bytes()[:2000]):
        note.write_bytes(damage)
        assert_equal(portrait_analyser.analyse(astronaut_file, OPTIONS), first)


def test_cache_that_cannot_be_written_is_no_failure(tmp_path: Path, astronaut_file: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    analyser = PortraitAnalyser(EMBEDDED_LIKE, cache=tmp_path / "file" / "cache")
    assert analyser.analyse(astronaut_file, OPTIONS).pixels.shape == (256, 256, 3)


def test_cache_does_not_grow_without_end(
    tmp_path: Path, astronaut_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hallo_cli.analysis.portrait_cache.MAX_FILES", 2)
    analyser = PortraitAnalyser(EMBEDDED_LIKE, cache=tmp_path)
    for size in (64, 128, 192):
        analyser.analyse(astronaut_file, PortraitOptions(size=size))
    assert len(list(tmp_path.iterdir())) == 2


def test_picture_without_a_face_is_refused(portrait_analyser: PortraitAnalyser, tmp_path: Path) -> None:
    write_png(tmp_path / "sky.png", np.full((300, 400, 3), 180, np.uint8))
    with pytest.raises(PortraitError, match=r"No face was found in .*sky\.png"):
        portrait_analyser.analyse(tmp_path / "sky.png", OPTIONS)


def test_small_face_is_refused_with_its_size(
    portrait_analyser: PortraitAnalyser, astronaut: Bytes, tmp_path: Path
) -> None:
    small = cv2.resize(astronaut, (136, 136), interpolation=cv2.INTER_AREA)
    write_png(tmp_path / "small.png", small)
    with pytest.raises(PortraitError, match=r"is 2\d pixels high; at least 32"):
        portrait_analyser.analyse(tmp_path / "small.png", OPTIONS)


def test_profile_is_refused(
    portrait_analyser: PortraitAnalyser, astronaut_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hallo_cli.analysis.sight.MAX_YAW", 0.001)
    with pytest.raises(PortraitError, match="degrees to the side"):
        portrait_analyser.analyse(astronaut_file, OPTIONS)


def three_faces(astronaut: Bytes) -> Bytes:
    """The same face three times, the largest in the middle."""
    small = cv2.resize(astronaut[:320, 60:380], (400, 400))
    large = cv2.resize(astronaut[:320, 60:380], (520, 520))
    row = [np.pad(p, ((0, 520 - p.shape[0]), (0, 0), (0, 0))) for p in (small, large, small)]
    return np.hstack(row)


def test_faces_are_counted_from_the_left_and_the_largest_is_the_default(
    portrait_analyser: PortraitAnalyser, astronaut: Bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "three.png"
    write_png(file, three_faces(astronaut))
    found = [
        portrait_analyser.analyse(file, PortraitOptions(size=256, face_index=index))
        for index in (0, 1, 2, None)
    ]
    lefts = [portrait.crop.left for portrait in found]
    assert lefts[0] < 400 < lefts[1] < 920 < lefts[2]
    assert lefts[3] == lefts[1]
    assert "3 faces, from the left: 0 at" in " ".join(found[3].notes)


def test_missing_face_index_lists_the_faces(
    portrait_analyser: PortraitAnalyser, astronaut: Bytes, tmp_path: Path
) -> None:
    write_png(tmp_path / "three.png", three_faces(astronaut))
    with pytest.raises(PortraitError, match=r"no face 3 in .*3 faces, from the left"):
        portrait_analyser.analyse(tmp_path / "three.png", PortraitOptions(size=256, face_index=3))


def test_turned_photograph_gives_the_upright_portrait(
    portrait_analyser: PortraitAnalyser, astronaut: Bytes, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(astronaut).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    portrait = portrait_analyser.analyse(tmp_path / "a.png", OPTIONS)
    assert portrait.landmarks[152, 1] > portrait.landmarks[10, 1]


def save_as(picture: Image.Image, kind: str, folder: Path) -> Path:
    """The picture in another mode, in a format that holds it."""
    if kind == "16 bit":
        grey = np.asarray(picture.convert("L"), np.uint16) * 257
        Image.fromarray(grey).save(folder / "a.png")
    elif kind == "animated":
        picture.save(folder / "a.png", save_all=True, append_images=[Image.new("RGB", picture.size)])
    else:
        suffix = "jpg" if kind == "CMYK" else "png"
        picture.convert(kind).save(folder / f"a.{suffix}")
        return folder / f"a.{suffix}"
    return folder / "a.png"


@pytest.mark.parametrize("kind", ["L", "P", "RGBA", "CMYK", "16 bit", "animated"])
def test_face_is_found_in_every_kind_of_picture(
    portrait_analyser: PortraitAnalyser, astronaut: Bytes, tmp_path: Path, kind: str
) -> None:
    portrait = portrait_analyser.analyse(save_as(Image.fromarray(astronaut), kind, tmp_path), OPTIONS)
    assert portrait.crop.left == pytest.approx(155, abs=4)
    assert portrait.crop.side == pytest.approx(140, abs=5)


def test_whole_framing_squeezes_the_picture_as_published(
    portrait_analyser: PortraitAnalyser, astronaut: Bytes, tmp_path: Path
) -> None:
    write_png(tmp_path / "tall.png", np.ascontiguousarray(astronaut[:, 60:400]))
    options = PortraitOptions(size=256, framing="whole")
    portrait = portrait_analyser.analyse(tmp_path / "tall.png", options)
    expected = Image.fromarray(astronaut[:, 60:400]).resize((256, 256), Image.Resampling.BILINEAR)
    assert np.array_equal(portrait.pixels, np.asarray(expected))
    assert portrait.landmarks[4].tolist() == pytest.approx([164 * 256 / 340, 126 / 2], abs=5)


@pytest.mark.parametrize(
    ("framing", "size"), [("crop", (256, 256)), ("whole", (256, 256)), ("full", (512, 512))]
)
def test_framing_decides_what_is_shown(
    portrait_analyser: PortraitAnalyser,
    astronaut: Bytes,
    astronaut_file: Path,
    framing: str,
    size: tuple[int, int],
) -> None:
    portrait = portrait_analyser.analyse(astronaut_file, PortraitOptions(size=256, framing=framing))
    view = View(framing, 256, EMBEDDED_LIKE.geometry)
    assert canvas_of(SMALL, lambda: astronaut, portrait, view).size == size
    assert np.array_equal(portrait_analyser.upright(astronaut_file, portrait), astronaut)


def test_sharpness_falls_with_blur(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    (face,) = analyser.detect(astronaut)
    blurred = cv2.GaussianBlur(astronaut, (0, 0), 3)
    assert sharpness(astronaut, face) > 4 * sharpness(blurred, face)
    assert sharpness(blurred, face) < 30


PUBLISHED = PortraitOptions(size=256, framing="whole", as_published=True)
PAINTED = Requirements(NetworkConfig.official(), Geometry())


class IdentityDouble:
    """Embeds the largest face as ones and a named one as twos; or sees nobody."""

    digest = "double"

    def __init__(self, *, sees: bool) -> None:
        self.sees = sees

    def embed_largest(self, picture: Bytes) -> np.ndarray | None:
        return np.ones(512, np.float32) if self.sees else None

    def embed(self, picture: Bytes, face: Face) -> np.ndarray:
        if not self.sees:
            raise PortraitError("The identity network finds no face in the portrait.")
        return np.full(512, 2, np.float32)


def published(tmp_path: Path, *, sees: bool) -> PortraitAnalyser:
    return PortraitAnalyser(PAINTED, identity=IdentityDouble(sees=sees), cache=tmp_path / "cache")  # type: ignore[arg-type]


def test_face_that_only_the_landmark_network_sees_goes_on_without_identity_as_published(
    tmp_path: Path, astronaut_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in ("analysed", "from the cache"):
        caplog.clear()
        portrait = published(tmp_path, sees=False).analyse(astronaut_file, PUBLISHED)
        assert portrait.identity is not None
        assert portrait.identity.shape == (512,)
        assert not portrait.identity.any()
        assert "the identity network finds no face" in caplog.text


def test_face_that_the_identity_network_does_not_see_is_refused_otherwise(
    tmp_path: Path, astronaut_file: Path
) -> None:
    with pytest.raises(PortraitError, match="finds no face"):
        published(tmp_path, sees=False).analyse(astronaut_file, OPTIONS)


def test_small_and_turned_faces_are_warned_of_as_published(
    tmp_path: Path, astronaut: Bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hallo_cli.analysis.sight.MAX_YAW", 0.001)
    write_png(tmp_path / "small.png", cv2.resize(astronaut, (136, 136), interpolation=cv2.INTER_AREA))
    published(tmp_path, sees=True).analyse(tmp_path / "small.png", PUBLISHED)
    assert "pixels high; at least 32" in caplog.text
    assert "degrees to the side" in caplog.text
    assert caplog.text.count("Continuing as published") == 2


def test_of_several_faces_each_network_takes_its_own_as_published(
    tmp_path: Path, astronaut: Bytes, analyser: FaceAnalyser, caplog: pytest.LogCaptureFixture
) -> None:
    file, picture = tmp_path / "three.png", three_faces(astronaut)
    write_png(file, picture)
    portrait = published(tmp_path, sees=True).analyse(file, PUBLISHED)
    surest = analyser.surest(picture)
    assert surest is not None
    scale = np.array([256 / picture.shape[1], 256 / picture.shape[0]], np.float32)
    assert np.allclose(portrait.landmarks, surest.landmarks * scale, atol=1e-3)
    assert portrait.identity is not None
    assert portrait.identity[0] == 1
    assert "3 faces" in " ".join(portrait.notes)


def test_named_face_is_that_of_all_networks_as_published_too(tmp_path: Path, astronaut: Bytes) -> None:
    write_png(tmp_path / "three.png", three_faces(astronaut))
    left = published(tmp_path, sees=True).analyse(
        tmp_path / "three.png", PortraitOptions(256, framing="whole", face_index=0, as_published=True)
    )
    assert left.landmarks[4, 0] < 256 * 400 / 1320
    assert left.identity is not None
    assert left.identity[0] == 2


def test_surest_face_is_the_detectors_first(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    picture = three_faces(astronaut)
    best = next(iter(analyser._detector.searches(picture)))[0]
    surest = analyser.surest(picture)
    assert surest is not None
    assert np.array_equal(surest.box, best.box)
    assert analyser.surest(np.zeros((64, 64, 3), np.uint8)) is None
