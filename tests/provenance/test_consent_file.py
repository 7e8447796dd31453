import datetime
from pathlib import Path

import pytest

from hallo_cli.errors import SettingsError
from hallo_cli.provenance.consent_file import Entry, read_entries, write_entries

DIGEST = "ab" * 32
ANNA = Entry("Anna Berg", DIGEST, until=datetime.date(2027, 12, 31), note="contract 7", file="anna.jpg")
VOICE = Entry("Voices Ltd, London", speak="say -o {output} -- {text}")


def test_entries_survive_being_written_and_read(tmp_path: Path) -> None:
    write_entries(tmp_path / "consent.csv", [ANNA, VOICE])
    assert read_entries(tmp_path / "consent.csv") == (ANNA, VOICE)


def test_file_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    text = f"\ufeffWho;SHA256;Until\r\nAnna Berg;{DIGEST.upper()};2027-12-31\r\n;;\r\n"
    (tmp_path / "consent.csv").write_bytes(text.encode())
    (entry,) = read_entries(tmp_path / "consent.csv")
    assert (entry.who, entry.sha256, entry.until) == ("Anna Berg", DIGEST, datetime.date(2027, 12, 31))


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    write_entries(tmp_path / "consent.csv", [ANNA])
    read_entries(tmp_path / "consent.csv")
    write_entries(tmp_path / "consent.csv", [ANNA, VOICE])
    assert len(read_entries(tmp_path / "consent.csv")) == 2


def test_consent_holds_through_its_last_day() -> None:
    assert ANNA.is_valid(datetime.date(2027, 12, 31))
    assert not ANNA.is_valid(datetime.date(2028, 1, 1))
    assert VOICE.is_valid(datetime.date(9999, 12, 31))


def test_digest_of_an_entry_changes_with_what_it_says() -> None:
    assert len({ANNA.digest, VOICE.digest, Entry("Anna Berg", DIGEST).digest}) == 3
    assert Entry("Anna Berg", DIGEST, file="a.jpg").digest == Entry("Anna Berg", DIGEST).digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must name the columns"),
        (f"who,portrait\nAnna,{DIGEST}\n", "column 'portrait' is unknown"),
        (f"who,who,sha256\nAnna,A,{DIGEST}\n", "column 'who' is unknown or repeated"),
        ("who,until\nAnna,2027-01-01\n", "must name the columns"),
        (f"sha256\n{DIGEST}\n", "must name the columns"),
        (f"who,sha256\n,{DIGEST}\n", "line 2 does not say who"),
        ("who,sha256\nAnna,anna.jpg\n", "line 2: sha256 'anna.jpg' is not 64"),
        (f"who,sha256\nAnna,{DIGEST},9\n", "line 2 has more"),
        (f"who,sha256,until\nAnna,{DIGEST},31.12.2027\n", "line 2: until '31.12.2027' is not a date"),
        (f"who,sha256,until\nAnna,{DIGEST},2027-02-30\n", "'2027-02-30' is not a day"),
        (f"who,sha256,speak\nAnna,{DIGEST},say\n", "either sha256 or speak"),
        ("who,sha256\n\x1b[1m,a\n", "line 2"),
    ],
)
def test_what_is_no_consent_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "consent.csv").write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_entries(tmp_path / "consent.csv")
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"who,sha256\n\xff\xfe", b"who,sha256\n" + b'"' + b"x" * 200_000])
def test_binary_and_endless_cells_are_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "consent.csv").write_bytes(content)
    with pytest.raises(SettingsError, match="cannot be used"):
        read_entries(tmp_path / "consent.csv")


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read_entries(tmp_path / "gone.csv")
