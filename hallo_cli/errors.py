"""The exceptions this package raises on purpose, and the exit status each one ends the command with.

HalloError (1)
├── SettingsError (2)        a flag, preset, config file or environment value
├── InputError (4)           something the user gave cannot be used
│   ├── PortraitError        the picture: unreadable, no face, too small, too much in profile
│   │   └── MissingFaceError it has fewer faces than --face-index or --face names
│   ├── SpeechError          the recording: unreadable, empty, too long
│   ├── ConsentError         the consent file does not allow the portrait or the voice
│   └── ManifestError        the batch's manifest or one of its rows
├── WeightsError (5)         a bundle or weights file is missing, broken or does not fit
├── DeviceMemoryError (6)    out of memory after every fallback
├── JobError (1)             the render itself failed
│   ├── OutputError          the result or the work folder cannot be written
│   │   └── FarFolderError   the store or server that takes the videos refuses, or cannot be reached
│   └── EncoderError         ffmpeg failed
└── Interrupted (130/143)    stopped by the user or the system; finished work is kept

A message says what was wrong (with the value), what was expected and what to do.
Any other exception is a bug.
"""

BUG_STATUS = 3


class HalloError(Exception):
    """Base of every error this package raises on purpose."""

    exit_status = 1


class SettingsError(HalloError):
    """A flag, preset, config file or environment value cannot be used."""

    exit_status = 2


class InputError(HalloError):
    """Something the user gave to be processed cannot be used."""

    exit_status = 4


class PortraitError(InputError):
    """The portrait cannot be used."""


class MissingFaceError(PortraitError):
    """The picture has fewer faces. Processes pass it on."""

    counted_from_1 = ""  # the reason as --face counts


class SpeechError(InputError):
    """The recording cannot be used."""


class ConsentError(InputError):
    """The consent file does not allow the portrait or the voice."""


class ManifestError(InputError):
    """The manifest of a batch, or one of its rows, cannot be used."""


class WeightsError(HalloError):
    """A bundle or a weights file is missing, broken or does not fit the networks."""

    exit_status = 5


class DeviceMemoryError(HalloError):
    """The device ran out of memory after every fallback."""

    exit_status = 6


class JobError(HalloError):
    """A render failed."""


class OutputError(JobError):
    """The result or the work folder cannot be written."""


class FarFolderError(OutputError):
    """The store or server that takes the videos refuses, or cannot be reached."""


class EncoderError(JobError):
    """ffmpeg failed."""


class Interrupted(HalloError):
    """The run was stopped; finished work was kept, and the same command resumes."""

    exit_status = 130

    def __init__(self, message: str, *, exit_status: int = 130) -> None:
        super().__init__(message)
        self.exit_status = exit_status
