"""The published file's names and shapes are met exactly by what is exported."""

import json
from pathlib import Path

from hallo_cli.models.config import NetworkConfig
from hallo_cli.models.weights import build_networks
from hallo_cli.training.export import unused_shapes

MANIFEST = Path(__file__).parent.parent / "data" / "official_net_manifest.json"


def test_exported_tensors_are_those_of_the_published_file() -> None:
    published = {name: tuple(shape) for name, shape in json.loads(MANIFEST.read_text()).items()}
    exported = unused_shapes()
    for prefix, module in build_networks(NetworkConfig.official()).by_prefix().items():
        own = {f"{prefix}{name}": tuple(value.shape) for name, value in module.state_dict().items()}
        assert not own.keys() & exported.keys()
        exported |= own
    assert exported == published
