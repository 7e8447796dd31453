"""Marks a job's finished video as made by AI: the signer and the listed ingredients."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from hallo_cli.jobs.record import Inputs
from hallo_cli.media.joining import FinishedVideo
from hallo_cli.provenance import COMMENT
from hallo_cli.provenance.certificates import Identity, own_identity, read_identity
from hallo_cli.settings.schema import RuntimeSettings


@dataclass(frozen=True)
class Marking:
    """How a finished video is marked as made by AI."""

    is_wanted: bool = False
    certificate: Path | None = None  # None: this machine's own

    @classmethod
    def of(cls, runtime: RuntimeSettings) -> Marking:
        """The marking that the settings ask for."""
        return cls(runtime.provenance, Path(runtime.certificate) if runtime.certificate else None)

    @property
    def comment(self) -> str:
        """The plain line in the file's metadata."""
        return COMMENT if self.is_wanted else ""

    def require(self) -> None:
        """Raise SettingsError if a video could not be signed; call it before anything is rendered."""
        if self.is_wanted:
            from hallo_cli.provenance.marks import require_usable

            require_usable(self._identity())

    def put(self, video: FinishedVideo, inputs: Inputs) -> FinishedVideo:
        """Sign a finished video, in its place. Raises SettingsError or OutputError."""
        if not self.is_wanted:
            return video
        from hallo_cli.provenance.marks import Claim, sign_video

        identity = self._identity()
        claim = Claim(inputs.fingerprint, inputs.portrait, inputs.audio, inputs.weights_id)
        sign_video(video.file, claim, identity)
        return dataclasses.replace(video, signed_by=identity.digest)

    def _identity(self) -> Identity:
        return read_identity(self.certificate) if self.certificate else own_identity()


UNMARKED = Marking()
