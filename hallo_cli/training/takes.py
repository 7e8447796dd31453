"""Takes on disk: a few seconds of one cropped face with its sound, many of them in one plain tar file.

Written by data preparation and by the synthetic corpus, read by `encode`. A shard streams,
opens with any tar tool, and has its final name only when it is whole. A folder of shards may note what they
were made from, so that those of other settings do not get among them.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Interval
from PIL import Image

from hallo_cli.domain import Bytes
from hallo_cli.errors import InputError
from hallo_cli.store.binding import bind
from hallo_cli.store.writing import PartFile, reporting_write_errors, write_whole

KEY = re.compile(r"[A-Za-z0-9_-]{1,120}")
MAX_FRAME_PIXELS = 4096 * 4096
MAX_MEMBER_BYTES = 256 << 20  # a shard with a larger member is not one of ours
ORIGIN = "made_from.json"  # in a folder of shards: the settings they were made with
FLOW_STEPS = 32.0  # truth.flow counts in this part of a pixel
MOUTH_MATERIALS = (2, 3, 4)  # of truth.materials: upper teeth, lower teeth, tongue
Array = npt.NDArray[Any]
Edge = Annotated[float, Interval(ge=-1e6, le=1e6)]
Lead = Annotated[float, Interval(ge=0, lt=3600)]
Box = tuple[Edge, Edge, Edge, Edge]


def packed_flow(flow: Array) -> npt.NDArray[np.int16]:
    """Backward flow in pixels as whole numbers, which compress well."""
    return np.clip(np.rint(flow * FLOW_STEPS), -32768, 32767).astype(np.int16)


def unpacked_flow(flow: Array) -> npt.NDArray[np.float32]:
    """The inverse of `packed_flow`."""
    return np.asarray(flow, np.float32) / np.float32(FLOW_STEPS)


@dataclass(frozen=True)
class TakeInfo:
    """What is known of a take without its pictures. Boxes are (left, top, right, bottom) in pixels."""

    n_frames: Annotated[int, Interval(gt=0, le=100_000)]
    fps: Annotated[float, Interval(gt=0, le=1000)]
    size: Annotated[int, Interval(gt=0, le=8192)]  # height and width of the square frames
    source: str  # where it came from, for people
    face_box: Box  # around the face in all frames
    lip_box: Box  # around the lips in all frames
    split: Literal["train", "validation"] = "train"
    reference: Literal["own", "frame"] = "frame"  # own: a picture beside the frames; frame: one of them
    audio_lead_s: Lead = 0.0  # sound before the first frame, so that windows have their left side
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str | bytes) -> TakeInfo:
        """Parse and check KEY.json; keys it does not know go to `details`. Raises InputError."""
        try:
            raw = json.loads(text)
            known = {name: raw[name] for name in cls.__dataclass_fields__ if name in raw}
            extra = {key: value for key, value in raw.items() if key not in known}
            return bind(cls, {**known, "details": {**known.get("details", {}), **extra}})
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"take metadata is not readable ({error}): prepare the data again") from error

    def to_json(self) -> str:
        """The inverse of `from_json`."""
        return json.dumps({**self.__dict__, "details": dict(self.details)}, sort_keys=True)


@dataclass(frozen=True)
class Take:
    """One take with its files, pictures still encoded."""

    key: str
    info: TakeInfo
    frames: tuple[bytes, ...]  # JPEG or PNG files
    wav: bytes  # 16 kHz mono PCM
    landmarks: Array  # [478, 2] of the reference picture (the first frame where reference is "frame"), pixels
    reference: bytes | None = None  # the portrait, where info.reference is "own"
    truth: Mapping[str, Array] = field(default_factory=dict)  # per frame: visemes, blink, opening, ...
    identity: Array | None = None  # [512] face embedding


def write_takes(path: Path, takes: Iterable[Take]) -> int:
    """Write one shard, whole or not at all, a take in memory at a time; gives how many it holds.

    Without takes there is no file. Raises InputError if a take's key cannot be used, OutputError.
    """
    coming = iter(takes)
    first = next(coming, None)
    if first is None:
        return 0
    n_takes = 0
    with ExitStack() as opened:
        with reporting_write_errors(path):
            part = opened.enter_context(PartFile(path))
            tar = opened.enter_context(tarfile.open(fileobj=part.file, mode="w"))
        for take in itertools.chain([first], coming):  # making a take has errors of its own
            if not KEY.fullmatch(take.key):
                raise InputError(f"take key {take.key!r} must be 1-120 letters, digits, '-' or '_'")
            with reporting_write_errors(path):
                _add(tar, take)
            n_takes += 1
        with reporting_write_errors(path):
            tar.close()
            part.commit()
    return n_takes


def _add(tar: tarfile.TarFile, take: Take) -> None:
    for suffix, data in _members(take):
        member = tarfile.TarInfo(f"{take.key}.{suffix}")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))


def picture(take: Take, data: bytes) -> Bytes:
    """The RGB pixels [height, width, 3] of one of a take's pictures. Raises InputError."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_FRAME_PIXELS:
                raise InputError(f"take {take.key}: a frame of {image.width} x {image.height} is too large")
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise InputError(f"take {take.key}: a frame cannot be read ({error}): prepare it again") from error


def read_takes(shard: Path) -> Iterator[Take]:
    """The takes of one shard in order, one in memory at a time. Raises InputError if it is broken."""
    key, files = "", dict[str, bytes]()
    try:
        with tarfile.open(shard, "r|") as tar:
            for member in tar:
                name, _, suffix = member.name.partition(".")
                if not member.isfile() or not KEY.fullmatch(name) or member.size > MAX_MEMBER_BYTES:
                    raise InputError(f"{shard}: unexpected member {member.name!r}: not a shard of takes")
                if name != key and files:
                    yield _assemble(shard, key, files)
                    files = {}
                key = name
                content = tar.extractfile(member)
                files[suffix] = content.read() if content else b""
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{shard} is not a whole tar file ({error}): prepare it again") from error
    if files:
        yield _assemble(shard, key, files)


def shards_in(folder: Path, suffix: str = ".tar") -> list[Path]:
    """The finished shards of a folder by name. Raises InputError if there is none."""
    found = sorted(folder.glob(f"*-[0-9][0-9][0-9][0-9][0-9][0-9]{suffix}"))
    if not found:
        raise InputError(f"{folder} holds no NAME-000000{suffix}: give the folder that the last step wrote")
    return found


def require_same_origin(
    folder: Path, origin: Mapping[str, str | int | bool], *, suffix: str = ".tar"
) -> None:
    """Raises InputError if the folder's note says that its shards are made from something else.

    Shards without a note are older than it and taken to be right.
    """
    known = read_origin(folder) if any(folder.glob(f"*{suffix}")) else {}
    for name, value in origin.items():
        if known.get(name, value) != value:
            raise InputError(
                f"{folder} holds shards made with {name} {known[name]}, now it is {value}: choose another "
                f"folder, or remove its {suffix} files first"
            )


def note_origin(folder: Path, origin: Mapping[str, str | int | bool]) -> None:
    """Write down what the shards of a folder are made from. Raises OutputError."""
    write_whole(folder / ORIGIN, json.dumps(dict(origin)).encode())


def read_origin(folder: Path) -> dict[str, Any]:
    """What `note_origin` wrote; empty where it did not. Raises InputError if the note is broken."""
    note = folder / ORIGIN
    try:
        found = json.loads(note.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{note} cannot be read ({error}): choose another folder") from error
    return found if isinstance(found, dict) else {}


def _members(take: Take) -> Iterator[tuple[str, bytes]]:
    yield "json", take.info.to_json().encode()
    for index, frame in enumerate(take.frames):
        yield f"f{index:03d}.jpg", frame
    if take.reference is not None:
        yield "ref.jpg", take.reference
    yield "wav", take.wav
    yield "landmarks.npy", _npy(take.landmarks)
    if take.identity is not None:
        yield "identity.npy", _npy(take.identity)
    if take.truth:
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in take.truth.items()}
        np.savez_compressed(buffer, **arrays)
        yield "truth.npz", buffer.getvalue()


def _npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def _assemble(shard: Path, key: str, files: Mapping[str, bytes]) -> Take:
    try:
        info = TakeInfo.from_json(files["json"])
        arrays = {
            name: np.load(io.BytesIO(files[f"{name}.npy"]), allow_pickle=False)
            for name in ("landmarks", "identity")
            if f"{name}.npy" in files
        }
        truth = dict(np.load(io.BytesIO(files["truth.npz"]))) if "truth.npz" in files else {}
        return Take(
            key=key,
            info=info,
            frames=tuple(files[f"f{index:03d}.jpg"] for index in range(info.n_frames)),
            wav=files["wav"],
            landmarks=arrays["landmarks"],
            reference=files["ref.jpg"] if info.reference == "own" else None,
            truth=truth,
            identity=arrays.get("identity"),
        )
    except (KeyError, ValueError, OSError) as error:
        raise InputError(
            f"{shard}: take {key} is incomplete or broken ({error}): prepare it again"
        ) from error
