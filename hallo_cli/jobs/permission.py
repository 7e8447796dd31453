"""Asks the consent file whether a job's portrait and voice may be used."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hallo_cli.errors import ConsentError
from hallo_cli.media.files import shown
from hallo_cli.media.kept_sounds import has_spoken, is_spoken, sources_of
from hallo_cli.provenance.consent_file import Consent, Entry, read_entries


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
