"""How a video is encoded, as values: size, rate, codec, container; knows no decoder."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

ALPHA_CODECS = {"libvpx-vp9": "webm", "prores_ks": "mov"}  # with an alpha channel, and their containers


@dataclass(frozen=True)
class VideoFormat:
    """The settings of encoding."""

    width: int
    height: int
    fps: float
    codec: str = "libx264"
    crf: int = 18
    comment: str = ""  # a line of the finished file's metadata

    @property
    def rate(self) -> Fraction:
        """Frames a second as an exact fraction; 29.97 and the like mean 30000/1001."""
        return exact_rate(self.fps)

    @property
    def has_alpha(self) -> bool:
        """Whether frames have a fourth channel."""
        return self.codec in ALPHA_CODECS

    @property
    def container(self) -> str:
        """ffmpeg's name of the file format."""
        return ALPHA_CODECS.get(self.codec, "mp4")

    @property
    def timescale(self) -> int:
        """Clock ticks a second that every frame starts on."""
        numerator = self.rate.numerator
        return numerator * max(1, 12_000 // numerator)


def exact_rate(fps: float) -> Fraction:
    """Return a frame rate as a fraction; rounded broadcast rates such as 29.97 become 30000/1001."""
    broadcast = Fraction(round(fps * 1.001) * 1000, 1001)
    is_broadcast = fps != round(fps) and abs(float(broadcast) - fps) < 0.005
    return broadcast if is_broadcast else Fraction(fps).limit_denominator(1000)
