"""Marks a job's finished video as made by AI: the signer, the listed ingredients and the consent."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.jobs.permission import Permission
from hallo_cli.provenance import COMMENT
from hallo_cli.provenance.certificates import Identity, own_identity, read_identity
from hallo_cli.provenance.consent_file import Consent, read_entries
from hallo_cli.store.cache import at_home

if TYPE_CHECKING:
    from hallo_cli.jobs.inputs import Inputs
    from hallo_cli.jobs.plan import Job
    from hallo_cli.media.joining import FinishedVideo
    from hallo_cli.settings.schema import RuntimeSettings


@dataclass(frozen=True)
class Marking:
    """How a finished video is marked as made by AI."""

    is_wanted: bool = False
    certificate: Path | None = None  # None: this machine's own
    permission: Permission | None = None  # None: everything may be used
    names_people: bool = False  # say who consented

    @classmethod
    def of(cls, runtime: RuntimeSettings) -> Marking:
        """The marking that the settings ask for."""
        return cls(
            runtime.provenance,
            Path(runtime.certificate) if runtime.certificate else None,
            Permission(at_home(Path(runtime.consent))) if runtime.consent else None,
            runtime.name_consenters,
        )

    @property
    def comment(self) -> str:
        """The plain line in the file's metadata."""
        return COMMENT if self.is_wanted else ""

    def require(self) -> None:
        """Raise SettingsError if a video could not be signed, or the consent file not be read.

        Call it before anything is rendered.
        """
        if self.permission:
            read_entries(self.permission.file)
        if self.is_wanted:
            from hallo_cli.provenance.marks import require_usable

            require_usable(self._identity())

    def consents(self, job: Job, inputs: Inputs) -> tuple[Consent, ...]:
        """The consents for a job's portrait and voice. Raises ConsentError, SettingsError."""
        if self.permission is None:
            return ()
        return self.permission.given((job.portrait, inputs.portrait), (job.audio, inputs.audio))

    def put(self, video: FinishedVideo, job: Job, inputs: Inputs) -> FinishedVideo:
        """Sign a finished video, in its place. Raises ConsentError, SettingsError or OutputError.

        A .webm holds no mark: the video comes with one that goes beside it.
        """
        given = self.consents(job, inputs)
        if not self.is_wanted:
            return video
        from hallo_cli.provenance.marks import Claim, sign_video

        identity = self._identity()
        consents = given if self.names_people else tuple(dataclasses.replace(one, who="") for one in given)
        claim = Claim(inputs.fingerprint, inputs.portrait, inputs.audio, inputs.weights_id, consents)
        mark = sign_video(video.file, claim, identity)
        return dataclasses.replace(video, mark=mark, signed_by=identity.digest)

    def _identity(self) -> Identity:
        return read_identity(self.certificate) if self.certificate else own_identity()


UNMARKED = Marking()
