"""The figures of a video, and the order in which they are shown."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any


def _figure(label: str, default: object = None) -> Any:
    return field(default=default, metadata={"label": label})


@dataclass(frozen=True)
class VideoFigures:
    """What was measured of one video; None if it could not be, with the reason in `notes`."""

    n_frames: int = _figure("frames", MISSING)
    face_share: float = _figure("frames with one face found (0..1)", MISSING)
    sync_correlation: float | None = _figure("mouth opening against speech, best lag")
    sync_lag: int | None = _figure("lag of the mouth (frames)")
    sync_at_zero: float | None = _figure("mouth opening against speech, no lag")
    sync_confidence: float | None = _figure("sync confidence")
    sync_c: float | None = _figure("Sync-C, SyncNet's confidence")
    sync_d: float | None = _figure("Sync-D, SyncNet's distance")
    syncnet_offset: int | None = _figure("lag of the mouth by SyncNet (frames)")
    silence_motion: float | None = _figure("mouth motion in silence / in speech")
    silence_change: float | None = _figure("change of the mouth's pixels in silence / in speech")
    silence_frames: int | None = _figure("silent frames at least 0.2 s away from speech")
    opening_range: float | None = _figure("mouth opening, 5th to 95th percentile (of the face's height)")
    blinks: int | None = _figure("blinks")
    identity: float | None = _figure("identity against the portrait (1: the same)")
    identity_kind: str | None = _figure("identity measured by")
    upper_face_ssim: float | None = _figure("upper face against the portrait, SSIM")
    background_ssim: float | None = _figure("background against the portrait, SSIM")
    background_change: float | None = _figure("background change (grey levels)")
    flicker: float | None = _figure("flicker (grey levels)")
    sharpness: float | None = _figure("sharpness of the face / the portrait's")
    drift_colour: float | None = _figure("colour drift, last tenth to first (share)")
    drift_sharpness: float | None = _figure("sharpness drift (share)")
    drift_identity: float | None = _figure("identity drift (share)")
    n_joins: int | None = _figure("joins of clips")
    seam_jump: float | None = _figure("motion at joins / median inside")
    seam_chance: float | None = _figure("the same at other frames, 95th percentile")
    seam_share: float | None = _figure("the same at other frames, share as high (0..1)")
    black_frames: int = _figure("black frames", 0)
    frozen_frames: int = _figure("frozen frames while speaking", 0)
    psnr: float | None = _figure("PSNR to the true video (dB)")
    ssim: float | None = _figure("SSIM to the true video")
    gmsd: float | None = _figure("GMSD to the true video, a perceptual distance (0: equal)")
    landmark_distance: float | None = _figure(
        "lip landmark distance to the true video (% of the face's height)"
    )
    truth_opening: float | None = _figure("mouth opening against the true one, best lag")
    truth_lag: int | None = _figure("lag against the true video (frames)")
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values for JSON."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """Label and formatted value of every figure that was measured, in reading order."""
        values = [(f.metadata.get("label"), getattr(self, f.name)) for f in fields(self)]
        return [(label, _format(value)) for label, value in values if label and value is not None]


def _format(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
