"""Names that are not UTF-8 are refused before anything is rendered, in words that can be shown."""

import json
import os
from pathlib import Path

import pytest
from batch_doubles import batch_of, results, run, write_batch, write_picture, write_sound

from hallo_cli.batch.ledger import Ledger, Record, read_records
from hallo_cli.batch.run import Source

LATIN_1 = os.fsdecode(b"caf\xe9")


def refused(record: Record) -> bool:
    record.message.encode()
    return record.status == "invalid" and "not UTF-8" in record.message


@pytest.mark.parametrize("pairing", ["cross", "zip", "stem"])
def test_pairs_with_such_names_are_refused_and_the_others_rendered(tmp_path: Path, pairing: str) -> None:
    for name in ("a", LATIN_1):
        (tmp_path / "p").mkdir(exist_ok=True)
        (tmp_path / "s").mkdir(exist_ok=True)
        write_picture(tmp_path / "p" / f"{name}.png", 0)
        write_sound(tmp_path / "s" / f"{name}.wav", 0.16)
    manifest = tmp_path / "batch.csv"
    run(batch_of(manifest, source=Source(portraits=tmp_path / "p", audios=tmp_path / "s", pairing=pairing)))
    records = list(results(manifest).values())
    done = [record for record in records if record.status == "done"]
    assert [record.output for record in done] == ["batch.videos/a_a.mp4"]
    assert all(refused(record) for record in records if record not in done)
    assert len(records) == {"cross": 4, "zip": 2, "stem": 2}[pairing]


def test_file_without_a_partner_is_named_though_its_name_is_not_utf8(tmp_path: Path) -> None:
    for name in ("p", "s"):
        (tmp_path / name).mkdir()
    write_picture(tmp_path / "p" / "a.png", 0)
    write_picture(tmp_path / "p" / f"{LATIN_1}.png", 0)
    write_sound(tmp_path / "s" / "a.wav", 0.16)
    manifest = tmp_path / "batch.csv"
    run(batch_of(manifest, source=Source(portraits=tmp_path / "p", audios=tmp_path / "s", pairing="stem")))
    bad = [record for record in results(manifest).values() if record.status == "invalid"]
    assert ["caf\\xe9.png" in record.message for record in bad] == [True]


def test_rows_with_such_names_are_refused_and_the_others_rendered(tmp_path: Path) -> None:
    write_batch(tmp_path, ["a"], seconds=0.16)
    write_picture(tmp_path / f"{LATIN_1}.png", 1)
    rows = [{"id": "a", "portrait": "a.png"}, {"id": "b", "portrait": f"{LATIN_1}.png"}, {"id": LATIN_1}]
    manifest = tmp_path / "batch.jsonl"
    lines = [json.dumps({"portrait": "a.png", "audio": "speech.wav", **row}) for row in rows]
    manifest.write_text("\n".join(lines))
    run(batch_of(manifest))
    records = results(manifest)
    assert records.pop("a").status == "done"
    assert len(records) == 2
    assert all(refused(record) for record in records.values())


def test_ledger_shows_no_control_characters_and_reads_them_back(tmp_path: Path) -> None:
    record = Record("a\x9b2J\u202eb \u65e5", 1, "error", message="x\x1b[2J\nrow 2: done\udce9")
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.append(record)
    text = (tmp_path / "ledger").read_text(encoding="utf-8")
    assert not set(text.rstrip("\n")) & set("\x1b\x9b\u202e\n")
    assert "\u65e5" in text
    (back,) = read_records(tmp_path / "ledger")
    assert back.id == record.id
    assert back.message == "x\\x1b[2J\\nrow 2: done\\xe9"
