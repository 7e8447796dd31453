"""A render brings everything to its device, in its number format; torch's device without data stands in."""

import pytest
import torch
from small_bundles import random_networks
from small_jobs import make_portrait, make_speech
from small_networks import official_like
from torch import Tensor

from hallo_cli.domain import Clip
from hallo_cli.inference import speed
from hallo_cli.inference.animator import Animator
from hallo_cli.models import compat
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

WITHOUT_DATA = torch.device("meta")
CONFIG = official_like(motion_thinning=0.25, layers_per_block=1, clip_frames=2)


@pytest.fixture
def device_without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    on_host = Tensor.cpu

    def zeros(self: Tensor) -> Tensor:
        return torch.zeros(self.shape, dtype=self.dtype) if self.is_meta else on_host(self)

    monkeypatch.setattr(speed, "resolve_device", lambda name: WITHOUT_DATA)
    monkeypatch.setattr(Tensor, "cpu", zeros)


@pytest.mark.slow
@pytest.mark.usefixtures("device_without_data")
def test_clips_are_rendered_on_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "normalises_twice", lambda *_: True)  # it looks at values
    networks = random_networks(CONFIG)
    for module in (*networks.by_prefix().values(), networks.vae):
        module.to(torch.bfloat16)
    animator = Animator(networks, RuntimeSettings())
    job = animator.prepare(make_portrait(CONFIG), RenderSettings(steps=1, guidance=3.5, solver="ddim"))
    events = animator.clips(job, make_speech(CONFIG, 4))
    assert [len(event.frames) for event in events if isinstance(event, Clip)] == [2, 2]
