"""No character of a stranger's text does anything but show itself."""

import logging

import pytest

from hallo_cli.errors import PrintableFormatter, printable

HARMFUL = [*map(chr, range(0x20)), "\x7f", *map(chr, range(0x80, 0xA0)), *"\u2028\u2029\u200e\u200f\u061c"]
HARMFUL += [
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
    "\ufeff",
    "\u00ad",
    "\U000e0041",
]


@pytest.mark.parametrize("character", HARMFUL, ids=lambda c: f"U+{ord(c):04X}")
def test_every_control_character_is_shown_as_its_code(character: str) -> None:
    shown = printable(f"a{character}b")
    assert character not in shown
    assert shown.startswith("a\\")
    assert shown.isprintable()


@pytest.mark.parametrize("text", ["Zoë", "日本語　名前", "नमस्ते\u200d", "👩\u200d🚀", "a b", "C:\\x [red]{}"])
def test_names_of_all_languages_stay_as_they_are(text: str) -> None:
    assert printable(text) == text


def test_bytes_that_are_not_utf8_are_shown_and_kept_for_programs() -> None:
    name = b"caf\xe9\x1b".decode("utf-8", "surrogateescape")
    assert printable(name) == "caf\\xe9\\x1b"
    assert printable(name, keeps_bytes=True) == "caf\udce9\\x1b"


def test_log_records_cannot_forge_lines_nor_move_the_cursor() -> None:
    formatter = PrintableFormatter("hallo: %(message)s")
    try:
        raise ValueError("\x1b[2Jgone\nhallo: all is well")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("n", logging.ERROR, "f", 1, "row %s", ("x\nhallo: row y done\u202e",), info)
    first, *rest = formatter.format(record).split("\n")
    assert first == "hallo: row x\\nhallo: row y done\\u202e"
    assert rest
    assert all(line.startswith("  ") for line in rest)
    assert "\x1b" not in "".join(rest)
