"""Videos of talking people to takes: `hallo train prepare`.

Every video is one unit of work: its takes go into shards of its own, and its record, written last, says that
it is done. So worker processes share the work without meeting, and a run that was stopped continues.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import wavfile

from hallo_cli.analysis import regions
from hallo_cli.analysis.face import SILHOUETTE, FaceAnalyser
from hallo_cli.analysis.framing import cut, to_square
from hallo_cli.analysis.identity import IdentityNetwork
from hallo_cli.analysis.vocals import find_network, separate
from hallo_cli.bundles.bundle import find_bundle
from hallo_cli.bundles.bundle_file import Geometry
from hallo_cli.domain import SAMPLE_RATE, Bytes, CropBox, Float
from hallo_cli.errors import InputError, PortraitError
from hallo_cli.media.audio import Recording, decode
from hallo_cli.store.writing import make_folder, reporting_write_errors, write_whole
from hallo_cli.training.footage import (
    FPS,
    Seen,
    Source,
    Standard,
    Stretch,
    choose,
    find_sources,
    shut_lids,
    watch,
)
from hallo_cli.training.takes import Take, TakeInfo, write_takes

LEAD_S, TAIL_S = 2.0, 0.4  # sound kept around a take, for the speech encoder's surroundings
JPEG_QUALITY = 95
TAKES_PER_SHARD = 16
RECORDS = "videos"  # folder of one record a video
IDENTITY_EVERY = FPS  # frames between two tries of finding the face with the identity network


@dataclass(frozen=True)
class PrepareSettings:
    """The settings of preparation."""

    size: int = 512  # height and width of the frames
    standard: Standard = field(default_factory=Standard)
    geometry: Geometry = field(default_factory=Geometry)  # how the crop is framed around the union of faces
    bundle: str | None = None  # brings the identity network and the vocal separator, where it has them
    separate_vocals: bool = False
    validation_share: float = 0.0  # of the videos, chosen by their names' hash

    @property
    def fingerprint(self) -> str:
        """A digest of everything that changes the takes."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class VideoDone:
    """Progress: one video is finished."""

    video: str
    n_takes: int
    n_rejects: int
    done: int
    total: int
    seconds_left: float


def prepare(
    videos: Path, output: Path, settings: PrepareSettings, *, workers: int = 1
) -> Iterator[VideoDone]:
    """Make takes of every video below a folder that has none yet; then index.jsonl and rejects.jsonl.

    Raises InputError if there is no video, SettingsError or WeightsError if a network that the settings
    ask for is missing, OutputError. A video that cannot be read is a reject with its reason.
    """
    found = find_sources(videos)
    make_folder(output / RECORDS)
    names = [source.name for source in found]
    work = [source for source in found if _record(output, source.name, settings) is None]
    if work:
        _require_networks(settings)
    started, total = time.monotonic(), len(names)
    for count, record in enumerate(_records(work, output, settings, workers), 1):
        left = (time.monotonic() - started) / count * (len(work) - count)
        done = total - len(work) + count
        yield VideoDone(record["video"], len(record["takes"]), len(record["rejects"]), done, total, left)
    _write_lists(output, [_record(output, name, settings) or {} for name in names])


def prepare_video(source: Source, output: Path, settings: PrepareSettings) -> dict[str, Any]:
    """Make the takes of one video and write its record; gives the record.

    Only what is wrong with the video is recorded; a missing network or a full disk raises HalloError.
    """
    key = video_key(source.name)
    record: dict[str, Any] = {
        "video": source.name,
        "settings": settings.fingerprint,
        "takes": [],
        "rejects": [],
    }
    _remove_shards(output, key)
    try:
        record["takes"], rejects = _made(source, output, settings)
    except InputError as error:
        _remove_shards(output, key)
        rejects = [Stretch(0, 0, str(error))]
    record["rejects"] = [
        {"start_s": one.start / FPS, "stop_s": one.stop / FPS, "reason": one.reason} for one in rejects
    ]
    write_whole(output / RECORDS / f"{key}.json", json.dumps(record).encode())
    return record


def video_key(name: str) -> str:
    """A file name for a video's work, made of its path's hash alone."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def crop_box(landmarks: Sequence[Float], geometry: Geometry) -> CropBox:
    """The square around the union of the faces, framed as the networks are trained."""
    outlines = np.concatenate([points[list(SILHOUETTE)] for points in landmarks])
    left, top, right, bottom = (float(edge) for edge in (*outlines.min(axis=0), *outlines.max(axis=0)))
    side = geometry.crop_scale * max(right - left, bottom - top)
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2 + geometry.crop_shift * side
    return CropBox(middle_x - side / 2, middle_y - side / 2, side)


def union_regions(landmarks: Sequence[Float], size: tuple[int, int]) -> tuple[regions.Region, regions.Region]:
    """Face and lip rectangles that hold those of all frames, not expanded, as in the published training."""
    faces = [regions.face_rectangle(points, size, 1.0) for points in landmarks]
    lips = [regions.lip_rectangle(points, size, 1.0) for points in landmarks]
    return regions.union(faces), regions.union(lips)


@dataclass(frozen=True)
class _Video:
    """One video that was watched."""

    source: Source
    sound: Recording
    seen: Sequence[Seen]
    settings: PrepareSettings

    def takes(self, stretches: Sequence[Stretch]) -> Iterator[tuple[Stretch, Take | None]]:
        """The takes in order, None where the identity network finds no face in frames one second apart.

        Frames are read a second time, one take's in memory.
        """
        bundle = self.settings.bundle
        network = None if bundle is None else _identity_network(bundle)
        frames, n_read = self.source.frames(), 0
        for stretch in stretches:
            shown = self.seen[stretch.start : stretch.stop]
            landmarks = [points for one in shown if (points := one.landmarks) is not None]
            box = crop_box(landmarks, self.settings.geometry)
            pictures: list[bytes] = []
            identity = None
            for frame in itertools.islice(frames, stretch.start - n_read, stretch.stop - n_read):
                is_tried = len(pictures) % IDENTITY_EVERY == 0
                if is_tried and identity is None and network is not None:
                    identity = _identity(frame, network)
                pictures.append(_jpeg(cut(frame, box, self.settings.size)))
            n_read = stretch.stop
            inside = [to_square(points, box, self.settings.size) for points in landmarks]
            take = self._take(stretch, pictures, inside)
            take = replace(take, identity=identity, truth={"blink": shut_lids(shown)})
            yield stretch, None if network is not None and identity is None else take

    def _take(self, stretch: Stretch, pictures: list[bytes], landmarks: list[Float]) -> Take:
        key, size = video_key(self.source.name), self.settings.size
        face, lip = union_regions(landmarks, (size, size))
        lead = min(stretch.start, round(LEAD_S * FPS))
        is_held_out = int(key[:8], 16) / 2**32 < self.settings.validation_share
        info = TakeInfo(
            n_frames=len(pictures),
            fps=float(FPS),
            size=size,
            source=f"{self.source.name} at {stretch.start / FPS:.2f} s",
            face_box=_as_box(face),
            lip_box=_as_box(lip),
            split="validation" if is_held_out else "train",
            reference="frame",
            audio_lead_s=lead / FPS,
        )
        return Take(
            key=f"{key}-{stretch.start:06d}",
            info=info,
            frames=tuple(pictures),
            wav=self._wav(stretch.start - lead, stretch.stop),
            landmarks=landmarks[0],
        )

    def _wav(self, first: int, last: int) -> bytes:
        start, stop = (frame * SAMPLE_RATE // FPS for frame in (first, last))
        samples = self.sound.read(
            start, max(stop, min(self.sound.n_samples, stop + round(TAIL_S * SAMPLE_RATE)))
        )
        buffer = io.BytesIO()
        wavfile.write(buffer, SAMPLE_RATE, (samples.clip(-1, 1) * 32767).round().astype("<i2"))
        return buffer.getvalue()


def _identity(frame: Bytes, network: IdentityNetwork) -> Float | None:
    """Who a frame shows; None where the network sees no face."""
    faces = _analyser().detect(frame)
    try:
        return network.embed(frame, faces[0]) if faces else None
    except PortraitError:
        return None


def _made(
    source: Source, output: Path, settings: PrepareSettings
) -> tuple[list[dict[str, Any]], list[Stretch]]:
    """Write one video's takes; gives their entries in the record, and what was left out."""
    entries: list[dict[str, Any]] = []
    seen = list(watch(source.frames(), _analyser(), settings.standard))
    stretches, rejects = choose(seen, settings.standard)
    if not stretches:
        return entries, rejects

    def noted(takes: Iterator[tuple[Stretch, Take | None]], shard: Path) -> Iterator[Take]:
        for stretch, take in takes:
            if take is None:
                rejects.append(replace(stretch, reason="no face for the identity network"))
                continue
            place = {"key": take.key, "shard": shard.name, "index": len(entries)}
            times = {"start_s": stretch.start / FPS, "n_frames": stretch.stop - stretch.start}
            entries.append({**place, **times})
            yield take

    with _sound(source.sound, settings) as sound:
        takes = _Video(source, sound, seen, settings).takes(stretches)
        for number in itertools.count():
            shard = output / f"{video_key(source.name)}-{number:06d}.tar"
            if not write_takes(shard, itertools.islice(noted(takes, shard), TAKES_PER_SHARD)):
                break
    return entries, rejects


def _remove_shards(output: Path, key: str) -> None:
    with reporting_write_errors(output):
        for old in output.glob(f"{key}-*.tar*"):
            old.unlink()


def _require_networks(settings: PrepareSettings) -> None:
    """Raise early if this machine lacks what the settings need."""
    if settings.separate_vocals:
        find_network(find_bundle(settings.bundle or "official"))
    if settings.bundle is not None:
        _identity_network(settings.bundle)


def _records(
    sources: Sequence[Source], output: Path, settings: PrepareSettings, workers: int
) -> Iterator[dict[str, Any]]:
    if workers <= 1 or len(sources) <= 1:
        for source in sources:
            yield prepare_video(source, output, settings)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(prepare_video, source, output, settings) for source in sources]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            for job in jobs:
                job.cancel()


def _record(output: Path, name: str, settings: PrepareSettings) -> dict[str, Any] | None:
    """The record of a video that was done with these settings."""
    try:
        record: dict[str, Any] = json.loads((output / RECORDS / f"{video_key(name)}.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return record if record.get("settings") == settings.fingerprint else None


def _write_lists(output: Path, records: Sequence[dict[str, Any]]) -> None:
    for kind, file in (("takes", "index.jsonl"), ("rejects", "rejects.jsonl")):
        lines = [
            json.dumps({"video": one["video"], **entry}) for one in records if one for entry in one[kind]
        ]
        write_whole(output / file, "".join(f"{line}\n" for line in lines).encode())


@contextlib.contextmanager
def _sound(file: Path, settings: PrepareSettings) -> Iterator[Recording]:
    """A file's sound, decoded into a temporary file."""
    with contextlib.ExitStack() as stack:
        with reporting_write_errors(Path(tempfile.gettempdir())):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hallo-prepare-"))
            target = Path(folder) / "sound.f32"
            if settings.separate_vocals:
                recording = separate(file, target, find_bundle(settings.bundle or "official"))
            else:
                recording = decode(file, target)
        yield recording


@lru_cache(maxsize=1)
def _analyser() -> FaceAnalyser:
    return FaceAnalyser(threads=1)


@lru_cache(maxsize=1)
def _identity_network(name: str) -> IdentityNetwork | None:
    bundle = find_bundle(name)
    if not bundle.manifest.needs_identity:
        return None
    return IdentityNetwork(bundle.verified("face_detector"), bundle.verified("identity"))


def _as_box(region: regions.Region) -> tuple[float, float, float, float]:
    left, right, top, bottom = region
    return float(left), float(top), float(right), float(bottom)


def _jpeg(picture: Bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
