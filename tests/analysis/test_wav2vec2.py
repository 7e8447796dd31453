"""wav2vec2 features equal the published ones, in one pass and from any window of a recording."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hallo_cli.analysis import wav2vec2
from hallo_cli.analysis.loudness import Hushed, Waveform
from hallo_cli.analysis.speech import RecordingTrack, TrackOptions
from hallo_cli.analysis.wav2vec2 import Wav2Vec2Encoder
from hallo_cli.domain import Float
from hallo_cli.errors import WeightsError

DATA = Path(__file__).parent.parent / "data" / "preprocessing"
WEIGHTS, CONFIG = DATA / "w2v_tiny.safetensors", DATA / "w2v_tiny_config.json"


@pytest.fixture(scope="module")
def encoder() -> Wav2Vec2Encoder:
    return Wav2Vec2Encoder.load(WEIGHTS, CONFIG)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(DATA / "w2v_tiny.npz") as arrays:
        return dict(arrays)


def test_signal_is_normalised_then_padded_as_published(
    encoder: Wav2Vec2Encoder, golden: dict[str, np.ndarray]
) -> None:
    hearing = encoder.hear(Waveform(golden["wav"]), n_frames=64, fps=25.0)
    assert hearing.signal.n_samples == len(golden["padded"])
    assert np.abs(hearing.signal.read(0, len(golden["padded"])) - golden["padded"]).max() < 2e-6


def test_features_equal_the_published(encoder: Wav2Vec2Encoder, golden: dict[str, np.ndarray]) -> None:
    hearing = encoder.hear(Waveform(golden["wav"]), n_frames=64, fps=25.0)
    features = hearing.features(0, 64, margin=0)
    assert features.shape == golden["emb"].shape
    # Three layers of single precision on values of deviation 1; another order of sums moves them by 3e-5.
    assert np.abs(features - golden["emb"]).max() < 1e-4


def test_convolution_of_a_window_equals_that_of_one_pass(encoder: Wav2Vec2Encoder, speech: Float) -> None:
    hearing = encoder.hear(Waveform(speech), n_frames=240, fps=25.0)
    whole = encoder.convolved(hearing.signal.read(0, hearing.signal.n_samples), hearing.statistics)
    part = encoder.convolved(hearing.signal.read(*encoder.sample_range(100, 199)), hearing.statistics)
    assert part.shape[1] == 100
    assert (part - whole[:, 100:200]).abs().max() < 1e-5 * whole.abs().max()


def test_recording_of_up_to_ten_minutes_is_heard_at_once_whatever_part_is_asked_for(
    encoder: Wav2Vec2Encoder, speech: Float
) -> None:
    assert round(wav2vec2.WHOLE_S * 25) >= 10 * 60 * 25 + 32  # and what fills the last clip
    whole = encoder.hear(Waveform(speech), n_frames=240, fps=25.0).features(0, 240, margin=0)
    parts = encoder.hear(Waveform(speech), n_frames=240, fps=25.0)
    joined = np.concatenate([parts.features(a, a + 60, margin=0) for a in range(0, 240, 60)])
    assert np.array_equal(joined, whole)


@pytest.fixture
def three_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings of ten seconds are heard in windows of 80 frames."""
    monkeypatch.setattr(wav2vec2, "WHOLE_S", 4.0)


def windowed(encoder: Wav2Vec2Encoder, speech: Float) -> Float:
    return encoder.hear(Waveform(speech), n_frames=240, fps=25.0).features(0, 240, margin=50)


def test_longer_recording_is_heard_in_windows_that_differ_only_a_little(
    encoder: Wav2Vec2Encoder, speech: Float, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = windowed(encoder, speech)[80:160]
    monkeypatch.setattr(wav2vec2, "WHOLE_S", 4.0)
    apart = windowed(encoder, speech)[80:160]
    assert not np.array_equal(apart, whole)
    # The transformer's attention hears seven seconds instead of ten: for these random weights 7 %.
    assert np.sqrt(((apart - whole) ** 2).mean()) < 0.1 * whole.std()


@pytest.mark.usefixtures("three_windows")
def test_windows_do_not_depend_on_the_part_that_is_asked_for(encoder: Wav2Vec2Encoder, speech: Float) -> None:
    whole = windowed(encoder, speech)
    hearing = encoder.hear(Waveform(speech), n_frames=240, fps=25.0)
    for start, stop in ((0, 30), (70, 90), (200, 240), (10, 170)):
        assert np.array_equal(hearing.features(start, stop, margin=50), whole[start:stop])


@pytest.mark.usefixtures("three_windows")
def test_windows_overlap_by_what_the_positional_convolution_sees(
    encoder: Wav2Vec2Encoder, speech: Float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    hearing = encoder.hear(Waveform(speech), n_frames=240, fps=25.0)
    convolved = hearing.convolved
    monkeypatch.setattr(hearing, "convolved", lambda *frames: asked.append(frames) or convolved(*frames))
    hearing.features(80, 160, margin=0)
    assert encoder.reach == encoder._model.config.num_conv_pos_embeddings // 2
    assert asked == [(80 - encoder.reach, 160 + encoder.reach)]


def test_step_over_a_join_is_that_of_one_pass(
    encoder: Wav2Vec2Encoder, speech: Float, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = windowed(encoder, speech)
    monkeypatch.setattr(wav2vec2, "WHOLE_S", 2.4)
    joined = windowed(encoder, speech)
    steps, own_steps = np.diff(joined, axis=0), np.diff(whole, axis=0)
    excess = np.sqrt(((steps - own_steps)[[59, 119, 179]] ** 2).mean((1, 2)))
    # Frames differ by 0.84 from their neighbours; two seconds of margin leave a fifth of that at a join.
    assert excess.max() < 0.3 * np.median(np.sqrt((own_steps**2).mean((1, 2))))


def test_convolution_in_pieces_is_that_of_one_pass(
    encoder: Wav2Vec2Encoder, speech: Float, monkeypatch: pytest.MonkeyPatch
) -> None:
    hearing = encoder.hear(Waveform(speech), n_frames=240, fps=25.0)
    whole = hearing.convolved(0, 240)
    monkeypatch.setattr(wav2vec2, "PIECE_FRAMES", 37)
    # The same products, summed in another order.
    assert (hearing.convolved(0, 240) - whole).abs().max() < 1e-5 * whole.abs().max()


@pytest.mark.parametrize("n_samples", [1, 399, 400, 640, 1000])
@pytest.mark.parametrize("n_frames", [1, 16])
def test_shortest_sounds_have_features(encoder: Wav2Vec2Encoder, n_samples: int, n_frames: int) -> None:
    hearing = encoder.hear(Waveform(np.ones(n_samples, np.float32)), n_frames=n_frames, fps=25.0)
    features = hearing.features(0, n_frames, margin=0)
    assert features.shape == (n_frames, 3, 48)
    assert np.isfinite(features).all()


def test_silence_has_features(encoder: Wav2Vec2Encoder) -> None:
    hearing = encoder.hear(Waveform(np.zeros(16_000, np.float32)), n_frames=25, fps=25.0)
    assert np.isfinite(hearing.features(0, 25, margin=0)).all()


def test_other_frame_rates_stretch_over_the_same_time(encoder: Wav2Vec2Encoder, speech: Float) -> None:
    n = 160
    slow = encoder.hear(Waveform(speech[: n * 640]), n_frames=n, fps=25.0)
    fast = encoder.hear(Waveform(speech[: n * 640]), n_frames=2 * n, fps=50.0)
    assert fast.length.n_steps == slow.length.n_steps
    assert fast.features(0, 2 * n, margin=0).shape[0] == 2 * n


def test_published_names_are_understood(tmp_path: Path, golden: dict[str, np.ndarray]) -> None:
    old = {
        "wav2vec2."
        + name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in load_file(WEIGHTS).items()
    }
    save_file(old | {"lm_head.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    encoder = Wav2Vec2Encoder.load(tmp_path / "model.safetensors", CONFIG)
    features = encoder.hear(Waveform(golden["wav"]), n_frames=64, fps=25.0).features(0, 64, margin=0)
    assert np.abs(features - golden["emb"]).max() < 1e-4


def test_missing_extra_or_misshapen_weights_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    state = load_file(WEIGHTS)
    name = "encoder.layers.0.layer_norm.weight"
    for wrong in (
        {k: v for k, v in state.items() if k != name},
        state | {"surplus.weight": torch.zeros(1)},
        state | {name: torch.zeros(7)},
    ):
        save_file(wrong, file)
        with pytest.raises(WeightsError, match=r"does not fit its config\.json at (encoder|surplus)"):
            Wav2Vec2Encoder.load(file, CONFIG)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    weights, config = tmp_path / "w.safetensors", tmp_path / "c.json"
    shutil.copyfile(CONFIG, config)
    weights.write_bytes(WEIGHTS.read_bytes()[:1000])
    with pytest.raises(WeightsError):
        Wav2Vec2Encoder.load(weights, config)
    config.write_text("{broken")
    with pytest.raises(WeightsError):
        Wav2Vec2Encoder.load(WEIGHTS, config)
    config.write_text(json.dumps(json.loads(CONFIG.read_text()) | {"do_stable_layer_norm": True}))
    with pytest.raises(WeightsError, match="wav2vec2-base"):
        Wav2Vec2Encoder.load(WEIGHTS, config)


def noisy_pause(speech: Float, *, noise: float) -> Float:
    """Two sentences with a second between them, in which there is noise."""
    sound = speech.copy()
    pause = slice(round(2.99 * 16_000), round(3.99 * 16_000))
    sound[pause] = np.random.default_rng(0).standard_normal(16_000) * noise
    return sound


def features_in_pause(encoder: Wav2Vec2Encoder, sound: Float, *, guards_silence: bool) -> Float:
    """Features of the pause's middle: 0.35 s after the first sentence to 0.35 s before the second."""
    options = TrackOptions(240, clip_frames=16, guards_silence=guards_silence)
    track = RecordingTrack(Waveform(sound), encoder, options)
    return track.speech(round(3.34 * 25), round(3.64 * 25)).features


def test_guarded_pause_is_heard_as_silence(encoder: Wav2Vec2Encoder, speech: Float) -> None:
    silent = features_in_pause(encoder, noisy_pause(speech, noise=0), guards_silence=False)
    noisy = noisy_pause(speech, noise=0.002)
    unguarded, guarded = (features_in_pause(encoder, noisy, guards_silence=on) for on in (False, True))
    error = [float(np.sqrt(((found - silent) ** 2).mean())) for found in (unguarded, guarded)]
    assert error[1] < 0.25 * error[0]


def test_guard_leaves_speech_alone(encoder: Wav2Vec2Encoder, speech: Float) -> None:
    hushed, sound = Hushed(Waveform(speech)), Waveform(speech)
    spoken = slice(round(0.6 * 16_000), round(2.6 * 16_000))
    assert np.abs(hushed.read(0, len(speech)) - sound.read(0, len(speech)))[spoken].max() < 1e-3
    assert np.array_equal(hushed.read(-5, 3)[:5], np.zeros(5))


def test_without_the_guard_features_are_the_published(encoder: Wav2Vec2Encoder, speech: Float) -> None:
    track = RecordingTrack(Waveform(speech), encoder, TrackOptions(240, clip_frames=16, overlap_s=60))
    hearing = encoder.hear(Waveform(speech), n_frames=240, fps=25.0)
    assert np.array_equal(track.speech(0, 240).features[2:-2], hearing.features(0, 240, margin=0))


@pytest.mark.slow
def test_twelve_minutes_are_heard_in_two_windows(encoder: Wav2Vec2Encoder) -> None:
    n_frames = 12 * 60 * 25
    sound = np.random.default_rng(0).standard_normal(n_frames * 640).astype(np.float32)
    hearing = encoder.hear(Waveform(sound), n_frames=n_frames, fps=25.0)
    assert hearing.window_frames == n_frames // 2
    over_the_join = hearing.features(8990, 9010, margin=50)
    assert over_the_join.shape == (20, 3, 48)
    assert np.isfinite(over_the_join).all()
