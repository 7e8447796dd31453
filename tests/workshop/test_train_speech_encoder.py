from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hallo_cli.analysis.speech_network import SpeechNet, SpeechNetConfig
from hallo_cli.errors import InputError, WeightsError
from hallo_cli.workshop.train_speech_encoder import (
    SpeechReport,
    SpeechTraining,
    disturbed,
    heard_features,
    read_corpus,
    start_from,
    train_speech_encoder,
)

N_FRAMES = 60


def write_shard(folder: Path) -> None:
    """Tones stand for an open mouth, silence for rest."""
    rng = np.random.default_rng(0)
    visemes = np.zeros((8 * N_FRAMES, 6), np.float16)
    spoken = (np.arange(8 * N_FRAMES) // 10) % 2 == 0
    visemes[spoken, 0] = 1
    tone = np.sin(np.arange(8 * N_FRAMES * 640) * 0.3) * np.repeat(spoken, 640)
    waveform = tone * 8000 + rng.normal(size=len(tone)) * 20
    np.savez(
        folder / "speech-000000.npz",
        waveform=waveform.astype(np.int16),
        visemes=visemes,
        phones=np.where(spoken, 0, 1).astype(np.uint8),
        frame_offsets=np.arange(9) * N_FRAMES,
        phone_names=np.array(["aa", "pau"]),
    )


def test_training_learns_what_the_sound_says(tmp_path: Path) -> None:
    write_shard(tmp_path)
    reports: list[SpeechReport] = []
    training = SpeechTraining(steps=30, batch_size=4, chunk_frames=30, held_out_utterances=2)
    network = train_speech_encoder(
        read_corpus(tmp_path), training, on_report=lambda report, _: reports.append(report), report_every=15
    )
    assert [report.step for report in reports] == [15, 30]
    assert reports[-1].phone_accuracy > 0.8
    assert reports[-1].viseme_correlations[0] > 0.5
    assert network.config.rest == 1
    assert network.opening.norm() > 0


def test_features_stay_close_to_those_of_given_weights(tmp_path: Path) -> None:
    write_shard(tmp_path)
    corpus = read_corpus(tmp_path)
    training = SpeechTraining(
        steps=12, batch_size=4, chunk_frames=30, held_out_utterances=2, likeness_weight=5, seed=3
    )
    start = train_speech_encoder(corpus, training, on_report=lambda *_: None)
    save_file(start.state_dict(), tmp_path / "start.safetensors")
    free, like = (
        train_speech_encoder(
            corpus, training, on_report=lambda *_: None, init=tmp_path / "start.safetensors", like=like
        )
        for like in (None, tmp_path / "start.safetensors")
    )
    known = heard_features(start, corpus, range(8))
    far, near = ((heard_features(net, corpus, range(8)) - known).square().mean() for net in (free, like))
    assert near < 0.7 * far


def test_the_same_seed_gives_the_same_network(tmp_path: Path) -> None:
    write_shard(tmp_path)
    training = SpeechTraining(steps=2, batch_size=2, chunk_frames=20, held_out_utterances=2)
    first, second = (
        train_speech_encoder(read_corpus(tmp_path), training, on_report=lambda *_: None) for _ in range(2)
    )
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)


def test_a_corpus_that_leaves_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path)
    with pytest.raises(InputError, match="holds 8 utterances; 8 are held back"):
        train_speech_encoder(
            read_corpus(tmp_path), SpeechTraining(held_out_utterances=8), on_report=lambda *_: None
        )


def test_a_longer_network_starts_as_the_shorter_one_was(tmp_path: Path) -> None:
    short = SpeechNet(SpeechNetConfig(width=16, features=8, dilations=(1, 2))).eval()
    save_file(short.state_dict(), tmp_path / "short.safetensors")
    longer = SpeechNet(SpeechNetConfig(width=16, features=8, dilations=(1, 2, 4, 8))).eval()
    start_from(longer, tmp_path / "short.safetensors")
    mel = torch.randn(1, 80, 80)
    torch.testing.assert_close(longer(mel).visemes, short(mel).visemes)
    longer(mel).visemes.sum().backward()
    assert longer.context[3].norm.weight.grad.abs().max() > 0  # and learns from there


def test_weights_of_another_network_are_no_start(tmp_path: Path) -> None:
    save_file(SpeechNet(SpeechNetConfig(width=8, features=8)).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="does not fit"):
        start_from(SpeechNet(SpeechNetConfig(width=16, features=8)), tmp_path / "other.safetensors")


def test_disturbed_sound_is_finite_even_where_there_was_none() -> None:
    sound = disturbed(torch.zeros(6, 16000), np.random.default_rng(0))
    assert sound.shape == (6, 16000)
    assert sound.isfinite().all()


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no speech-\*\.npz"):
        read_corpus(tmp_path)
