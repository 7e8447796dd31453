"""The figures of a video, and the order in which they are shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

LABELS = {
    "n_frames": "frames",
    "face_share": "frames with one face found (0..1)",
    "sync_correlation": "mouth opening against speech, best lag",
    "sync_lag": "lag of the mouth (frames)",
    "sync_at_zero": "mouth opening against speech, no lag",
    "sync_confidence": "sync confidence",
    "sync_c": "Sync-C, SyncNet's confidence",
    "sync_d": "Sync-D, SyncNet's distance",
    "syncnet_offset": "lag of the mouth by SyncNet (frames)",
    "silence_motion": "mouth motion in silence / in speech",
    "silence_change": "change of the mouth's pixels in silence / in speech",
    "silence_frames": "silent frames at least 0.2 s away from speech",
    "opening_range": "mouth opening, 5th to 95th percentile (of the face's height)",
    "blinks": "blinks",
    "identity": "identity against the portrait (1: the same)",
    "identity_kind": "identity measured by",
    "upper_face_ssim": "upper face against the portrait, SSIM",
    "background_ssim": "background against the portrait, SSIM",
    "background_change": "background change (grey levels)",
    "flicker": "flicker (grey levels)",
    "sharpness": "sharpness of the face / the portrait's",
    "drift_colour": "colour drift, last tenth to first (share)",
    "drift_sharpness": "sharpness drift (share)",
    "drift_identity": "identity drift (share)",
    "n_joins": "joins of clips",
    "seam_jump": "motion at joins / median inside",
    "seam_chance": "the same at other frames, 95th percentile",
    "seam_share": "the same at other frames, share as high (0..1)",
    "black_frames": "black frames",
    "frozen_frames": "frozen frames while speaking",
    "psnr": "PSNR to the true video (dB)",
    "ssim": "SSIM to the true video",
    "gmsd": "GMSD to the true video, a perceptual distance (0: equal)",
    "landmark_distance": "lip landmark distance to the true video (% of the face's height)",
    "truth_opening": "mouth opening against the true one, best lag",
    "truth_lag": "lag against the true video (frames)",
}


@dataclass(frozen=True)
class VideoFigures:
    """What was measured of one video; None if it could not be, with the reason in `notes`."""

    n_frames: int
    face_share: float
    sync_correlation: float | None = None
    sync_lag: int | None = None
    sync_at_zero: float | None = None
    sync_confidence: float | None = None
    sync_c: float | None = None
    sync_d: float | None = None
    syncnet_offset: int | None = None
    silence_motion: float | None = None
    silence_change: float | None = None
    silence_frames: int | None = None
    opening_range: float | None = None
    blinks: int | None = None
    identity: float | None = None
    identity_kind: str | None = None
    upper_face_ssim: float | None = None
    background_ssim: float | None = None
    background_change: float | None = None
    flicker: float | None = None
    sharpness: float | None = None
    drift_colour: float | None = None
    drift_sharpness: float | None = None
    drift_identity: float | None = None
    n_joins: int | None = None
    seam_jump: float | None = None
    seam_chance: float | None = None
    seam_share: float | None = None
    black_frames: int = 0
    frozen_frames: int = 0
    psnr: float | None = None
    ssim: float | None = None
    gmsd: float | None = None
    landmark_distance: float | None = None
    truth_opening: float | None = None
    truth_lag: int | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values for JSON."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """Label and formatted value of every figure that was measured, in reading order."""
        values = [(LABELS[f.name], getattr(self, f.name)) for f in fields(self) if f.name in LABELS]
        return [(label, _format(value)) for label, value in values if value is not None]


def _format(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
