"""The network configuration: round trip and refusals."""

import dataclasses
import json

import pytest

from hallo_cli.errors import WeightsError
from hallo_cli.models.network_config import NetworkConfig


def test_json_round_trip_gives_the_same_config():
    config = dataclasses.replace(NetworkConfig.official(), control_channel=3, compat="sane")
    assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_official_model_works_on_eighth_size_latents():
    assert NetworkConfig.official().latent_factor == 8


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"chanels": [32]}, "unknown key chanels .did you mean 'channels'"),
        ({"heads": "8"}, "heads = '8'"),
        ({"compat": "other"}, "compat = 'other' is not 'official' or 'sane'"),
        ({"channels": [320, 640, 1280, 1281]}, "not a multiple of 8 heads"),
        ({"attention_levels": [True]}, "attention_levels needs 4 values"),
        ({"clip_frames": 31}, "exceed max_temporal 32"),
        ({"channels": [320, 640, 1280, 10**9]}, "out of range"),
        ({"control_channel": 768}, "none of 768 audio features"),
        ({"vae": {}}, "vae has no block_out_channels"),
        ({"audio_window": 4}, "must be odd"),
        ({"motion_thinning": 1.5}, r"motion_thinning 1\.5 must be 0 to 1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(values, words):
    with pytest.raises(WeightsError, match=words):
        NetworkConfig.from_dict(values)
