"""Damaged and hostile files of weights and descriptions end in one plain line, and cost little memory."""

import io
import json
import pickle
import random
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from hallo_cli.bundles.bundle import EMBEDDED
from hallo_cli.bundles.bundle_file import MANIFEST, read_manifest
from hallo_cli.errors import HalloError, WeightsError
from hallo_cli.models.tensor_file import map_tensors
from hallo_cli.models.weights import build_networks, fill

SEEDS = range(200)
MAX_BYTES = 200 << 20  # that all attempts of one test may add to the process together


def network() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))


def weights() -> dict[str, torch.Tensor]:
    return {name: torch.rand(value.shape) for name, value in network().state_dict().items()}


def as_torch(content: object, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    if compression == zipfile.ZIP_STORED:
        return buffer.getvalue()
    packed = io.BytesIO()
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(packed, "w", compression) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    return packed.getvalue()


def with_header(header: object, data: bytes = bytes(1000)) -> bytes:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return len(text).to_bytes(8, "little") + text + data


def mutated(content: bytes, seed: int) -> bytes:
    """The file with some bytes changed, cut out, doubled or moved; most of it stays what it is."""
    rng = random.Random(seed)
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if not data:
            break
        at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(len(data), 600))
        size = rng.choice((1, 1, 4, 60))
        change = rng.randrange(5)
        if change == 0:
            data[at : at + size] = rng.randbytes(size)
        elif change == 1:
            del data[at : at + size]
        elif change == 2:
            data[at:at] = data[at : at + size] * rng.choice((1, 5))
        elif change == 3:
            data[at] ^= 1 << rng.randrange(8)
        else:
            del data[max(1, at) :]
    return bytes(data)


def outcome_of(attempt: Callable[[], object]) -> str:
    """Nothing where it worked, else the one line that was said."""
    try:
        attempt()
    except HalloError as error:
        text = str(error)
        assert len(text.splitlines()) == 1, text
        assert len(text) < 1500
        return text
    return ""


@pytest.fixture
def bounded_memory() -> object:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MAX_BYTES


@pytest.mark.usefixtures("bounded_memory")
@pytest.mark.parametrize(
    ("suffix", "whole"), [(".safetensors", save(weights())), (".pth", as_torch(weights()))]
)
def test_mutated_weights_are_read_or_refused_with_one_line(tmp_path: Path, suffix: str, whole: bytes) -> None:
    path = tmp_path / f"net{suffix}"
    said = []
    for seed in SEEDS:
        path.write_bytes(mutated(whole, seed))
        said.append(outcome_of(lambda: fill({"": network()}, path, device="cpu", dtype=torch.float32)))
    assert sum(map(bool, said)) > len(SEEDS) // 4
    path.write_bytes(whole)
    assert outcome_of(lambda: fill({"": network()}, path, device="cpu", dtype=torch.float32)) == ""


class Call:
    """What pickles as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def nested(depth: int) -> object:
    value: object = []
    for _ in range(depth):
        value = [value]
    return value


def hostile_torch_files() -> dict[str, bytes]:
    one = torch.zeros(1)
    return {
        "stride 0": as_torch({"0.weight": one.expand(8, 8)}),
        "stride 0, terabytes": as_torch({"0.weight": one.expand(1 << 20, 1 << 22)}),
        "overlapping": as_torch({"0.weight": torch.zeros(20).as_strided((8, 8), (1, 1))}),
        "sparse": as_torch({"0.weight": torch.zeros(8, 8).to_sparse()}),
        "meta": as_torch({"0.weight": torch.zeros(1 << 20, 1 << 20, device="meta")}),
        "deflated": as_torch({"0.weight": torch.zeros(4096, 4096)}, zipfile.ZIP_DEFLATED),
        "bzip2": as_torch(weights(), zipfile.ZIP_BZIP2),
        "bytes by the gigabyte": as_torch({"0.weight": Call(bytearray, 1 << 34)}),
        "runs code": as_torch({"0.weight": Call(print, "owned")}),
        "no table": as_torch([1, 2]),
        "numbers": as_torch({1: torch.zeros(1)}),
        "texts": as_torch({"0.weight": "x"}),
        "bare pickle": pickle.dumps({"0.weight": 1}),
        "empty zip": b"PK\x05\x06" + bytes(18),
        "legacy": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
    }


@pytest.mark.usefixtures("bounded_memory")
@pytest.mark.parametrize("what", hostile_torch_files())
def test_hostile_torch_file_is_refused(tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(hostile_torch_files()[what])
    assert outcome_of(lambda: map_tensors(path)).startswith(f"{path}: ")
    assert capsys.readouterr().out == ""


HOSTILE_HEADERS = {
    "endless": (1 << 40).to_bytes(8, "little") + b"{}",
    "long header": with_header(b'{"a":' + b" " * (1 << 25) + b"}"),
    "nested": with_header(b"[" * 200_000),
    "beyond the end": with_header(
        {"0.weight": {"dtype": "F32", "shape": [8, 8], "data_offsets": [0, 1 << 40]}}
    ),
    "huge shape": with_header({"a": {"dtype": "F32", "shape": [1 << 62, 8], "data_offsets": [0, 1000]}}),
    "unknown kind": with_header({"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 1000]}}),
    "negative": with_header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}),
    "no object": with_header([1]),
    "empty": b"",
}


@pytest.mark.usefixtures("bounded_memory")
@pytest.mark.parametrize("what", HOSTILE_HEADERS)
def test_hostile_safetensors_file_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(HOSTILE_HEADERS[what])
    assert outcome_of(lambda: map_tensors(path)).startswith(f"{path}: ")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_whole_numbers_in_place_of_weights_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    numbers = {name: value.to(torch.int32) for name, value in weights().items()}
    path.write_bytes(save(numbers) if suffix == ".safetensors" else as_torch(numbers))
    with pytest.raises(WeightsError, match=r"instead of \[8, 8\]"):
        fill({"": network()}, path, device="cpu", dtype=torch.float32)


def deep(depth: int) -> str:
    return f"x = {'[' * depth}{']' * depth}\n"


@pytest.mark.usefixtures("bounded_memory")
def test_mutated_descriptions_are_read_or_refused_with_one_line(tmp_path: Path) -> None:
    whole = (EMBEDDED / MANIFEST).read_bytes()
    path = tmp_path / MANIFEST
    lines = whole.decode()
    extremes = [
        "9" * 20,
        "9" * 5000,
        "-1",
        "1e308",
        "nan",
        "0",
        "1979-05-27",
        "[]",
        "{}",
        '"x"',
        "true",
        "65536",
    ]
    numbers = [line for line in lines.splitlines() if " = " in line]
    texts = [
        deep(10),
        deep(400),
        deep(100_000),
        "a." * 2000 + "b = 1\n",
        f"name = {'1' * 5000}\n",
        "[[x]]\n" * 9,
    ]
    files = [mutated(whole, seed) for seed in SEEDS]
    files += [(text + lines).encode() for text in texts]
    rng = random.Random(0)
    for line in rng.sample(numbers, 40):
        files.append(lines.replace(line, f"{line.partition(' = ')[0]} = {rng.choice(extremes)}", 1).encode())
    said = []
    for content in files:
        path.write_bytes(content)
        said.append(outcome_of(lambda: build_networks(read_manifest(path).networks)))
    assert sum(map(bool, said)) > len(files) // 4
