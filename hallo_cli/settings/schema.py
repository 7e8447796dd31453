"""What can be set, once: one dataclass field is one TOML key, one HALLO_* variable and one flag.

Defaults live here only. `RenderSettings` changes pixels and is part of a job's fingerprint; `RuntimeSettings`
says how to get the same pixels on this machine. This module knows no files and no command line.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hallo_cli.settings.canvas import MEANS, canvas_size

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Limits:
    """A setting's help and the values it accepts; kept as the metadata of its field."""

    help: str
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: tuple[str, ...] = ()
    multiple_of: int = 1
    none_word: str = ""  # how users write None
    off_flag: str = ""  # of a switch, if it is not --no-NAME
    reads: Callable[[str], object] | None = None  # raises ValueError if a text is not accepted
    means: str = ""  # what that accepts, for people


def setting(default: Value, help_text: str, **limits: Any) -> Any:
    """A dataclass field with its explanation and its limits."""
    return dataclasses.field(default=default, metadata={"limits": Limits(help_text, **limits)})


@dataclass(frozen=True)
class RenderSettings:
    """Everything that changes the pixels (or the sound) of a result."""

    bundle: str = setting(
        "embedded", "The weights: embedded, official, or another bundle's name (hallo models list) or folder."
    )
    seed: int = setting(42, "Seed of the noise and of the blinks.", minimum=0, maximum=2**32 - 1)
    noise: str = setting(
        "independent",
        "independent: each clip draws noise from seed and clip number; published: one sequence for the whole "
        "video, as the published program draws it. The embedded weights use one noise for all frames.",
        choices=("independent", "published"),
    )
    steps: int | None = setting(
        None, "Denoising steps for each clip.", minimum=1, maximum=1000, none_word="bundle"
    )
    solver: str | None = setting(
        None,
        "The solver of the diffusion.",
        choices=("ddim", "dpm++"),
        none_word="bundle",
    )
    guidance: float | None = setting(
        None,
        "Classifier-free guidance of speech and identity; 1 is off and twice as fast.",
        minimum=0,
        maximum=30,
        none_word="bundle",
    )
    guidance_start: float = setting(
        0.0, "Guidance begins after this share of the steps.", minimum=0, maximum=1
    )
    guidance_stop: float = setting(1.0, "Guidance ends after this share of the steps.", minimum=0, maximum=1)
    deep_every: int = setting(
        1,
        "Run the deep layers only in every n-th step and reuse their features: faster.",
        minimum=1,
        maximum=1000,
    )
    clip_frames: int | None = setting(
        None,
        "Frames denoised together. Fewer need less memory. Numbers that the weights were not trained with "
        "may look worse.",
        minimum=1,
        maximum=1000,
        none_word="bundle",
    )
    pose_weight: float = setting(
        1.0, "How much speech moves the head and the background.", minimum=0, maximum=5
    )
    face_weight: float = setting(
        1.0, "How much speech moves the face around the mouth.", minimum=0, maximum=5
    )
    lip_weight: float = setting(1.0, "How much speech moves the lips.", minimum=0, maximum=5)
    fps: float = setting(25.0, "Frames per second.", minimum=1, maximum=120)
    size: int | None = setting(
        None,
        "Height and width of the generated square, in pixels.",
        minimum=64,
        maximum=2048,
        multiple_of=8,
        none_word="bundle",
    )
    start_s: float = setting(0.0, "Start of the speech in the recording, in seconds.", minimum=0)
    duration_s: float | None = setting(
        None, "Length of the speech to render, in seconds.", minimum=0.04, none_word="all"
    )
    framing: str = setting(
        "crop",
        "crop: a square around the face; head-and-shoulders: a wider square; full: the whole picture (up "
        "to 4096 pixels a side) with the face moving in it; whole: the picture squeezed into a square, as "
        "published.",
        choices=("crop", "head-and-shoulders", "full", "whole"),
    )
    canvas: str | None = setting(
        None,
        "Size or shape of the video, such as 9:16, 1080x1920 or square. The eyes are a third of the way "
        "down. Use it with --framing full.",
        none_word="framed",
        reads=canvas_size,
        means=MEANS,
    )
    fit: str = setting(
        "crop",
        "How the picture fills the canvas. crop: cut at the edges; pad: the whole picture on the background; "
        "blur: the whole picture on a blurred copy.",
        choices=("crop", "pad", "blur"),
    )
    background: str = setting(
        "black",
        "Background of --fit pad: a colour (black, white, green, #ff8800) or a picture.",
    )
    face_index: int | None = setting(
        None,
        "Which face to animate, counted from the left, from 0.",
        minimum=0,
        maximum=999,
        none_word="largest",
    )
    face_checks: str = setting(
        "strict",
        "strict: the face must be large, frontal and visible to the identity network; published: only warn, "
        "and let each network choose among several faces, as the published program does.",
        choices=("strict", "published"),
    )
    face_expand_ratio: float = setting(
        1.2, "Size of the face region, relative to the face's box.", minimum=0.5, maximum=3
    )
    audio_track: int | None = setting(
        None,
        "Which sound track of the file to use, counted from 0; speech: the one with the most speech.",
        minimum=0,
        maximum=999,
        none_word="speech",
    )
    separate_vocals: bool = setting(
        False, "Separate the voice from music and noise first (needs the separator of the official weights)."
    )
    silence_guard: bool = setting(
        True,
        "Silence noise between words, so that the mouth rests in pauses. The embedded model needs no guard.",
    )
    segment_s: float = setting(
        30.0, "Length of a segment, the resumable piece of a render, in seconds.", minimum=0.5, maximum=600
    )
    overlap_s: float = setting(
        2.0,
        "How much of the sound before and after a segment is analysed with it, in seconds.",
        minimum=0,
        maximum=60,
    )
    dtype: str = setting(
        "auto",
        "Number format of the networks; auto chooses the fastest safe one.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    compile: str = setting(
        "off",
        "Compile the denoising network, on CUDA as CUDA graphs: minutes before the first frame, other "
        "rounding. Measure it with hallo bench first.",
        choices=("off", "on"),
    )
    codec: str = setting(
        "libx264",
        "ffmpeg's video encoder. Outputs that end in .webm or .mov choose theirs, which keep transparency.",
        choices=("libx264", "libx265", "h264_nvenc", "hevc_nvenc", "libvpx-vp9", "prores_ks"),
    )
    crf: int = setting(18, "Quality of the video: 0 is lossless, 51 the worst.", minimum=0, maximum=51)
    audio_codec: str = setting(
        "auto",
        "auto: copy AAC, which every player plays, else encode; copy: also MP3, ALAC, AC-3, Opus.",
        choices=("auto", "copy", "aac"),
    )
    loudness: float | None = setting(
        None,
        "Loudness of the sound in LUFS (EBU R128), such as -16 for the web, -23 for broadcasting.",
        minimum=-50,
        maximum=-5,
        none_word="recorded",
    )
    subtitles: str | None = setting(
        None,
        "A .srt file of subtitles, timed like the recording.",
        none_word="none",
    )
    burn: bool = setting(
        False,
        "Draw the subtitles into the pictures (--burn), or add them as a track to switch on (--soft).",
        off_flag="--soft",
    )


@dataclass(frozen=True)
class RuntimeSettings:
    """How to get the same pixels on this machine; never part of a fingerprint."""

    device: str = setting("auto", "auto, cpu, cuda, cuda:1 or mps.")
    threads: int = setting(0, "CPU threads; 0 uses all cores.", minimum=0, maximum=1024)
    decode_chunk: int = setting(
        0, "Frames decoded at a time; 0 lets the device decide.", minimum=0, maximum=1024
    )
    decode_behind: str = setting(
        "auto",
        "Decode and encode a clip while the next one is denoised; auto: where that is faster.",
        choices=("auto", "on", "off"),
    )
    split_guidance: bool = setting(
        False, "Run the two halves of guidance one after the other: slower, less memory."
    )
    offload: bool = setting(
        False, "Keep networks in host memory until they are needed: slower, less GPU memory."
    )
    provenance: bool = setting(
        True, "Mark videos as made by AI, with a signature (C2PA); hallo verify checks it."
    )
    certificate: str | None = setting(
        None,
        "PEM file with the key and certificates that sign videos; own: this machine's own certificate.",
        none_word="own",
    )
    consent: str | None = setting(
        None,
        "CSV file of the portraits and voices that may be used (hallo consent); others are refused.",
        none_word="none",
    )
    name_consenters: bool = setting(False, "Put the names of those who consented into the video's mark.")
    speak: str | None = setting(
        None,
        "Command that speaks a text. {text} and {output} are filled in; without {text} it reads stdin.",
        none_word="none",
    )
    look_limit_s: float | None = setting(
        300.0,
        "Time limit for reading a picture or recording, in seconds; each MiB adds one.",
        minimum=1,
        maximum=1e6,
        none_word="none",
    )
