"""Any stretch of a recording gives the features of the whole, whatever the recording is like."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.io import wavfile

from hallo_cli.analysis.embedded_speech import EmbeddedEncoder
from hallo_cli.analysis.head_motion import blinks
from hallo_cli.analysis.loudness import Waveform
from hallo_cli.analysis.speech import CONTEXT, RecordingTrack, TrackOptions, whole
from hallo_cli.analysis.speech_network import CLOSE, OPEN, SpeechNet, SpeechNetConfig
from hallo_cli.domain import CONTROLS, Float
from hallo_cli.errors import WeightsError
from hallo_cli.media.audio import decode

WIDTH = 16


@pytest.fixture(scope="module")
def encoder() -> EmbeddedEncoder:
    torch.manual_seed(0)
    return EmbeddedEncoder(SpeechNet(SpeechNetConfig(width=24, features=WIDTH)).requires_grad_(False))


def track(sound: Float, encoder: EmbeddedEncoder, **options: float) -> RecordingTrack:
    n_frames = max(1, -(-len(sound) // 640))
    return RecordingTrack(Waveform(sound), encoder, TrackOptions(n_frames, clip_frames=12, **options))


def test_windows_equal_one_pass(encoder: EmbeddedEncoder, speech: Float) -> None:
    n_frames = len(speech) // 640
    at_once = whole(encoder, speech, n_frames)
    hearing = encoder.hear(Waveform(speech), n_frames=n_frames, fps=25.0)
    windows = [hearing.features(a, min(a + 60, n_frames), margin=50) for a in range(0, n_frames, 60)]
    # SpeechNet looks at a bounded stretch; what is left is the order of single-precision sums.
    assert np.abs(np.concatenate(windows) - at_once).max() < 1e-4


def test_speech_has_its_neighbours_and_repeats_the_ends(encoder: EmbeddedEncoder, speech: Float) -> None:
    heard = track(speech, encoder)
    n_frames = -(-len(speech) // 640)
    n_padded = -(-n_frames // 12) * 12
    all_of_it = heard.speech(0, n_padded)
    assert all_of_it.features.shape == (n_padded + 2 * CONTEXT, 1, WIDTH + 1 + len(CONTROLS))
    assert np.array_equal(all_of_it.features[0], all_of_it.features[CONTEXT])
    assert np.array_equal(all_of_it.features[-1], all_of_it.features[-1 - CONTEXT])
    middle = heard.speech(24, 48)
    assert (middle.first_frame, middle.n_frames) == (24, 24)
    assert np.abs(middle.features - all_of_it.features[24 : 48 + 2 * CONTEXT]).max() < 1e-4


def test_loudness_of_the_recording_does_not_matter(encoder: EmbeddedEncoder, speech: Float) -> None:
    quiet = whole(encoder, speech * np.float32(0.1), 200)
    loud = whole(encoder, speech * np.float32(5), 200)
    assert np.abs(quiet - loud).max() < 1e-3


def test_activity_and_controls_follow_the_features(encoder: EmbeddedEncoder, speech: Float) -> None:
    features = track(speech, encoder, seed=3).speech(0, 276).features[CONTEXT:-CONTEXT, 0]
    silent = features[round(3.35 * 25) : round(3.75 * 25), WIDTH]
    assert silent.max() < 0.1
    assert features[:, WIDTH].max() <= 1
    assert np.allclose(features[:, WIDTH + 1], blinks(3, 288, 25.0)[:276])
    assert np.abs(features[:, WIDTH + 2 :]).max(axis=0).min() > 0.1  # all of the head lives


def test_other_frame_rates_hear_the_same_moments(encoder: EmbeddedEncoder, speech: Float) -> None:
    slow = whole(encoder, speech, 200)[:, 0, :WIDTH]
    hearing = encoder.hear(Waveform(speech), n_frames=600, fps=75.0)
    fast = hearing.features(0, 600, margin=0)[:, 0, :WIDTH]
    # At three times the rate every third frame, from the second on, has the same centre.
    assert np.abs(fast[1::3] - slow).max() < 1e-4


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(1, np.float32),
        np.zeros(640, np.float32),
        np.zeros(160_000, np.float32),
        np.ones(16_000, np.float32),
        np.sign(np.sin(np.arange(32_000) / 20)).astype(np.float32),
        np.full(16_000, 1e6, np.float32),
    ],
    ids=["one sample", "40 ms", "silence", "constant", "clipped", "huge"],
)
def test_every_sound_has_finite_features(encoder: EmbeddedEncoder, sound: Float) -> None:
    heard = track(sound, encoder)
    assert np.isfinite(heard.speech(0, 12).features).all()
    assert all(0 <= start < stop for start, stop in heard.pauses())


def test_leading_and_trailing_silence_are_quiet(encoder: EmbeddedEncoder, speech: Float) -> None:
    second = np.zeros(32_000, np.float32)
    features = whole(encoder, np.concatenate([second, speech[:48_000], second]), 175)
    activity = features[:, 0, WIDTH]
    assert activity[:40].max() == activity[-40:].max() == 0


def test_pauses_are_whole_frames_inside_the_recording(encoder: EmbeddedEncoder, speech: Float) -> None:
    found = track(speech, encoder).pauses()
    assert any(start <= 80 and stop >= 95 for start, stop in found)
    assert all(0 <= start < stop <= -(-len(speech) // 640) for start, stop in found)


def test_recording_on_disk_gives_the_same_as_in_memory(
    encoder: EmbeddedEncoder, speech: Float, tmp_path: Path
) -> None:
    wavfile.write(tmp_path / "a.wav", 16_000, speech)
    recording = decode(tmp_path / "a.wav", tmp_path / "a.f32")
    options = TrackOptions(240, clip_frames=12)
    on_disk = RecordingTrack(recording, encoder, options).speech(120, 180)
    in_memory = RecordingTrack(Waveform(speech), encoder, options).speech(120, 180)
    assert np.array_equal(on_disk.features, in_memory.features)


def test_weights_are_loaded_strictly(tmp_path: Path) -> None:
    net = SpeechNet(SpeechNetConfig(width=24, features=WIDTH, dilations=(1, 2)))
    save_file(net.state_dict(), tmp_path / "s.safetensors")
    config = {"width": 24, "features": WIDTH, "dilations": [1, 2]}
    assert EmbeddedEncoder.load(tmp_path / "s.safetensors", config).width == WIDTH + 1 + len(CONTROLS)
    with pytest.raises(WeightsError):
        EmbeddedEncoder.load(tmp_path / "s.safetensors", config | {"width": 32})
    with pytest.raises(WeightsError, match="configuration is wrong"):
        EmbeddedEncoder.load(tmp_path / "s.safetensors", config | {"surplus": 1})


def test_blinks_are_regular_short_and_the_same_for_a_seed() -> None:
    shut = blinks(7, 25 * 120, 25.0)
    assert np.array_equal(shut, blinks(7, 25 * 120, 25.0))
    assert not np.array_equal(shut, blinks(8, 25 * 120, 25.0))
    starts = np.flatnonzero((shut[1:] > 0.02) & (shut[:-1] <= 0.02))
    assert 20 <= len(starts) <= 60  # people blink 10 to 30 times a minute
    assert np.diff(starts).min() >= 25
    assert shut.max() > 0.9
    assert (shut > 0.02).mean() < 0.12


def test_video_neither_begins_nor_ends_in_a_blink() -> None:
    for seed in range(50):
        shut = blinks(seed, 100, 25.0)
        assert shut[:14].max() == shut[-14:].max() == 0


def test_longer_videos_begin_with_the_same_blinks() -> None:
    assert np.array_equal(blinks(1, 2000, 25.0)[:400], blinks(1, 1000, 25.0)[:400])


def pieces(sound: Float, encoder: EmbeddedEncoder, n_frames: int, *, piece_s: float | None) -> RecordingTrack:
    return RecordingTrack(Waveform(sound), encoder, TrackOptions(n_frames, clip_frames=16, piece_s=piece_s))


def test_each_piece_is_heard_as_if_it_were_all(encoder: EmbeddedEncoder, speech: Float) -> None:
    sound = speech[: 130 * 640].copy()
    sound[: 50 * 640] *= 0.1  # so that each piece's own loudness shows
    cut = pieces(sound, encoder, 130, piece_s=2.0).speech(0, 144).features[CONTEXT:-CONTEXT]
    alone = [whole(encoder, sound[a * 640 : b * 640], b - a) for a, b in ((0, 50), (50, 100))]
    last = encoder.hear(Waveform(sound[100 * 640 :]), n_frames=44, fps=25.0).features(0, 44, margin=0)
    # The same sums in another order.
    assert np.abs(cut - np.concatenate([*alone, last])).max() < 1e-4
    together = pieces(sound, encoder, 130, piece_s=None).speech(0, 144).features[CONTEXT:-CONTEXT]
    assert np.abs(cut - together)[:50].max() > 0.01


def test_pieces_do_not_depend_on_the_part_that_is_asked_for(encoder: EmbeddedEncoder, speech: Float) -> None:
    sound = speech[: 130 * 640]
    at_once = pieces(sound, encoder, 130, piece_s=2.0).speech(0, 144).features
    track = pieces(sound, encoder, 130, piece_s=2.0)
    for start, stop in ((16, 48), (40, 120), (112, 144)):
        heard = track.speech(start, stop).features
        assert np.array_equal(heard, at_once[start : stop + 2 * CONTEXT])


def test_what_fills_the_last_clip_makes_no_piece_of_its_own(encoder: EmbeddedEncoder, speech: Float) -> None:
    filled = pieces(speech[: 45 * 640], encoder, 45, piece_s=1.8).speech(0, 48).features
    plain = pieces(speech[: 45 * 640], encoder, 45, piece_s=None).speech(0, 48).features
    assert np.array_equal(filled, plain)


def opened(net: SpeechNet, features: Float) -> Float:
    return net.to_visemes(torch.from_numpy(features))[:, OPEN].detach().numpy()


@pytest.fixture
def net() -> SpeechNet:
    torch.manual_seed(0)
    net = SpeechNet(SpeechNetConfig(width=24, features=WIDTH, dilations=(1, 2))).requires_grad_(False)
    net.measure_opening(torch.randn(500, WIDTH))
    return net


def test_louder_speech_opens_the_mouth_wider(net: SpeechNet) -> None:
    base = torch.randn(200, WIDTH)
    base = base[net.to_visemes(base)[:, OPEN] > 0.2]
    base = base[net.to_visemes(base)[:, CLOSE] < 0.1].numpy()
    encoder, spoken = EmbeddedEncoder(net), np.ones(len(base), np.float32)
    soft, loud = (encoder.following(base, spoken, np.full(len(base), level)) for level in (0.2, 1.1))
    assert (opened(net, loud) > opened(net, soft) + 0.05).all()
    others = [index for index in range(6) if index != OPEN]
    before, after = (net.to_visemes(torch.from_numpy(part))[:, others] for part in (base, loud))
    torch.testing.assert_close(before, after, atol=1e-4, rtol=0)  # other visemes stay


def test_loudness_does_not_open_lips_that_are_heard_to_shut(net: SpeechNet) -> None:
    base = torch.randn(400, WIDTH)
    visemes = net.to_visemes(base)
    base = base[(visemes[:, CLOSE] > 0.7) & (visemes[:, OPEN] > 0.1)].numpy()
    assert len(base)
    followed = EmbeddedEncoder(net).following(base, np.ones(len(base)), np.ones(len(base)))
    assert (opened(net, followed) < opened(net, base) + 1e-4).all()


def test_networks_train_on_features_as_heard(net: SpeechNet, speech: Float) -> None:
    encoder = EmbeddedEncoder(net)
    n_frames = len(speech) // 640
    trained = whole(encoder, speech, n_frames)
    rendered = encoder.hear(Waveform(speech), n_frames=n_frames, fps=25).features(0, n_frames, margin=0)
    net.opening.zero_()
    plain = encoder.hear(Waveform(speech), n_frames=n_frames, fps=25).features(0, n_frames, margin=0)
    np.testing.assert_array_equal(trained, plain)
    assert np.abs(rendered - trained).max() > 0.1


def test_weights_without_an_opening_are_heard_as_they_are(tmp_path: Path, net: SpeechNet) -> None:
    stored = {name: value for name, value in net.state_dict().items() if name != "opening"}
    save_file(stored, tmp_path / "old.safetensors")
    encoder = EmbeddedEncoder.load(
        tmp_path / "old.safetensors", {"width": 24, "features": WIDTH, "dilations": [1, 2]}
    )
    features = np.random.default_rng(0).normal(size=(5, WIDTH)).astype(np.float32)
    assert encoder.following(features, np.ones(5), np.ones(5)) is features
