"""The consents to a job's portrait and voice, and the mark of its video: signed, as made by AI."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.errors import ConsentError
from hallo_cli.media.files import shown
from hallo_cli.media.kept_sounds import sources_of
from hallo_cli.media.speaking import has_spoken, is_spoken
from hallo_cli.provenance import COMMENT
from hallo_cli.provenance.certificates import Identity, own_identity, read_identity
from hallo_cli.provenance.consent_file import Consent, Entry, read_entries
from hallo_cli.store.cache import at_home

if TYPE_CHECKING:
    from hallo_cli.jobs.inputs import SettledJob
    from hallo_cli.media.joining import FinishedVideo
    from hallo_cli.settings.schema import RuntimeSettings


@dataclass(frozen=True)
class Permission:
    """What the entries of a consent file permit."""

    file: Path

    def require_voice(self, spoken: Path) -> None:
        """Raise ConsentError, before a text is spoken, if its voice may not be used."""
        if is_spoken(spoken):
            self._spoken(spoken)

    def given(self, portrait: tuple[Path, str], audio: tuple[Path, str]) -> tuple[Consent, ...]:
        """The consents for a portrait and a recording: each a file and its SHA-256.

        Raises ConsentError if one is missing or has ended, SettingsError if the consent file cannot be read.
        """
        what = f"the portrait {shown(portrait[0])}"
        face = self._of_file(portrait[1], what, shown(portrait[0]))
        return (face.consent("portrait"), *(voice.consent("voice") for voice in self._voices(*audio)))

    def _voices(self, audio: Path, digest: str) -> Iterator[Entry]:
        listed = any(entry.sha256 == digest for entry in read_entries(self.file))
        if is_spoken(audio) and not listed:
            yield self._spoken(audio)
            return
        sources = sources_of(audio)
        if listed or not sources:
            yield self._of_file(digest, f"the recording {shown(audio)}", shown(audio))
            return
        for number, source in enumerate(sources, 1):
            yield self._of_file(source, f"recording {number} of {len(sources)}", "its file")

    def _of_file(self, digest: str, what: str, file: str) -> Entry:
        found = [entry for entry in read_entries(self.file) if entry.sha256 == digest]
        return self._valid(found, what, f"{file} --who NAME")

    def _spoken(self, audio: Path) -> Entry:
        found = [entry for entry in read_entries(self.file) if entry.speak and has_spoken(entry.speak, audio)]
        return self._valid(found, "the voice of the --speak command", "--speak COMMAND --who NAME")

    def _valid(self, found: Iterable[Entry], what: str, remedy: str) -> Entry:
        today = datetime.date.today()
        entries = sorted(found, key=lambda entry: entry.until or datetime.date.max)
        if not entries:
            raise ConsentError(
                f"{what} has no entry in {shown(self.file)}. If the person consents, add it with "
                f"`hallo consent add {shown(self.file)} {remedy}`."
            )
        if not entries[-1].is_valid(today):
            raise ConsentError(
                f"the consent for {what} ended on {entries[-1].until} (in {shown(self.file)}). If the person "
                f"consents again, add it with `hallo consent add {shown(self.file)} {remedy}`."
            )
        return entries[-1]


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

    def consents(self, job: SettledJob) -> tuple[Consent, ...]:
        """The consents for a job's portrait and voice. Raises ConsentError, SettingsError."""
        if self.permission is None:
            return ()
        return self.permission.given((job.portrait, job.inputs.portrait), (job.audio, job.inputs.audio))

    def put(self, video: FinishedVideo, job: SettledJob) -> FinishedVideo:
        """Sign a finished video, in its place. Raises ConsentError, SettingsError or OutputError.

        A .webm holds no mark: the video comes with one that goes beside it.
        """
        given, inputs = self.consents(job), job.inputs
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
