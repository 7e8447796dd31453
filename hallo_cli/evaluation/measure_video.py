"""Measures video files: opens them, feeds the meters, reads joins from the record beside the video."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from hallo_cli.analysis.face import Face, FaceAnalyser
from hallo_cli.analysis.framing import cut
from hallo_cli.domain import Bytes, CropBox, Float
from hallo_cli.errors import InputError, SpeechError
from hallo_cli.evaluation import geometry, lip_sync
from hallo_cli.evaluation.curves import Curves
from hallo_cli.evaluation.distribution import FeatureNetwork, fitted, frechet_distance
from hallo_cli.evaluation.face_window import View, view_on
from hallo_cli.evaluation.figures import VideoFigures
from hallo_cli.evaluation.measure import VideoMeter
from hallo_cli.evaluation.truth import TruthMeter
from hallo_cli.media.audio import read_sound
from hallo_cli.media.image import read_image
from hallo_cli.media.probe import probe
from hallo_cli.media.video import read_frames
from hallo_cli.store.digests import file_digest
from hallo_cli.store.reading import read_small

if TYPE_CHECKING:
    from hallo_cli.analysis.identity import IdentityNetwork
    from hallo_cli.evaluation.syncnet import SyncNet

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
MAX_SQUARE = 4  # the longest side of a square that is cut out / the longer side of the picture


def measure_video(
    video: Path,
    *,
    audio: Path | None = None,
    portrait: Path | None = None,
    truth: Path | None = None,
    identity: IdentityNetwork | None = None,
) -> tuple[VideoFigures, Curves]:
    """Measure one video at constant memory: its figures, and the curves that plots are drawn from.

    `audio` defaults to the video's own sound; `portrait` to the first frame; `truth` is the true video of the
    same speech. VIDEO.json beside it says where clips and segments join and which square of the portrait is
    shown; without it the portrait is aligned to the first frame by landmarks, which is less exact. In
    frames above 512 pixels only a window of that size around the face is measured.
    Raises InputError if a file cannot be used.
    """
    track = probe(video, what="video").video
    if track is None:
        raise InputError(f"{video}: no picture in this file; give a video")
    analyser = FaceAnalyser()
    frames = read_frames(video)
    first = next(frames, None)
    if first is None:
        raise InputError(f"{video}: no frame can be decoded; render it again")
    view = view_on(first, analyser)
    reference = None if portrait is None else _reference(video, portrait, first, view, analyser)
    meter = VideoMeter(analyser, reference=reference, identity=identity)
    comparison = TruthMeter() if truth is not None else None
    true_frames = read_frames(truth, fps=float(track.fps)) if truth is not None else iter(())
    seen, true_seen = map(view.of, itertools.chain([first], frames)), map(view.of, true_frames)
    _feed(meter, seen, comparison, true_seen)
    waveform, fps, joins = _waveform(audio, video), float(track.fps), joins_of(video)
    figures = meter.figures(waveform, fps, joins=joins)
    curves = meter.curves(waveform, fps, joins=joins)
    return (figures if comparison is None else comparison.added_to(figures)), curves


def with_lip_sync(
    figures: VideoFigures, video: Path, network: SyncNet, *, audio: Path | None = None
) -> VideoFigures:
    """The figures with Sync-C and Sync-D, from a second pass over the video. Raises InputError."""
    waveform = _waveform(audio, video)
    track = probe(video, what="video").video
    found = None
    if waveform is not None and track is not None:
        frames = read_frames(video, fps=lip_sync.FPS)
        squares = lip_sync.face_squares(frames, FaceAnalyser(threads=2))
        n_frames = round(track.n_frames * lip_sync.FPS / float(track.fps))
        found = lip_sync.lip_sync(network, squares, waveform, n_frames=n_frames)
    if found is None:
        note = "no Sync-C and Sync-D: they need sound and at least six frames"
        return dataclasses.replace(figures, notes=(*figures.notes, note))
    return dataclasses.replace(figures, **vars(found))


def joins_of(video: Path) -> tuple[int, ...]:
    """First frames of clips and segments as the record beside the video says; empty without one."""
    with suppress(ValueError, KeyError, TypeError):
        made = _record(video)["output"]
        clips = range(0, int(made["n_frames"]), int(made["clip_frames"]))
        return tuple(sorted({int(start) for start in made["segment_starts"]} | set(clips) - {0}))
    return ()


def square_of(video: Path, portrait: Path) -> CropBox | None:
    """The square of this portrait that the video shows as the record beside it says; None: it says none."""
    with suppress(ValueError, KeyError, TypeError):
        record = _record(video)
        if record["portrait"]["sha256"] == file_digest(portrait):
            left, top, side = (float(edge) for edge in record["output"]["square"])
            return CropBox(left, top, side)
    return None


def is_squeezed(video: Path, portrait: Path) -> bool:
    """Whether the video shows this whole portrait in a square, as the record beside it says."""
    with suppress(ValueError, KeyError, TypeError):
        record = _record(video)
        settings = record["settings"]
        shown = settings["framing"], settings["canvas"]
        return shown == ("whole", "framed") and record["portrait"]["sha256"] == file_digest(portrait)
    return False


def videos_in(folder: Path) -> list[Path]:
    """The videos of a folder, sorted by name. Raises InputError if there are none."""
    videos = sorted(file for file in folder.glob("*") if file.suffix.lower() in VIDEO_SUFFIXES)
    if not videos:
        raise InputError(f"{folder}: no videos ({', '.join(VIDEO_SUFFIXES)}) in this folder")
    return videos


def set_distance(network: FeatureNetwork, videos: list[Path], real: list[Path]) -> float:
    """Fréchet distance of the videos to real ones: FID, FVD or E-FID, as the network's kind says.

    Raises InputError if either are too short or unreadable, WeightsError if the network does not fit.
    """
    rendered = fitted(network, map(read_frames, videos), whose="the rendered videos")
    return frechet_distance(rendered, fitted(network, map(read_frames, real), whose="the real videos"))


def _feed(
    meter: VideoMeter, frames: Iterator[Bytes], comparison: TruthMeter | None, true_frames: Iterator[Bytes]
) -> None:
    """Feed all frames to the meters: while one is measured, the next is decoded and its face found."""
    true_analyser = None if comparison is None else FaceAnalyser()

    def measure(frame: Bytes, face: Face | None, true_frame: Bytes | None) -> None:
        meter.measure(frame, face)
        if comparison is not None and true_analyser is not None and true_frame is not None:
            true_face = next(iter(true_analyser.detect(true_frame)), None)
            comparison.add(frame, face, true_frame, true_face)

    with ThreadPoolExecutor(1, thread_name_prefix="measure") as pool:
        waiting: Future[None] | None = None
        for frame, true_frame in zip_longest(frames, true_frames):
            if frame is None:
                break
            face = meter.find(frame)
            if waiting is not None:
                waiting.result()
            waiting = pool.submit(measure, frame, face, true_frame)
        if waiting is not None:
            waiting.result()


def _record(video: Path) -> Any:
    """The record beside a video: {} if there is none that can be read."""
    try:
        return json.loads(read_small(video.with_suffix(".json")))
    except (OSError, ValueError):
        return {}


def _reference(video: Path, file: Path, frame: Bytes, view: View, analyser: FaceAnalyser) -> Bytes:
    """The portrait in the geometry of the first frame's measured part."""
    picture, square = read_image(file), square_of(video, file)
    _, portrait, own = analyser.set_upright(picture)
    if square is not None and frame.shape[0] == frame.shape[1] and _lies_in(square, portrait):
        return view.of(cut(portrait, square, frame.shape[0]))
    if portrait.shape == frame.shape:
        return view.of(portrait)
    if is_squeezed(video, file):
        return view.of(np.asarray(cv2.resize(portrait, frame.shape[1::-1], interpolation=cv2.INTER_AREA)))
    first = view.of(frame)
    target = analyser.detect(first)
    if not own or not target:
        raise InputError(
            "The portrait cannot be aligned to the video: no face was found in one of them. "
            "`hallo eval` without --portrait compares the video with its first frame."
        )
    return geometry.lay_over(portrait, own[0].landmarks, first, target[0].landmarks)


def _lies_in(square: CropBox, picture: Bytes) -> bool:
    """Whether a record's square can be one that was rendered: it shows a part of the picture."""
    height, width = picture.shape[:2]
    across, down = square.left + square.side, square.top + square.side
    shows = square.left < width and square.top < height and across > 0 and down > 0
    return shows and 1 <= square.side <= MAX_SQUARE * max(height, width)


def _waveform(audio: Path | None, video: Path) -> Float | None:
    if audio is not None:
        return read_sound(audio)
    try:
        return np.asarray(read_sound(video), np.float32)
    except SpeechError:
        return None
