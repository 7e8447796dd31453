"""A portrait and speech of random numbers, as the small networks take them."""

import numpy as np

from hallo_cli.domain import CropBox, Portrait, RegionMasks, Speech
from hallo_cli.models.network_config import NetworkConfig

SIZE = 64


def make_portrait(
    config: NetworkConfig, *, height: int = SIZE, width: int = SIZE, brightest: int = 255
) -> Portrait:
    random = np.random.default_rng(0)
    region = np.zeros((height, width), np.float32)
    region[height // 4 : -height // 4, width // 4 : -width // 4] = 1
    sizes = [(height // 8, width // 8)]
    for _ in config.channels[1:]:
        sizes.append(tuple((n + 1) // 2 for n in sizes[-1]))
    masks = [tuple(random.random(size, np.float32) for size in sizes) for _ in range(3)]
    return Portrait(
        pixels=random.integers(0, brightest, (height, width, 3), np.uint8),
        crop=CropBox(0, 0, width),
        source_size=(width, height),
        landmarks=np.zeros((478, 2), np.float32),
        face_region=region,
        masks=RegionMasks(*masks),
        identity=random.random(config.face_embedding_dim, np.float32) if config.identity_tokens else None,
        digest="",
    )


def make_speech(config: NetworkConfig, n_frames: int, first_frame: int = 0) -> Speech:
    features = np.random.default_rng(1).random((64, config.audio_blocks, config.audio_dim), np.float32)
    return Speech(features[first_frame : first_frame + n_frames + 4], first_frame, n_frames, 25.0)
