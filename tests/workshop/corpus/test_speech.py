from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hallo_cli.errors import InputError, OutputError
from hallo_cli.workshop.corpus.espeak import Prosody, speak
from hallo_cli.workshop.corpus.phones import PHONE_ID, PHONES, VISEMES, Segment, phone_ids, viseme_curves
from hallo_cli.workshop.corpus.sentences import sentence
from hallo_cli.workshop.corpus.speech_shards import write_speech_shards
from hallo_cli.workshop.corpus.utterances import silence, utter

CLOSE, OPEN, ROUND = VISEMES.index("close"), VISEMES.index("open"), VISEMES.index("round")


def loudness(waveform: np.ndarray) -> np.ndarray:
    frames = waveform.reshape(-1, 640)
    return np.log(np.sqrt((frames**2).mean(axis=1)) + 1e-3)


def test_mouth_is_at_rest_without_phones() -> None:
    assert np.abs(viseme_curves([], 20)).max() == 0


def test_short_closure_between_vowels_still_shuts_the_mouth() -> None:
    segments = [Segment(0.1, 0.5, "aa"), Segment(0.5, 0.57, "m"), Segment(0.57, 1.0, "aa")]
    curves = viseme_curves(segments, 30)
    at = int(0.535 * 25)
    assert curves[at, CLOSE] > 0.85
    assert curves[at, OPEN] < 0.1
    assert curves[8, OPEN] > 0.9


def test_shape_spreads_into_its_neighbours_smoothly() -> None:
    curves = viseme_curves([Segment(0.4, 0.8, "uw")], 30)
    assert 0 < curves[9, ROUND] < 0.5
    assert np.abs(np.diff(curves[:, ROUND])).max() < 0.6


def test_frames_name_the_phone_at_their_middle() -> None:
    ids = phone_ids([Segment(0.04, 0.08, "s")], 3)
    assert [PHONES[i] for i in ids] == ["pau", "s", "pau"]


def test_espeak_times_every_phone() -> None:
    samples, rate, segments = speak("mama", voice="en-us", prosody=Prosody())
    spoken = [segment.phone for segment in segments if segment.phone != "pau"]
    assert spoken.count("m") == 2
    assert segments[-1].end_s == pytest.approx(len(samples) / rate)
    assert all(a.end_s <= b.start_s + 1e-6 for a, b in pairwise(segments))


def test_utterance_is_loud_where_the_mouth_opens() -> None:
    utterances = [utter(np.random.default_rng(seed)) for seed in range(3)]
    correlations = [np.corrcoef(loudness(u.waveform), u.visemes[:, OPEN])[0, 1] for u in utterances]
    assert np.mean(correlations) > 0.35  # noise and music lower it; 0.6 without


def test_same_seed_gives_the_same_utterance() -> None:
    first, second = (utter(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.waveform, second.waveform)
    assert first.segments == second.segments


def test_silence_asks_for_no_mouth_movement() -> None:
    quiet = silence(np.random.default_rng(1), duration_s=2)
    assert quiet.n_frames == 50
    assert quiet.visemes.max() == 0
    assert set(quiet.phones) == {PHONE_ID["pau"]}


def test_held_out_voices_are_never_in_the_corpus() -> None:
    used = {utter(np.random.default_rng(seed), n_phrases=1).voice.split("+")[-1] for seed in range(8)}
    held_out = {
        utter(np.random.default_rng(seed), held_out=True, n_phrases=1).voice.split("+")[-1]
        for seed in range(8)
    }
    assert not used & held_out


def test_sentences_have_the_asked_number_of_words() -> None:
    assert len(sentence(np.random.default_rng(0), n_words=7).split()) == 7


def test_speech_shard_is_whole_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hallo_cli.workshop.corpus.speech_shards.UTTERANCES_PER_SHARD", 3)
    (path, duration_s), *rest = write_speech_shards(tmp_path, n_shards=1, seed=3, workers=1)
    shard = np.load(path)
    assert not rest
    assert len(shard["waveform"]) == 640 * shard["frame_offsets"][-1] == round(duration_s * 16_000)
    assert len(shard["visemes"]) == len(shard["phones"]) == shard["frame_offsets"][-1]
    assert len(shard["segment_phones"]) == shard["segment_offsets"][-1]
    assert list(write_speech_shards(tmp_path, n_shards=1, seed=3, workers=1)) == []
    with pytest.raises(InputError, match="made with seed 3, now it is 4"):
        list(write_speech_shards(tmp_path, n_shards=2, seed=4, workers=1))


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "afile").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        list(write_speech_shards(tmp_path / "afile", n_shards=1, seed=3, workers=1))
