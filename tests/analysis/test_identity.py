"""The identity embedding is that of the chosen face, from checked files and nothing downloaded.

insightface runs two tiny networks with the interfaces of SCRFD and ArcFace, made here.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hallo_cli.analysis.face import FaceAnalyser
from hallo_cli.analysis.identity import IdentityNetwork
from hallo_cli.domain import Bytes
from hallo_cli.errors import PortraitError, WeightsError


def detector(box: tuple[float, float, float, float]) -> onnx.ModelProto:
    """A network with SCRFD's nine outputs that always reports one box of the 640 x 640 input."""
    outputs, values = [], []
    for kind, width in (("score", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            rows = np.zeros(((640 // stride) ** 2 * 2, width), np.float32)
            if stride == 32:
                rows[_anchor(box)] = _anchor_values(kind, box)
            outputs.append((f"{kind}{stride}", rows))
    nodes = []
    for name, rows in outputs:
        values.append(numpy_helper.from_array(rows, f"{name}_rows"))
        # The input takes part so that it is not optimised away.
        nodes.append(helper.make_node("Add", [f"{name}_rows", "nothing"], [name]))
    first = [
        helper.make_node("ReduceMean", ["input.1"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    values.append(numpy_helper.from_array(np.float32(0), "zero"))
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(r.shape)) for n, r in outputs]
    return _model(first + nodes, values, [1, 3, "height", "width"], infos, "input.1")


def _anchor(box: tuple[float, float, float, float]) -> int:
    column, row = int((box[0] + box[2]) / 2 / 32), int((box[1] + box[3]) / 2 / 32)
    return (row * 20 + column) * 2


def _anchor_values(kind: str, box: tuple[float, float, float, float]) -> np.ndarray:
    x, y = int((box[0] + box[2]) / 2 / 32) * 32, int((box[1] + box[3]) / 2 / 32) * 32
    if kind == "score":
        return np.array([0.9], np.float32)
    if kind == "bbox":
        return np.array([x - box[0], y - box[1], box[2] - x, box[3] - y], np.float32) / 32
    width, height = box[2] - box[0], box[3] - box[1]
    shares = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]
    points = [(box[0] + a * width - x, box[1] + b * height - y) for a, b in shares]
    return np.array(points, np.float32).ravel() / 32


def recognition() -> onnx.ModelProto:
    """A network with ArcFace's interface: 512 averages of the aligned face."""
    nodes = [
        helper.make_node("ReduceMean", ["data", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "spread"], ["embedding"]),
    ]
    values = [
        numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
        numpy_helper.from_array(np.ones((3, 512), np.float32), "spread"),
    ]
    info = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 512])
    return _model(nodes, values, [1, 3, 112, 112], [info], "data")


def _model(nodes: list, values: list, shape: list, outputs: list, name: str) -> onnx.ModelProto:
    picture = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "g", [picture], outputs, values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The astronaut's face lies at 178..272 x 81..175 of 512, scaled by 1.25 to 640."""
    onnx.save(detector((222, 101, 340, 219)), tmp_path / "scrfd.onnx")
    onnx.save(recognition(), tmp_path / "glintr100.onnx")
    return tmp_path / "scrfd.onnx", tmp_path / "glintr100.onnx"


def test_embedding_is_raw_and_of_the_face(
    files: tuple[Path, Path], analyser: FaceAnalyser, astronaut: Bytes
) -> None:
    (face,) = analyser.detect(astronaut)
    embedding = IdentityNetwork(*files).embed(astronaut, face)
    assert embedding.shape == (512,)
    assert np.isfinite(embedding).all()
    assert np.ptp(embedding) < 1e-5  # all the same average, not normalised to length 1
    assert abs(float(np.linalg.norm(embedding)) - 1) > 0.01


def test_face_that_the_detector_does_not_see_is_refused(
    tmp_path: Path, files: tuple[Path, Path], analyser: FaceAnalyser, astronaut: Bytes
) -> None:
    (face,) = analyser.detect(astronaut)
    onnx.save(detector((20, 400, 120, 500)), tmp_path / "elsewhere.onnx")
    with pytest.raises(PortraitError, match="finds no face"):
        IdentityNetwork(tmp_path / "elsewhere.onnx", files[1]).embed(astronaut, face)


def test_missing_files_are_refused_before_anything_is_fetched(
    tmp_path: Path, files: tuple[Path, Path]
) -> None:
    with pytest.raises(WeightsError, match="hallo models pull"):
        IdentityNetwork(files[0], tmp_path / "gone.onnx")


def test_broken_files_are_refused(tmp_path: Path, files: tuple[Path, Path]) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    for pair in ((broken, files[1]), (files[0], broken)):
        with pytest.raises(WeightsError):
            IdentityNetwork(*pair)


def test_two_detectors_are_no_identity_network(files: tuple[Path, Path]) -> None:
    with pytest.raises(WeightsError, match="not a face recognition network"):
        IdentityNetwork(files[0], files[0])
