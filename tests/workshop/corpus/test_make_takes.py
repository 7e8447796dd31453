import io
import json
import wave
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from hallo_cli.cli.app import register
from hallo_cli.errors import InputError, OutputError
from hallo_cli.training.takes import Take, read_takes
from hallo_cli.workshop.corpus.appearance import Look, Warp
from hallo_cli.workshop.corpus.head_model import EYE, SKIN
from hallo_cli.workshop.corpus.make_takes import (
    CROP_SCALE,
    CROP_SHIFT,
    FRAME_SIZE,
    MOTION_SIZE,
    TakeSpec,
    make_take,
)
from hallo_cli.workshop.corpus.performance import rehearse
from hallo_cli.workshop.corpus.take_shards import require_place, write_corpus

N_FRAMES = 6


@pytest.fixture(scope="module")
def take() -> Take:
    made = make_take(TakeSpec(3, 1, n_frames=N_FRAMES))
    assert made is not None
    return made


def decoded(file: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.astype(np.float32)


def test_same_spec_gives_the_same_take(take: Take) -> None:
    again = make_take(TakeSpec(3, 1, n_frames=N_FRAMES))
    assert again is not None
    assert again.frames == take.frames
    assert again.wav == take.wav


def test_take_is_framed_as_a_portrait(take: Take) -> None:
    assert decoded(take.frames[0]).shape == (FRAME_SIZE, FRAME_SIZE, 3)
    left, top, right, bottom = take.info.face_box
    assert max(right - left, bottom - top) == pytest.approx(FRAME_SIZE / CROP_SCALE, abs=0.5)
    assert (left + right) / 2 == pytest.approx(FRAME_SIZE / 2, abs=0.5)
    assert (top + bottom) / 2 == pytest.approx(FRAME_SIZE * (0.5 - CROP_SHIFT), abs=0.5)


def test_lips_lie_in_the_lip_box_and_in_the_face(take: Take) -> None:
    lips, face = take.info.lip_box, take.info.face_box
    assert face[0] < lips[0] < lips[2] < face[2]
    assert face[1] < lips[1] < lips[3] < face[3] + 10


def test_sound_surrounds_the_frames(take: Take) -> None:
    with wave.open(io.BytesIO(take.wav)) as file:
        assert (file.getframerate(), file.getnchannels()) == (16_000, 1)
        assert file.getnframes() / 16_000 >= take.info.audio_lead_s + N_FRAMES / 25


def test_truth_has_a_value_per_frame(take: Take) -> None:
    assert take.truth["visemes"].shape == (N_FRAMES, 6)
    assert {take.truth[name].shape for name in ("phones", "blink", "opening", "mouth_width")} == {(N_FRAMES,)}


def test_lips_and_masks_are_where_the_frames_show_them(take: Take) -> None:
    lips, materials = take.truth["lips"], take.truth["materials"]
    assert materials.shape == (N_FRAMES, MOTION_SIZE, MOTION_SIZE)
    left, top, right, bottom = take.info.lip_box
    assert left <= lips[..., 0].min() < lips[..., 0].max() <= right
    assert top <= lips[..., 1].min() < lips[..., 1].max() <= bottom
    cells = (lips * (MOTION_SIZE / FRAME_SIZE)).astype(int).clip(0, MOTION_SIZE - 1)
    around = materials[np.arange(N_FRAMES)[:, None], cells[..., 1], cells[..., 0]]
    assert (around == SKIN).mean() > 0.7  # lips are skin; a few of their vertices hide behind teeth
    assert (materials == EYE).any(axis=(1, 2)).any()
    assert (materials == -1).mean() > 0.05


def test_only_the_face_moves_within_a_take(take: Take) -> None:
    corner = np.stack([decoded(file)[:20, :20] for file in take.frames])
    assert np.abs(corner - corner[0]).max() < 24  # JPEG, and hair that turns a little


def test_warp_and_its_inverse_meet() -> None:
    warp = Warp.draw(np.random.default_rng(9))
    points = np.random.default_rng(0).uniform(0.2, 0.8, (50, 2)).astype(np.float32)
    assert np.abs(warp.source_of(warp.target_of(points)) - points).max() < 2e-3


def test_look_is_the_same_for_equal_frames() -> None:
    picture = np.random.default_rng(0).uniform(size=(64, 64, 3)).astype(np.float32)
    for seed in range(12):
        look = Look(np.random.default_rng(seed), 64)
        assert np.array_equal(look(picture.copy()), look(picture.copy()))


def test_windows_show_every_mouth_shape() -> None:
    peaks = np.stack(
        [
            np.max(
                [
                    moment.visemes
                    for moment in rehearse(np.random.default_rng(s), n_frames=14, held_out=False).moments
                ],
                axis=0,
            )
            for s in range(24)
        ]
    )
    share = (peaks[:, :4] > 0.5).mean(axis=0)  # open, wide, round, close
    assert share.min() > 0.1  # a stretch chosen blindly shows round mouths in one of twenty


def test_command_writes_shards_once(tmp_path: Path) -> None:
    command = ["train", "synth", str(tmp_path), "--identities", "2", "--frames", "2", "--seed", "4"]
    sheet = tmp_path / "sheet.png"
    first = CliRunner().invoke(register("train"), [*command, "--contact-sheet", str(sheet)])
    assert first.exit_code == 0, first.output
    shard = tmp_path / "synth-000000.tar"
    written = shard.stat().st_mtime_ns
    assert [take.key for take in read_takes(shard)] == ["synth-4-000000", "synth-4-000001"]
    assert sheet.exists()
    CliRunner().invoke(register("train"), command)
    assert shard.stat().st_mtime_ns == written
    assert CliRunner().invoke(register("train"), [*command[:-1], "5"]).exit_code != 0


def corpus(folder: Path, *, seed: int = 4, n_frames: int = 2, n_takes: int = 2) -> list[object]:
    return list(write_corpus(folder, TakeSpec(seed, 0, n_frames=n_frames), n_takes=n_takes, workers=1))


@pytest.fixture
def small_corpus(tmp_path: Path) -> Path:
    """What a run of two takes leaves, the takes apart."""
    (tmp_path / "synth-000000.tar").write_bytes(bytes(10240))  # an empty tar file
    origin = {"seed": 4, "first take": 0, "frames": 2, "held-out voices": False, "takes": 2}
    (tmp_path / "made_from.json").write_text(json.dumps(origin))
    return tmp_path


def test_the_same_corpus_again_is_there_already(small_corpus: Path) -> None:
    assert corpus(small_corpus) == []


def test_another_seed_or_length_is_refused(small_corpus: Path) -> None:
    with pytest.raises(InputError, match="made with seed 4, now it is 5"):
        corpus(small_corpus, seed=5)
    with pytest.raises(InputError, match="made with frames 2, now it is 3"):
        corpus(small_corpus, n_frames=3)


def test_a_shard_with_fewer_takes_than_asked_for_is_refused(small_corpus: Path) -> None:
    with pytest.raises(InputError, match="of a corpus of 2 takes, now it is to have 100"):
        corpus(small_corpus, n_takes=100)


def test_a_corpus_of_whole_shards_may_grow(small_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hallo_cli.workshop.corpus.take_shards.TAKES_PER_SHARD", 2)
    monkeypatch.setattr("hallo_cli.workshop.corpus.take_shards.make_take", lambda spec: None)
    assert len(corpus(small_corpus, n_takes=4)) == 1
    assert json.loads((small_corpus / "made_from.json").read_text())["takes"] == 4


@pytest.mark.parametrize("folder", ["afile", "afile/x"])
def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path, folder: str) -> None:
    (tmp_path / "afile").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        corpus(tmp_path / folder)


def test_a_place_for_the_contact_sheet_is_looked_for_first(tmp_path: Path) -> None:
    (tmp_path / "afile").write_text("")
    for place in (tmp_path / "afile" / "sheet.png", tmp_path):
        with pytest.raises(OutputError, match="cannot be written"):
            require_place(place)
    require_place(tmp_path / "new" / "sheet.png")
    assert not list((tmp_path / "new").iterdir())
