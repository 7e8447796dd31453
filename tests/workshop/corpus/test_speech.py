from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hallo_cli.domain import Float
from hallo_cli.errors import InputError, OutputError
from hallo_cli.workshop.corpus import espeak_process
from hallo_cli.workshop.corpus.espeak import Prosody, phones_of, speak
from hallo_cli.workshop.corpus.espeak_process import EspeakCrashedError
from hallo_cli.workshop.corpus.manners import Manner, breath, spoken
from hallo_cli.workshop.corpus.phones import (
    PHONE_ID,
    PHONES,
    VISEMES,
    Segment,
    curve_length,
    phone_ids,
    viseme_curves,
)
from hallo_cli.workshop.corpus.sentences import ENGLISH, LANGUAGES, sentence
from hallo_cli.workshop.corpus.speech_shards import write_speech_shards
from hallo_cli.workshop.corpus.stress import dynamics, effort
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


def tone(levels_db: list[float]) -> np.ndarray:
    """Half a second of a tone of 800 Hz at each level."""
    gains = np.repeat(10 ** (np.array(levels_db) / 20), 8000)
    return (np.sin(np.arange(len(gains)) * 0.314) * gains).astype(np.float32)


def test_loud_syllable_opens_wider_than_a_soft_one() -> None:
    segments = [Segment(0.0, 1.0, "ah")]
    curves = viseme_curves(segments, 25, effort(tone([0, -18]), curve_length(25)))
    assert curves[6, OPEN] > 1.6 * curves[18, OPEN] > 0.2
    assert curves[6, OPEN] > 0.7


def test_effort_is_relative_to_the_loud_syllables() -> None:
    loud, soft = effort(tone([0, -10]), 200), effort(tone([-20, -30]), 200)
    np.testing.assert_allclose(loud, soft, atol=1e-3)


def test_sound_outside_the_speech_band_asks_for_little_effort() -> None:
    hiss = np.random.default_rng(0).normal(size=8000).astype(np.float32)
    high = np.fft.irfft(np.fft.rfft(hiss) * (np.fft.rfftfreq(8000, 1 / 16000) > 4500), 8000)
    both = effort(np.concatenate([tone([0]), high.astype(np.float32) * 0.7]), 200)
    assert both[120:180].max() < 0.6 * both[20:80].min()


def test_silence_has_the_least_effort() -> None:
    assert effort(np.zeros(16000, np.float32), 200).max() < 0.2


def test_closed_lips_stay_shut_however_loud() -> None:
    segments = [Segment(0.0, 0.4, "aa"), Segment(0.4, 0.5, "m"), Segment(0.5, 1.0, "aa")]
    curves = viseme_curves(segments, 25, np.full(curve_length(25), 1.2, np.float32))
    assert curves[11, CLOSE] > 0.9
    assert curves[11, OPEN] < 0.1
    assert curves.max() <= 1


def test_dynamics_make_some_words_softer() -> None:
    gains = np.concatenate([dynamics(48000, np.random.default_rng(seed)) for seed in range(20)])
    spread_db = np.percentile(20 * np.log10(gains), [5, 95])
    assert np.diff(spread_db) > 10
    assert np.isfinite(gains).all()


@pytest.mark.parametrize(
    ("letters", "phones"),
    [
        ("ˈaʊ", ("aw",)),
        ("tɕh", ("ch", "hh")),
        ("iɛ", ("iy", "eh")),
        ("ɐ", ("ax",)),
        ("ˈɐ", ("ah",)),
        ("œ̃", ("er",)),
        ("sʲ", ("s",)),
        ("ʔ", ()),
        ("", ()),
    ],
)
def test_phonetic_letters_become_phones(letters: str, phones: tuple[str, ...]) -> None:
    assert phones_of(letters) == phones


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_is_spoken_without_gaps(language: str) -> None:
    text = sentence(np.random.default_rng(0), language, n_words=6)
    _, _, segments = speak(text, voice=language, prosody=Prosody())
    durations = {
        rest: sum(s.end_s - s.start_s for s in segments if (s.phone == "pau") == rest)
        for rest in (True, False)
    }
    assert durations[False] > 0.8
    assert durations[True] < 0.2 * durations[False]  # an unknown letter would be a gap


def test_whisper_has_no_pitch_and_keeps_its_pauses() -> None:
    pulses = np.zeros(16000, np.float32)
    pulses[:8000:100] = 1  # 160 Hz
    whispered = spoken(pulses, Manner("whisper", 1.0, 1.0), np.random.default_rng(0))
    assert len(whispered) == 16000
    assert periodicity(whispered[1000:7000]) < 0.3 < 0.9 < periodicity(pulses[1000:7000])
    assert np.abs(whispered[9000:]).max() < 0.02


def periodicity(sound: np.ndarray) -> float:
    return float(np.corrcoef(sound[:-100], sound[100:])[0, 1])


def test_song_wavers_in_pitch_and_keeps_its_length() -> None:
    sung = spoken(tone([0, 0]), Manner("song", 1.0, 0.5), np.random.default_rng(0))
    assert sung.shape == (16000,)
    crossings = np.flatnonzero(np.diff(np.signbit(sung)))
    assert np.ptp(np.convolve(np.diff(crossings), np.ones(12) / 12, "valid")) > 0.05


def test_breath_is_bounded() -> None:
    sound = breath(np.random.default_rng(0))
    assert 2000 < len(sound) < 10_000
    assert 0.9 < np.abs(sound).max() <= 1


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


def test_crash_of_espeak_ends_one_sentence_alone() -> None:
    wanted = speak("mama", voice="en-us", prosody=Prosody())
    assert np.array_equal(espeak_process.speak("mama", voice="en-us", prosody=Prosody())[0], wanted[0])
    espeak_process._process().kill()
    with pytest.raises(EspeakCrashedError, match="while 'en-us' said 'papa'"):
        espeak_process.speak("papa", voice="en-us", prosody=Prosody())
    assert espeak_process.speak("mama", voice="en-us", prosody=Prosody())[2] == wanted[2]
    with pytest.raises(InputError, match="no voice 'nobody'"):
        espeak_process.speak("mama", voice="nobody", prosody=Prosody())


def test_another_sentence_is_spoken_where_espeak_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []

    def crashing(text: str, *, voice: str, prosody: Prosody) -> tuple[Float, int, list[Segment]]:
        texts.append(text)
        if len(texts) == 1:
            raise EspeakCrashedError("espeak-ng crashed")
        return speak(text, voice=voice, prosody=prosody)

    monkeypatch.setattr(espeak_process, "speak", crashing)
    assert utter(np.random.default_rng(4), n_phrases=1).n_frames > 10
    assert len(set(texts)) == 2

    def always(text: str, **options: object) -> None:
        raise EspeakCrashedError("espeak-ng crashed")

    monkeypatch.setattr(espeak_process, "speak", always)
    with pytest.raises(InputError, match="and with 4 sentences before"):
        utter(np.random.default_rng(4), n_phrases=1)


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
    assert len(sentence(np.random.default_rng(0), ENGLISH, n_words=7).split()) == 7


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
