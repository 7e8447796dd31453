import numpy as np
import pytest
import torch

from hallo_cli.analysis.speech_network import (
    FRAME_SAMPLES,
    LogMel,
    SpeechNet,
    SpeechNetConfig,
    normalised,
    recording_level,
    speech_activity,
)


@pytest.fixture(scope="module")
def network() -> SpeechNet:
    torch.manual_seed(0)
    return SpeechNet(SpeechNetConfig(width=24, features=16, phones=5)).eval()


def noise(n_frames: int) -> torch.Tensor:
    return torch.randn(1, n_frames * FRAME_SAMPLES, generator=torch.Generator().manual_seed(1)) * 0.1


@torch.no_grad()
def test_a_window_with_its_context_gives_the_features_of_the_whole(network: SpeechNet) -> None:
    sound, log_mel, context = noise(110), LogMel(), network.config.context_frames
    whole = network(log_mel(sound))
    part = network(log_mel(sound[:, 20 * FRAME_SAMPLES : 90 * FRAME_SAMPLES]))
    inner = slice(context, 70 - context)
    outer = slice(20 + context, 90 - context)
    torch.testing.assert_close(part.features[:, inner], whole.features[:, outer], atol=1e-4, rtol=0)
    torch.testing.assert_close(
        speech_activity(part.phone_logits, 2)[:, inner],
        speech_activity(whole.phone_logits, 2)[:, outer],
        atol=1e-4,
        rtol=0,
    )


@torch.no_grad()
def test_there_is_one_feature_vector_for_each_frame(network: SpeechNet) -> None:
    output = network(LogMel()(noise(7)))
    assert output.features.shape == (1, 7, 16)
    assert output.visemes.shape == (1, 7, 6)
    assert output.phone_logits.shape == (1, 7, 5)


@torch.no_grad()
def test_a_sound_moved_by_a_frame_moves_the_features_by_a_frame(network: SpeechNet) -> None:
    sound, log_mel = noise(90), LogMel()
    before = network(log_mel(sound[:, : 80 * FRAME_SAMPLES])).features
    after = network(log_mel(sound[:, FRAME_SAMPLES : 81 * FRAME_SAMPLES])).features
    torch.testing.assert_close(after[:, 30:48], before[:, 31:49], atol=1e-4, rtol=0)


def test_quiet_and_loud_recordings_are_made_alike() -> None:
    sound = noise(50).numpy()[0]
    loud, quiet = (normalised(sound * gain, recording_level(sound * gain)) for gain in (2.0, 0.2))
    np.testing.assert_allclose(loud, quiet, rtol=1e-4, atol=1e-7)


def test_room_noise_is_not_blown_up_to_speech() -> None:
    sound = noise(50).numpy()[0] * 1e-3  # RMS 1e-4
    assert np.sqrt(np.mean(normalised(sound, recording_level(sound)) ** 2)) < 0.01


def test_the_level_of_an_empty_recording_is_that_of_silence() -> None:
    assert recording_level(np.zeros(0, np.float32)) == recording_level(np.zeros(9999, np.float32)) > 0


def test_activity_is_high_in_speech_and_low_in_rest() -> None:
    logits = torch.zeros(1, 20, 3)
    logits[:, :10, 2] = 9  # rest
    logits[:, 10:, 0] = 9
    activity = speech_activity(logits, rest=2)[0]
    assert activity[:7].max() < 0.01
    assert activity[13:].min() > 0.99


def test_a_warp_factor_moves_a_tone_to_another_band() -> None:
    time = torch.arange(10 * FRAME_SAMPLES) / 16000
    tone = torch.sin(2 * torch.pi * 1500 * time)[None].expand(2, -1)
    plain, warped = LogMel(80, (1.0, 0.8))(tone, torch.tensor([0, 1]))
    assert plain.mean(1).argmax() < warped.mean(1).argmax()
