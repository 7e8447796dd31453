"""The losses of a batch, with stand-ins for the networks."""

from pathlib import Path

import pytest
import torch
from training.toy import NETWORK, write_takes

from hallo_cli.training.config import DataSettings, ObjectiveSettings
from hallo_cli.training.dataset import Batch, BatchSource, split_takes
from hallo_cli.training.encoded import EncodedFolder
from hallo_cli.training.forward import Conditions
from hallo_cli.training.losses import LossFunction

ESTIMATE = 0.25
SETTINGS = ObjectiveSettings(timesteps="few_step", last_share=0, weighting="x0", own_share=1)


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    takes, _ = split_takes(EncodedFolder(write_takes(tmp_path / "shards")), 2)
    data = DataSettings(tmp_path / "shards", takes=2, frames=3)
    return BatchSource(takes, data, network=NETWORK, stage="stage1", seed=0).batch(0)


def test_later_steps_learn_from_the_networks_first_estimate(batch: Batch) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor, bool]] = []

    def predict(noisy: torch.Tensor, timesteps: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        seen.append((noisy.detach(), timesteps, torch.is_grad_enabled()))
        return torch.full_like(noisy, -ESTIMATE)

    losses = LossFunction(SETTINGS, NETWORK, "stage1")
    losses(predict, batch, torch.Generator().manual_seed(0))
    (pure, first, has_first_gradients), (noisy, then, has_gradients) = seen
    assert (first == 999).all()
    assert (then < 999).all()
    assert not has_first_gradients
    assert has_gradients
    alphas = losses.schedule[then][:, None, None, None]
    torch.testing.assert_close(noisy, alphas.sqrt() * ESTIMATE + (1 - alphas).sqrt() * pure)
