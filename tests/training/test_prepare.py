"""Data preparation: what is chosen of a video, what becomes of it, and that nothing is done twice."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training.footage_files import write_video

from hallo_cli.analysis.face import Face
from hallo_cli.domain import Bytes, Float
from hallo_cli.errors import InputError, OutputError, PortraitError, WeightsError
from hallo_cli.media.video import read_frames
from hallo_cli.training.footage import Seen, Standard, Stretch, choose, find_sources, shut_lids
from hallo_cli.training.prepare import PrepareSettings, prepare
from hallo_cli.training.take_encoder import read_wav
from hallo_cli.training.takes import read_takes, shards_in

FACE = np.zeros((478, 2), np.float32)
STANDARD = Standard(min_s=0.2, max_s=1.0)


def usable(n: int, sharpness: float = 99.0) -> list[Seen]:
    return [Seen(FACE, sharpness=sharpness if i % 5 == 0 else None) for i in range(n)]


def test_stretches_end_at_cuts_and_missing_faces() -> None:
    seen = [*usable(10), *[Seen(None, "no face")] * 3, *usable(10), Seen(FACE, is_cut=True), *usable(9)]
    takes, rejects = choose(seen, STANDARD)
    assert takes == [Stretch(0, 10), Stretch(13, 23), Stretch(23, 33)]
    assert [(r.start, r.stop, r.reason) for r in rejects] == [(10, 13, "no face")]


def test_long_stretches_become_equal_takes() -> None:
    assert choose(usable(60), STANDARD)[0] == [Stretch(0, 20), Stretch(20, 40), Stretch(40, 60)]


def test_short_and_blurred_stretches_are_left_out_with_the_reason() -> None:
    _, rejects = choose([*usable(3), Seen(None, "no face"), *usable(10, sharpness=5.0)], STANDARD)
    assert [r.reason for r in rejects] == ["shorter than 0.2 s", "no face", "sharpness 5 below 30"]


def test_a_video_becomes_takes_once(tmp_path: Path) -> None:
    videos, output = tmp_path / "videos", tmp_path / "takes"
    videos.mkdir()
    write_video(videos / "one.mp4", n_face=30, n_empty=6)
    (videos / "broken.mp4").write_bytes(b"no video")
    settings = PrepareSettings(size=64, standard=Standard(min_face=60, min_sharpness=10, min_s=0.4))
    assert [(v.video, v.n_takes) for v in prepare(videos, output, settings)] == [
        ("broken.mp4", 0),
        ("one.mp4", 1),
    ]

    (take,) = [take for shard in shards_in(output) for take in read_takes(shard)]
    assert take.info.n_frames == len(take.frames) == 30
    left, top, right, bottom = take.info.face_box
    assert 0 <= left < take.info.lip_box[0] < take.info.lip_box[2] < right <= 64
    assert 0 <= top < take.info.lip_box[1] < take.info.lip_box[3] < bottom <= 64
    n_behind = len(read_wav(take)) - 30 * 640  # the video's sound goes on for 6 frames and AAC's padding
    assert 6 * 640 <= n_behind <= 0.4 * 16000
    rejects = [json.loads(line) for line in (output / "rejects.jsonl").read_text().splitlines()]
    assert {one["video"]: one["reason"] for one in rejects}["one.mp4"] == "no face"
    assert "broken.mp4" in {one["video"] for one in rejects}
    assert take.truth["blink"].shape == (30,)
    assert take.truth["blink"].max() < 0.5  # the portrait's eyes are open
    (entry,) = [json.loads(line) for line in (output / "index.jsonl").read_text().splitlines()]
    assert entry["key"] == take.key

    assert list(prepare(videos, output, settings)) == []


def test_lids_are_shut_where_the_eyes_are_narrower_than_usual() -> None:
    openings = [0.3, 0.31, 0.3, 0.17, 0.05, 0.18, 0.3, 0.3, 0.29]
    shut = shut_lids([Seen(FACE, eye_opening=opening) for opening in openings])
    assert shut[[0, 1, 2, 6, 7, 8]].max() == 0
    assert shut[4] == 1
    assert 0.3 < shut[3] < 0.7


def test_lids_that_never_open_are_shut() -> None:
    assert shut_lids([Seen(FACE, eye_opening=0.03)] * 5).min() == 1


class ShortSighted:
    """An identity network that does not see the face in the first picture it is given."""

    def __init__(self) -> None:
        self.n_seen = 0

    def embed(self, picture: Bytes, face: Face) -> Float:
        self.n_seen += 1
        if self.n_seen == 1:
            raise PortraitError("no face")
        return np.full(512, self.n_seen, np.float32)


def test_only_the_stretch_without_an_identity_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = ShortSighted()
    monkeypatch.setattr("hallo_cli.training.prepare._identity_network", lambda name: network)
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "one.mp4", n_face=24, n_empty=0)
    standard = Standard(min_face=60, min_sharpness=10, min_s=0.4, max_s=0.5)
    settings = PrepareSettings(size=64, standard=standard, bundle="any")
    (done,) = prepare(tmp_path / "videos", tmp_path / "takes", settings)
    (take,) = [take for shard in shards_in(tmp_path / "takes") for take in read_takes(shard)]
    assert (done.n_takes, done.n_rejects) == (1, 1)
    assert take.identity is not None
    assert take.key.endswith("-000012")
    reject = json.loads((tmp_path / "takes" / "rejects.jsonl").read_text())
    assert (reject["start_s"], reject["reason"]) == (0, "no face for the identity network")


def test_what_this_machine_lacks_is_not_held_against_the_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise WeightsError("not there")

    monkeypatch.setattr("hallo_cli.training.prepare.watch", fail)
    (tmp_path / "one.mp4").write_bytes(b"never read")
    with pytest.raises(WeightsError):
        list(prepare(tmp_path, tmp_path / "takes", PrepareSettings()))
    assert not list((tmp_path / "takes" / "videos").iterdir())


def test_a_missing_separator_is_found_before_the_first_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALLO_MODELS", str(tmp_path / "none"))
    (tmp_path / "one.mp4").write_bytes(b"never read")
    with pytest.raises(WeightsError, match="hallo models pull"):
        list(prepare(tmp_path, tmp_path / "takes", PrepareSettings(separate_vocals=True)))


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one.mp4").write_bytes(b"never read")
    with pytest.raises(OutputError, match="cannot be written"):
        list(prepare(tmp_path, tmp_path / "one.mp4", PrepareSettings()))


@pytest.mark.slow
def test_several_processes_make_the_same_takes(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("one.mp4", "two.mp4", "three.mp4"):
        write_video(videos / name, n_face=20, n_empty=4)
    settings = PrepareSettings(size=64, standard=Standard(min_face=60, min_sharpness=10, min_s=0.4))
    found = {}
    for workers in (1, 3):
        output = tmp_path / str(workers)
        assert {v.n_takes for v in prepare(videos, output, settings, workers=workers)} == {1}
        takes = [take for shard in shards_in(output) for take in read_takes(shard)]
        found[workers] = {take.key: (take.frames, take.wav) for take in takes}
    assert len(found[1]) == 3
    assert found[3] == found[1]


def test_a_folder_without_videos_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains no videos"):
        list(prepare(tmp_path, tmp_path / "out", PrepareSettings()))


def published(folder: Path, video: Path) -> Path:
    """A data set as Hallo's published preprocessing writes it, of one video's frames."""
    pictures = folder / "images" / "one"
    pictures.mkdir(parents=True)
    for index, frame in enumerate(read_frames(video, fps=25), 1):
        Image.fromarray(frame).save(pictures / f"{index:04d}.png")
    (folder / "audios").mkdir()
    write_wav(folder / "audios" / "one.wav", 0.2)
    (folder / "face_emb").mkdir()
    (folder / "face_emb" / "one.pt").write_bytes(b"never read")
    return folder


def write_wav(path: Path, level: float) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.full(16_000 * 2, level * 32767, np.int16).tobytes())


def test_a_published_data_set_gives_the_takes_of_its_video(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "one.mp4", n_face=24, n_empty=4)
    folder = published(tmp_path / "set", tmp_path / "videos" / "one.mp4")
    settings = PrepareSettings(size=128, standard=Standard(min_face=60, min_sharpness=5, min_s=0.4))
    (video,), (done,) = (
        list(prepare(source, tmp_path / name, settings))
        for source, name in ((tmp_path / "videos", "a"), (folder, "b"))
    )
    assert (done.video, done.n_takes) == ("one", 1) == ("one", video.n_takes)
    ours, theirs = (next(iter(read_takes(shards_in(tmp_path / name)[0]))) for name in ("b", "a"))
    assert ours.frames == theirs.frames
    assert np.array_equal(ours.landmarks, theirs.landmarks)


def test_a_published_data_sets_separated_voice_is_heard(tmp_path: Path) -> None:
    (tmp_path / "images" / "one").mkdir(parents=True)
    for name in ("audios", "vocals"):
        (tmp_path / name).mkdir()
        write_wav(tmp_path / name / "one.wav", 0.1)
    (source,) = find_sources(tmp_path)
    assert source.sound == tmp_path / "vocals" / "one.wav"
    with pytest.raises(InputError, match="no PNG pictures"):
        list(source.frames())
