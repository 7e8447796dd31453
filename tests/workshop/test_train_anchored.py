"""The anchored autoencoder learns from windows with exact motion."""

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_bundles import tiny_config

from hallo_cli.errors import InputError
from hallo_cli.models.autoencoder import AnchoredAutoencoder, build_autoencoder
from hallo_cli.training.takes import Take, write_takes
from hallo_cli.workshop.corpus.make_takes import TakeSpec, make_take
from hallo_cli.workshop.motion_windows import (
    FOCUS,
    SIDE,
    read_motion_takes,
    whole,
    window_batches,
)
from hallo_cli.workshop.train_anchored import AnchoredReport, AnchoredTraining, _Run, train_anchored


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> list[Take]:
    folder = tmp_path_factory.mktemp("takes")
    made = (make_take(TakeSpec(3, index, n_frames=4)) for index in range(2))
    write_takes(folder / "take-000000.tar", (take for take in made if take is not None))
    return read_motion_takes(folder)


def small() -> AnchoredAutoencoder:
    torch.manual_seed(0)
    vae = build_autoencoder(tiny_config(image_size=256))
    assert isinstance(vae, AnchoredAutoencoder)
    return vae


@pytest.fixture
def three_steps(monkeypatch: pytest.MonkeyPatch) -> AnchoredTraining:
    """A run of three steps: a clock that goes a second each time it is read, which a step does twice."""
    clock = SimpleNamespace(monotonic=itertools.count().__next__)
    monkeypatch.setattr("hallo_cli.workshop.train_anchored.time", clock)
    return AnchoredTraining(minutes=0.1, batch_size=4, threads=1, held_out=1)


def test_windows_show_portrait_frame_and_motion_at_one_place(takes: list[Take]) -> None:
    windows = next(window_batches(takes, np.random.default_rng(0), batch_size=8))
    assert windows.portrait.shape == windows.frame.shape == (8, 3, SIDE, SIDE)
    assert windows.flow.shape == (8, 2, SIDE // 4, SIDE // 4)
    assert windows.seen.shape == windows.inner.shape == (8, 1, SIDE // 4, SIDE // 4)
    assert windows.weight.min() >= 1
    assert (windows.focus >= 0).all()
    assert (windows.focus <= SIDE - FOCUS).all()


def test_whole_pictures_come_with_their_truth(takes: list[Take]) -> None:
    portrait, frame, truth = whole(takes[0], 1)
    assert portrait.shape == frame.shape == (1, 3, 512, 512)
    assert truth.maps().shape == (1, 5, 128, 128)


def test_steps_on_the_same_windows_lower_their_losses(takes: list[Take]) -> None:
    run = _Run(small(), AnchoredTraining(learning_rate=3e-3, threads=1, unknown_share=0))
    windows = next(window_batches(takes, np.random.default_rng(0), batch_size=4))
    for _ in range(12):
        run.learn(windows)
    first, last = run.losses[0], run.losses[-1]
    assert last["flow"] < 0.8 * first["flow"]
    assert last["mask"] < first["mask"]


def test_result_is_reported_and_its_latents_are_normalised(
    takes: list[Take], three_steps: AnchoredTraining
) -> None:
    reports: list[AnchoredReport] = []
    result = train_anchored(small(), takes, three_steps, on_report=lambda report, _: reports.append(report))
    assert reports[-1].step == 3
    assert np.isfinite([reports[-1].psnr_db, reports[-1].still_db, *reports[-1].losses.values()]).all()
    assert not torch.equal(result.latent_std, torch.ones_like(result.latent_std))


def test_decoder_alone_leaves_the_latents_as_they_are(
    takes: list[Take], three_steps: AnchoredTraining
) -> None:
    vae = small()
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    training = replace(three_steps, decoder_only=True)
    after = train_anchored(vae, takes, training, on_report=lambda *_: None).state_dict()
    changed = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"decoder"}


def test_folder_without_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_motion_takes(tmp_path)
