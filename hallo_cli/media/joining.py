"""Joins segments into the finished video, adds the recording once, and checks the result.

Only sound that cannot be copied is encoded again.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np

from hallo_cli.errors import EncoderError, InputError, SettingsError, SpeechError
from hallo_cli.media.audio import read_sound
from hallo_cli.media.ffmpeg import DETERMINISTIC, address, run
from hallo_cli.media.files import reason_of, shown
from hallo_cli.media.pcm import copy_track, pcm
from hallo_cli.media.probe import DECODING_ERRORS, MediaInfo, open_media, probe
from hallo_cli.media.sound_track import Stretch, no_sound
from hallo_cli.media.video import clock_of
from hallo_cli.media.video_format import VideoFormat
from hallo_cli.store.writing import PartFile, reporting_write_errors, write_whole

ENCODINGS: dict[str, dict[str, Any]] = {
    "aac": {"acodec": "aac", "audio_bitrate": "192k"},
    "opus": {"acodec": "libopus", "audio_bitrate": "160k", "ar": 48_000},
}
COPYABLE = frozenset({"aac", "ac3", "eac3", "alac", "mp3", "opus"})  # sound that MP4 can hold
# Codecs that Windows, macOS, phones and browsers all play in an MP4; QuickTime does not play MP3 there.
PLAYABLE = frozenset({("aac", "LC"), ("aac", "HE-AAC"), ("aac", "HE-AACv2")})
OPUS_PACKET_S = 0.02  # the last one may be filled up
COMPARED_S = 10.0  # largest difference of a copied sound to the analysed one
MAX_SHIFT_S = 0.005

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sound:
    """The recording to add to the video."""

    file: Path
    stretch: Stretch = field(default_factory=Stretch)  # the part of the file that is heard
    codec: str = "auto"  # auto, copy or aac; WebM has Opus always


@dataclass(frozen=True)
class FinishedVideo:
    """A joined video that was checked."""

    file: Path
    info: MediaInfo
    sound: str  # how it was added: none, copy, aac, opus
    signed_by: str = ""  # SHA-256 of the certificate that signed it as made by AI
    mark: bytes = b""  # the signature, if it goes beside the video


def assemble(
    segments: Sequence[Path],
    output: Path,
    *,
    video: VideoFormat,
    sound: Sound | None = None,
) -> FinishedVideo:
    """Join segments without re-encoding, add the original sound once, and check the result.

    The output gets its final name only when it is complete, has all frames, and picture and sound end within
    one frame of each other. Raises EncoderError, OutputError, InputError.
    """
    expected = sum(_n_frames(segment) for segment in segments)
    names = segments[0].with_name("segments.txt")
    write_whole(names, "".join(map(_concat_line, segments)).encode())
    try:
        with reporting_write_errors(output), PartFile(output) as part:
            joined = _joined(names, part.path, video, sound, expected)
            part.commit()
    finally:
        names.unlink(missing_ok=True)
    return dataclasses.replace(joined, file=output)


def _concat_line(segment: Path) -> str:
    if set(segment.name) & set("'\\\n\r"):
        raise ValueError(f"segment names must be plain, not {segment.name!r}")
    return f"file '{segment.name}'\n"


def _joined(names: Path, part: Path, video: VideoFormat, sound: Sound | None, n_frames: int) -> FinishedVideo:
    """Write `part` and check it; if a copied sound does not fit the video, encode the sound instead."""
    problem = ""
    modes = sound_modes(sound, video.container)
    for mode in modes:
        try:
            _join(names, part, video, (sound, mode), n_frames)
        except EncoderError as error:  # such as sound at a rate that MP4 does not take
            if mode == modes[-1]:
                raise
            log.info("not joined with sound %s: %s", mode, error)
            continue
        info = probe(part, what="result")
        problem = _pictures_problem(info, video, n_frames)
        if not problem and sound is not None:
            problem = _length_problem(part, info, video)
        if not problem and sound is not None and mode == "copy":
            problem = _copying_problem(part, sound)
        if not problem:
            return FinishedVideo(part, info, mode)
        log.info("joined with sound %s: %s", mode, problem)
    raise EncoderError(f"The joined video is wrong: {problem}. Try --audio-codec aac or another ffmpeg.")


def sound_modes(sound: Sound | None, container: str = "mp4") -> tuple[str, ...]:
    """Return the ways to add the sound, to be tried in turn: none, copy, aac, opus.

    Raises SettingsError if the sound cannot be copied as wanted, SpeechError if there is none.
    """
    if sound is None:
        return ("none",)
    track = probe(sound.file, what="recording", error=SpeechError, audio_track=sound.stretch.track).audio
    if track is None:
        raise SpeechError(no_sound(sound.file))
    if container == "webm":
        return ("opus",)
    is_whole = sound.stretch == Stretch(track=sound.stretch.track)
    can_copy = is_whole and track.codec in COPYABLE
    is_playable = is_whole and (track.codec, track.profile) in PLAYABLE
    if sound.codec == "copy" and not can_copy:
        reason = f"MP4 cannot hold {track.codec}" if is_whole else "a part cannot be cut out exactly"
        raise SettingsError(
            f"The sound of {shown(sound.file)} cannot be copied: {reason}. Use --audio-codec aac."
        )
    modes = {"copy": ("copy",), "aac": ("aac",), "auto": ("copy", "aac") if is_playable else ("aac",)}
    return modes[sound.codec]


def _join(
    names: Path, part: Path, video: VideoFormat, heard: tuple[Sound | None, str], n_frames: int
) -> None:
    """Have ffmpeg mux frames and sound; the sound comes as samples or as a copy made by us."""
    sound, mode = heard
    length_s = float(n_frames / video.rate)
    # by its bare name: ffmpeg finds the segments beside it, and takes a # in an address for its end
    pictures = ffmpeg.input(f"file:{names.name}", format="concat", safe=1)["v"]
    options: dict[str, Any] = {
        "vcodec": "copy",
        **clock_of(video),
        **({"movflags": "+faststart"} if video.container != "webm" else {"metadata:s:v:0": "alpha_mode=1"}),
    } | DETERMINISTIC
    options["format"] = video.container
    if video.comment:
        options["metadata"] = f"comment={video.comment}"
    if sound is None:
        run(ffmpeg.output(pictures, address(part), **options), cwd=names.parent)
    elif mode == "copy":
        copied = names.with_name("sound.mp4")
        options |= {"acodec": "copy", "t": length_s}
        try:
            recording = copy_track(sound.file, copied, sound.stretch.track)
            run(ffmpeg.output(pictures, recording, address(part), **options), cwd=names.parent)
        finally:
            copied.unlink(missing_ok=True)
    else:
        with pcm(sound.file, sound.stretch) as samples:
            streams = (pictures, samples.as_input())
            encoding = ffmpeg.output(*streams, address(part), **ENCODINGS[mode], **options)
            run(encoding, cwd=names.parent, feed=samples.blocks(length_s=length_s))


def _pictures_problem(info: MediaInfo, video: VideoFormat, n_frames: int) -> str:
    """Return what is wrong with a joined file's pictures, or nothing."""
    if info.video is None or info.video.n_frames != n_frames:
        return f"it has {info.video.n_frames if info.video else 0} frames instead of {n_frames}"
    frame_s = float(1 / video.rate)
    if abs(info.video.duration_s - n_frames * frame_s) > frame_s:
        return f"its picture lasts {info.video.duration_s:.3f} s instead of {n_frames * frame_s:.3f} s"
    return ""


def _length_problem(part: Path, info: MediaInfo, video: VideoFormat) -> str:
    """Return how the sound's length differs from the picture's, or nothing."""
    assert info.video is not None
    leeway_s = float(1 / video.rate) + 1e-6
    heard_s = info.audio.duration_s if info.audio else None
    if info.audio and heard_s is None:  # WebM does not say
        heard_s, leeway_s = _sound_end_s(part), leeway_s + OPUS_PACKET_S
    if heard_s is None or abs(heard_s - info.video.duration_s) > leeway_s:
        return f"its sound lasts {heard_s} s and its picture {info.video.duration_s:.3f} s"
    return ""


def _sound_end_s(file: Path) -> float:
    with open_media(file) as container:
        stream = container.streams.audio[0]
        ends = (
            (packet.pts or 0) + (packet.duration or 0) for packet in container.demux(stream) if packet.size
        )
        return max(ends, default=0) * float(stream.time_base or 0)


def _copying_problem(part: Path, sound: Sound) -> str:
    """Return how the copied sound's timing differs from the analysed one's, or nothing.

    Analysis takes sound as continuous from its first sample; players go by the timestamps that were copied.
    """
    try:
        start_s, gap_s = _timing(part)
        analysed = read_sound(sound.file, Stretch(duration_s=COMPARED_S, track=sound.stretch.track))
        heard = read_sound(part, Stretch(duration_s=COMPARED_S))
    except (*DECODING_ERRORS, InputError) as error:
        return f"its sound cannot be read ({reason_of(error)})"
    n = min(len(analysed), len(heard))
    difference = float(np.square(analysed[:n] - heard[:n]).mean())
    if abs(start_s) > MAX_SHIFT_S or difference > 0.01 * float(np.square(analysed[:n]).mean()) + 1e-8:
        return "its sound would play at another time than in the analysis"
    return f"its sound has a gap of {gap_s:.3f} s" if gap_s > MAX_SHIFT_S else ""


def _timing(file: Path) -> tuple[float, float]:
    """Return the start of a video's sound, and its longest gap, in seconds."""
    with open_media(file) as container:
        stream = container.streams.audio[0]
        tick_s = float(stream.time_base or 0)
        # A gap shows as a packet that lasts longer than the others.
        lasting = sorted((packet.duration or 0) for packet in container.demux(stream) if packet.size)
        return (stream.start_time or 0) * tick_s, (lasting[-1] - lasting[len(lasting) // 2]) * tick_s


def _n_frames(segment: Path) -> int:
    track = probe(segment, what="segment").video
    return track.n_frames if track else 0
