"""The limits that the guides name."""

from pathlib import Path

import hallo_cli
from hallo_cli.media import kept_sounds, sound_track, stores

GUIDE = Path(hallo_cli.__file__).parent / "docs" / "sound.md"


def test_sound_takes_four_gibibytes_and_half_an_hour() -> None:
    assert kept_sounds.MAX_BYTES == 4 << 30
    assert stores.LONGEST_S == 30 * 60
    text = GUIDE.read_text(encoding="utf-8")
    assert "4 GiB" in text
    assert "30 minutes" in text


def test_recordings_are_twelve_hours_long_at_most() -> None:
    assert sound_track.MAX_DURATION_S == 12 * 3600
