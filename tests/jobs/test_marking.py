import datetime
import shlex
import sys
from pathlib import Path

import pytest
from job_doubles import TrivialEngine

from hallo_cli.errors import ConsentError, SettingsError
from hallo_cli.jobs.marking import Marking, Permission
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import RunOptions, run_job
from hallo_cli.jobs.verification import verify
from hallo_cli.media.composing import composed
from hallo_cli.media.speaking import speak
from hallo_cli.provenance.consent_file import Consent, Entry, write_entries
from hallo_cli.store.digests import file_digest

TODAY = datetime.date.today()
YESTERDAY, TOMORROW = TODAY - datetime.timedelta(days=1), TODAY + datetime.timedelta(days=1)
SILENCE = """
import sys, wave
with wave.open(sys.argv[1], "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    file.writeframes(bytes(16000))
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))


def obeying(job: Job, *entries: Entry, names_people: bool = False) -> Marking:
    """Marking with a consent file of these entries."""
    file = job.output.with_name("consent.csv")
    write_entries(file, entries)
    return Marking(is_wanted=True, permission=Permission(file), names_people=names_people)


def of(file: Path, until: datetime.date | None = None) -> Entry:
    return Entry("Anna Berg", file_digest(file), until=until)


def given(job: Job, audio: Path, *entries: Entry) -> list[str]:
    permission = obeying(job, *entries).permission
    found = permission.given((job.portrait, file_digest(job.portrait)), (audio, file_digest(audio)))
    return [one.of for one in found]


def test_entry_without_end_counts_beside_one_that_has_ended(job: Job) -> None:
    lasting = Entry("Ben", file_digest(job.portrait))
    assert given(job, job.audio, of(job.portrait, YESTERDAY), lasting, of(job.audio)) == ["portrait", "voice"]


def test_consented_job_is_rendered_and_its_mark_says_so_without_names(job: Job) -> None:
    face, voice = of(job.portrait, TOMORROW), of(job.audio)
    run_job(job, TrivialEngine(), options=RunOptions(marking=obeying(job, face, voice)))
    mark = verify(job.output).mark
    assert mark is not None
    assert mark.claim is not None
    assert mark.claim.consents == (
        Consent("portrait", face.digest, TOMORROW.isoformat()),
        Consent("voice", voice.digest),
    )
    assert b"Anna Berg" not in job.output.read_bytes()


def test_names_are_in_the_mark_if_asked(job: Job) -> None:
    marking = obeying(job, of(job.portrait), of(job.audio), names_people=True)
    run_job(job, TrivialEngine(), options=RunOptions(marking=marking))
    mark = verify(job.output).mark
    assert mark is not None
    assert mark.claim is not None
    assert [consent.who for consent in mark.claim.consents] == ["Anna Berg", "Anna Berg"]


def test_missing_and_ended_consents_are_told_before_rendering(job: Job) -> None:
    face, voice, past = of(job.portrait), of(job.audio, TODAY), of(job.audio, YESTERDAY)
    for entries, said in (
        ([voice], r"portrait .*face\.png' has no entry"),
        ([face], r"recording .*speech\.wav' has no entry"),
        ([face, past], rf"recording .*speech\.wav' ended on {YESTERDAY}"),
    ):
        engine = TrivialEngine()
        with pytest.raises(ConsentError, match=said) as caught:
            run_job(job, engine, options=RunOptions(marking=obeying(job, *entries)))
        assert "hallo consent add" in str(caught.value)
        assert engine.clips_rendered == []
    assert given(job, job.audio, face, past, voice) == ["portrait", "voice"]


def test_changed_file_has_no_consent(job: Job) -> None:
    entries = [of(job.portrait), of(job.audio)]
    job.portrait.write_bytes(job.portrait.read_bytes() + b"\0")
    with pytest.raises(ConsentError, match="portrait"):
        given(job, job.audio, *entries)


def test_each_of_several_recordings_needs_consent(job: Job, tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(job.audio.read_bytes())
    with other.open("ab") as file:
        file.write(b"\0\0")
    joined = composed([job.audio, other])
    face = of(job.portrait)
    assert given(job, joined, face, of(job.audio), of(other)) == ["portrait", "voice", "voice"]
    with pytest.raises(ConsentError, match="recording 2 of 2 has no entry"):
        given(job, joined, face, of(job.audio))


def test_spoken_text_needs_consent_for_its_command(job: Job, tmp_path: Path) -> None:
    (tmp_path / "silence.py").write_text(SILENCE)
    command = shlex.join([sys.executable, str(tmp_path / "silence.py"), "{output}", "{text}"])
    spoken = speak("Good morning", command)
    face = of(job.portrait)
    assert given(job, spoken, face, Entry("Voices Ltd", speak=command)) == ["portrait", "voice"]
    assert given(job, spoken, face, of(spoken)) == ["portrait", "voice"]
    with pytest.raises(ConsentError, match="the voice of the --speak command has no entry"):
        given(job, spoken, face, Entry("Voices Ltd", speak=f"{command} --other-voice"))
    with pytest.raises(ConsentError, match="--speak COMMAND"):
        given(job, spoken, face)


def test_recording_is_no_synthetic_voice(job: Job) -> None:
    with pytest.raises(ConsentError, match="recording"):
        given(job, job.audio, of(job.portrait), Entry("Voices Ltd", speak="say -o {output}"))


def test_unreadable_consent_file_is_told_before_rendering(job: Job) -> None:
    marking = Marking(permission=Permission(job.output.with_name("gone.csv")))
    with pytest.raises(SettingsError, match=r"gone\.csv"):
        run_job(job, TrivialEngine(), options=RunOptions(marking=marking))
    assert not job.output.exists()
