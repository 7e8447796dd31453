"""The moving average of the weights: its sums, and its use for a while."""

import pytest
import torch
from torch import nn

from hallo_cli.training.optimizer import MovingAverage


def test_average_is_updated_as_written_and_in_use_only_inside() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    average = MovingAverage({"w": weight}, 0.6)
    expected = weight.detach().clone()
    for step in (1, 2, 3):
        with torch.no_grad():
            weight.mul_(3.0)
        average.update(step)
        expected = torch.lerp(expected, weight.detach(), 1 - min(0.6, step / (step + 1)))
    trained = weight.detach().clone()
    with average.in_use():
        assert torch.equal(weight, expected)
    assert torch.equal(weight, trained)
    assert torch.equal(average.values["w"], expected)


def test_trained_weights_come_back_after_an_error() -> None:
    weight = nn.Parameter(torch.zeros(2))
    average = MovingAverage({"w": weight}, 0.5)
    with torch.no_grad():
        weight.fill_(1.0)
    with pytest.raises(RuntimeError, match="full"), average.in_use():
        raise RuntimeError("full")
    assert torch.equal(weight, torch.ones(2))
