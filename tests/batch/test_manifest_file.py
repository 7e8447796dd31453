"""What a manifest may look like, and what is said of one that may not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from manifest_rows import LAYOUT, only, only_bad, rows_of

from hallo_cli.batch.manifest_file import read_manifest
from hallo_cli.batch.places import Layout
from hallo_cli.batch.rows import BadRow, Row
from hallo_cli.errors import ManifestError


def test_csv_row_gets_absolute_paths_and_parsed_settings() -> None:
    row = only("id,portrait,audio,seed,pose-weight,preset\na,p/x.png,s.wav,7,0.5,still\n")
    assert row == Row(
        2, "a", Path("/in/p/x.png"), Path("/in/s.wav"), Path("/out/a.mp4"), "still",
        {"seed": 7, "pose_weight": 0.5},
    )  # fmt: skip


def test_json_line_means_the_same_as_a_csv_row() -> None:
    cells = {"id": "a", "portrait": "p.png", "audio": "s.wav", "seed": 7, "pose-weight": 0.5}
    as_csv = only("id,portrait,audio,seed,pose_weight\na,p.png,s.wav,7,0.5\n")
    as_json = only("\n" + json.dumps(cells) + "\n")
    assert as_json == as_csv


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfportrait,audio\r\np.png,s.wav\r\n",
        b"portrait;audio\np.png;s.wav",
        b"audio\tportrait\ns.wav\tp.png\n",
        b'"portrait","audio"\n"p.png","s.wav"\n',
        b"\n\nportrait,audio,,\n\np.png,s.wav,,\n\n",
        b'\xef\xbb\xbf{"portrait": "p.png", "audio": "s.wav", "seed": null}\r\n',
        b"sep=;\r\nportrait;audio\r\np.png;s.wav\r\n",
        b'\xef\xbb\xbf"sep=\t"\r\nportrait\taudio\r\np.png\ts.wav\r\n',
        b"sep=|\nportrait|audio\np.png|s.wav\n",
        "portrait,audio\np.png,s.wav\n".encode("utf-16"),
        "portrait\taudio\r\np.png\ts.wav\r\n".encode("utf-16-le"),
        "portrait,audio\r\np.png,s.wav".encode("utf-16-be"),
        '{"portrait": "p.png", "audio": "s.wav"}'.encode("utf-16"),
        b"portrait,audio\rp.png,s.wav\r",
        b"portrait, audio\np.png, s.wav\n",
        b' "portrait", "audio"\n "p.png", "s.wav"\n',
        "portrait ;\u00a0audio\np.png\u00a0; s.wav \n".encode(),
        b"Portrait,AUDIO\np.png,s.wav\n",
        b'{"Portrait": "p.png", "Audio": "s.wav"}\n',
    ],
)
def test_manifest_in_every_usual_dress_reads_the_same(text: bytes) -> None:
    row = only(text)
    assert (row.portrait, row.audio, row.id) == (Path("/in/p.png"), Path("/in/s.wav"), "p_s")


def test_unicode_names_commas_and_quotes_survive() -> None:
    row = only('portrait,audio\n"Zoë, ""die"" Große.png",слово.wav\n')
    assert row.portrait.name == 'Zoë, "die" Große.png'
    assert row.output == Path("/out/Zoë, -die- Große_слово.mp4")


def test_id_left_out_tells_rows_with_other_settings_apart() -> None:
    rows = rows_of("portrait,audio,seed\np.png,s.wav,1\np.png,s.wav,2\n")
    assert [row.id for row in rows] == ["p_s_seed=1", "p_s_seed=2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("portrait,audoi\n", "unknown column 'audoi'. Did you mean 'audio'"),
        ("portrait,seed\n", "lacks audio"),
        ("portrait,audio,audio\n", "names 'audio' twice"),
        ('portrait,audio,"id\n', "first line is not CSV"),
        ('[{"portrait": "p"}]', "JSON array"),
        (
            b"portrait,audio\np,\x81\n",
            "line 2 of the manifest is neither UTF-8 nor Windows-1252; save it as UTF-8",
        ),
        ("portrait,audio\n".encode("utf-16") + b"x", "damaged UTF-16"),
        ("portrait,audio\n".encode("utf-32"), "UTF-32"),
        (b"portrait,audio\np\x00,s\n", "line 2 of the manifest holds a zero byte"),
        (b"portrait,audio\n" + b"x" * (2 << 20), "line 2 of the manifest is longer than 1 MiB"),
    ],
)
def test_file_that_is_no_manifest_is_refused_as_a_whole(text: str | bytes, message: str) -> None:
    with pytest.raises(ManifestError, match=message.replace("[", r"\[")):
        rows_of(text)


def test_manifest_of_an_older_spreadsheet_is_read_as_windows_1252_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = "id;portrait;audio\n1;Jörg.png;s.wav\n2;Zoë – “x”.png;s.wav\n"
    rows = rows_of(text.encode("cp1252"))
    assert [row.portrait.name for row in rows if isinstance(row, Row)] == ["Jörg.png", "Zoë – “x”.png"]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "line 2 of the manifest is not UTF-8"
    ]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("-", "reads nothing from standard input"),
        ("rtsp://a.example//b.wav", "'rtsp://a.example//b.wav': only https, http, s3, gs"),
    ],
)
def test_recording_of_a_row_that_is_no_file_of_this_machine_is_told_as_written(cell: str, said: str) -> None:
    (row,) = rows_of(f"portrait,audio\np.png,{cell}\n")
    assert isinstance(row, BadRow)
    assert said in row.message


def test_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none\.csv cannot be read: No such file"):
        list(read_manifest(tmp_path / "none.csv", LAYOUT))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("p,", "audio is empty"),
        ("p,s,,,-1", "seed: '-1' is not a whole number from 0"),
        (f"p,s,,,1{'0' * 400}", "is not a whole number from 0"),
        ("p,s,a/b", "cannot be part of a file's name"),
        ("p,s,..", "cannot be part of a file's name"),
        (f"p,s,{'x' * 300}", "longer than 200 bytes"),
        ("p,s,,v.avi", "does not end in .mp4"),
        ('p,"s', "not CSV: unexpected end of data"),
        ("p,s,,,1,extra", "6 cells for 5 columns"),
    ],
)
def test_bad_csv_line_is_named_and_the_others_go_on(line: str, message: str) -> None:
    rows = rows_of(f"portrait,audio,id,output,seed\n{line}\np,s\n")
    assert isinstance(rows[0], BadRow)
    assert rows[0].number == 2
    assert message in rows[0].message
    assert isinstance(rows[1], Row)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", "not JSON"),
        ("3", "not a JSON object"),
        ('{"portrait": "p", "audio": "s", "seeed": 3}', "Did you mean 'seed'"),
        ('{"portrait": ["p"], "audio": "s"}', "portrait is ['p']; it must be a text"),
        ('{"portrait": "p", "audio": "s", "guidance": NaN}', "NaN is not a number"),
        ('{"portrait": "p", "audio": "s", "steps": 2.5}', "steps: 2.5 is not a whole number"),
        ('{"portrait": "p\\ud800", "audio": "s"}', "is not UTF-8, which ledgers cannot hold"),
        ('{"a":' * 50_000, "not JSON"),
    ],
)
def test_bad_json_line_is_named_and_the_others_go_on(line: str, message: str) -> None:
    good = '{"portrait": "p", "audio": "s"}'
    rows = rows_of(f"{good}\n{line}\n{good}\n")
    assert [type(row) for row in rows] == [Row, BadRow, Row]
    assert isinstance(rows[1], BadRow)
    assert message in rows[1].message


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("portrait;audio;duration\np;s;1,5\n", 1.5),
        ("portrait\taudio\tDuration\np\ts\t,5\n", 0.5),
        ("portrait;audio;duration\np;s;1.5\n", 1.5),
        ("sep=;\nportrait;audio;duration\np;s;12,25\n", 12.25),
    ],
)
def test_decimal_commas_are_read_where_commas_separate_nothing(text: str, duration: float) -> None:
    assert only(text).settings == {"duration": duration}


def test_decimal_comma_between_commas_is_refused_with_its_value() -> None:
    assert "'1,5' is not a number" in only_bad('portrait,audio,duration\np,s,"1,5"\n').message


@pytest.mark.parametrize("cell", ["7", "7.0", " 7 ", "+7"])
def test_whole_numbers_are_read_as_tables_of_fractions_write_them(cell: str) -> None:
    assert only(f"portrait,audio,seed\np,s,{cell}\n").settings == {"seed": 7}


def test_priority_is_a_whole_number() -> None:
    assert [only(f"portrait,audio,priority\np,s,{cell}\n").priority for cell in ("", "3", "-2.0")] == [
        0,
        3,
        -2,
    ]
    for cell in ("high", "1.5", "9" * 30):
        assert "is not a whole number" in only_bad(f"portrait,audio,priority\np,s,{cell}\n").message


def test_column_that_is_no_setting_is_refused_and_the_way_to_keep_it_is_named() -> None:
    with pytest.raises(ManifestError, match=r"unknown column 'note'.*--ignore-column note"):
        rows_of("portrait,audio,note\np,s,hello\n")


OWN = Layout(Path("/in"), Path("/out"), own_columns=frozenset({"Note"}))


@pytest.mark.parametrize(
    "text",
    [
        "portrait,audio,Note,x_Client\np,s,for us,Müller\n",
        '{"portrait": "p", "audio": "s", "Note": "for us", "x_Client": "Müller"}\n',
    ],
)
def test_columns_of_ones_own_are_kept_as_they_are_written(text: str) -> None:
    row = only(text, OWN)
    assert row.own == {"Note": "for us", "x_Client": "Müller"}
    assert row.settings == {}


def test_bad_row_keeps_the_columns_of_ones_own() -> None:
    assert only_bad("portrait,audio,note\np,,mine\n", OWN).own == {"note": "mine"}


def test_a_setting_is_never_taken_for_a_column_of_ones_own() -> None:
    layout = Layout(Path("/in"), Path("/out"), own_columns=frozenset({"seed", "audio"}))
    row = only("portrait,audio,seed\np,s,3\n", layout)
    assert (row.settings, row.own) == ({"seed": 3}, {})


def test_note_of_several_lines_is_one_cell() -> None:
    text = 'portrait,audio,note\np,s,"for ""us""\nand them"\nq,s,\n'
    first, second = rows_of(text, OWN)
    assert (first.number, first.own) == (2, {"note": 'for "us"\nand them'})
    assert (second.number, second.id) == (4, "q_s")


def test_quote_left_open_swallows_no_other_row() -> None:
    text = 'portrait,audio,note\n"p,s,\nq,s,fine\nr,"s,\n'
    first, second, third = rows_of(text, OWN)
    assert [type(row) for row in (first, second, third)] == [BadRow, Row, BadRow]
    assert (first.number, second.number, third.number) == (2, 3, 4)


def test_json_row_that_gives_a_column_twice_is_refused() -> None:
    assert "'audio' is given twice" in only_bad('{"portrait": "p", "audio": "s", "Audio": "t"}\n').message


COUNT_MEMORY = """
import io, json, resource, sys
from pathlib import Path
from hallo_cli.batch.manifest_file import read_rows
from hallo_cli.batch.queue import Queue
from hallo_cli.batch.places import Layout

class Manifest(io.RawIOBase):
    left, number, memory, line = int(sys.argv[1]), 0, {}, b""
    def readable(self): return True
    def readinto(self, buffer):
        if not self.line:
            self.line = self.following()
        part, self.line = self.line[:len(buffer)], self.line[len(buffer):]
        buffer[:len(part)] = part
        return len(part)
    def following(self):
        self.number += 1
        if self.number in (self.left // 4, self.left):
            self.memory[self.number] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        row = {"portrait": "p.png", "audio": f"{self.number}.wav", "seed": self.number}
        return (json.dumps(row) + chr(10)).encode() if self.number <= self.left else b""

manifest = io.BufferedReader(Manifest(), 200)
with Queue() as queue:
    queue.add_rows(read_rows(manifest, Layout(Path("/in"), Path("/out"))))
    print(sum(1 for _ in queue.rows("new")), *manifest.raw.memory.values(),
          resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_manifest() -> None:
    command = [sys.executable, "-c", COUNT_MEMORY, "1000000"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    n_rows, early_kib, _, all_kib = map(int, result.stdout.split())
    assert n_rows == 1_000_000
    # SQLite's cache and the sorting of an index take 16 MiB each; 750,000 rows in memory would take 250 MiB.
    assert all_kib - early_kib < 40 * 1024
