"""Training's conditions are rendering's."""

import numpy as np
import torch
from small_bundles import random_networks
from training.toy import NETWORK, write_takes

from hallo_cli.domain import CropBox, Portrait, RegionMasks
from hallo_cli.inference.animator import Animator
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings
from hallo_cli.training.config import DataSettings
from hallo_cli.training.dataset import BatchSource
from hallo_cli.training.encoded_shards import read_encoded
from hallo_cli.training.forward import box_regions, make_conditions
from hallo_cli.training.objective import Drops

CONFIG = NETWORK
SETTINGS = RenderSettings(steps=1, guidance=1.0, solver="ddim")


def test_locator_looks_at_the_same_pictures_as_in_rendering(tmp_path):
    takes = read_encoded(write_takes(tmp_path / "encoded"), CONFIG)
    data = DataSettings(shards=tmp_path / "encoded", takes=2, frames=3, balance_visemes=False)
    batch = BatchSource(takes, data, network=CONFIG, stage="stage1", seed=0).batch(0)
    no = torch.zeros(2, dtype=torch.bool)
    conditions = make_conditions(batch, Drops(0, no, no, no), CONFIG, has_audio=True)
    assert conditions.located_rows.tolist() == [0, 0, 0, 1, 1, 1]

    networks = random_networks(CONFIG)
    animator = Animator(networks, RuntimeSettings(device="cpu"))
    features = networks.face_locator(conditions.located)[conditions.located_rows]
    trained = networks.face_locator.controlled(features, batch.audio.flatten(0, 1), CONFIG).unflatten(
        0, (2, 3)
    )
    for take in range(2):
        region = box_regions(batch.boxes[take : take + 1, 0], 64, 64)[0].numpy()
        job = animator.prepare(_portrait(batch.pixels[take].numpy(), region), SETTINGS)
        rendered = animator.clip_context(job, batch.audio[take].numpy(), None).face_features
        torch.testing.assert_close(trained[take], rendered.expand_as(trained[take]))


def _portrait(pixels: np.ndarray, region: np.ndarray) -> Portrait:
    masks = tuple(np.ones((side, side), np.float32) for side in (8, 4))
    return Portrait(
        pixels=pixels,
        crop=CropBox(0, 0, 64),
        source_size=(64, 64),
        landmarks=np.zeros((478, 2), np.float32),
        face_region=region,
        masks=RegionMasks(masks, masks, masks),
        identity=None,
        digest="",
    )
