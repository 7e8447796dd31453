"""The settings as keyword arguments, so that type checkers and editors know them.

A test holds this list to the dataclasses of schema.py, which stay the source of defaults, limits and help.
"""

from __future__ import annotations

import os
from typing import TypedDict


class Keywords(TypedDict, total=False):
    """Every setting by its key; a value may be the text that a flag would take."""

    preset: str | None  # a named set of settings to start from
    config: str | os.PathLike[str] | None  # a TOML file of settings

    bundle: str
    seed: int
    noise: str
    steps: int | str | None
    solver: str | None
    guidance: float | str | None
    guidance_start: float
    guidance_stop: float
    deep_every: int
    clip_frames: int | str | None
    pose_weight: float
    face_weight: float
    lip_weight: float
    fps: float
    size: int | str | None
    start: float
    duration: float | str | None
    framing: str
    canvas: str | None
    fit: str
    background: str
    face_index: int | str | None
    face_checks: str
    face_expand_ratio: float
    audio_track: int | str | None
    separate_vocals: bool
    silence_guard: bool
    segment: float
    overlap: float
    dtype: str
    compile: str
    codec: str
    crf: int
    audio_codec: str
    loudness: float | str | None
    subtitles: str | None
    burn: bool

    device: str
    threads: int
    decode_chunk: int
    decode_behind: str
    split_guidance: bool
    offload: bool
    provenance: bool
    certificate: str | None
    consent: str | None
    name_consenters: bool
    speak: str | None
    look_limit: float | str | None
