"""A batch of 300 rows over one day: a budget, a kill, hooks; by the command line, with real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from batch_doubles import results, write_picture, write_sound

from hallo_cli.batch.ledger import read_records
from hallo_cli.batch.paths import Paths
from hallo_cli.store.digests import file_digest

STUB = Path(__file__).parent.parent / "stub_batch_cli.py"
N_ROWS = int(os.environ.get("HALLO_TEST_ROWS", "300"))


def start(manifest: Path, *options: str) -> "subprocess.Popen[str]":
    """Begin a run that appends what its hooks are told to rows.jsonl and ends.jsonl."""
    folder = manifest.parent
    hooks = ["--on-row", f"tee -a {folder}/rows.jsonl", "--on-end", f"tee -a {folder}/ends.jsonl"]
    plain = ["--no-quality", "--no-provenance", "--device", "cpu", "-j", "2", "-q"]
    command = [sys.executable, str(STUB), "batch", str(manifest), *plain, *hooks, *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def n_done(manifest: Path) -> int:
    return sum(record.is_rendered for record in results(manifest).values())


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_is_rendered_twice(tmp_path: Path) -> None:
    write_sound(tmp_path / "speech.wav", 0.12)
    write_picture(tmp_path / "face.png", 0)
    manifest = tmp_path / "day.csv"
    rows = [f"{number},face.png,speech.wav,{number}" for number in range(N_ROWS)]
    manifest.write_text("\n".join(["id,portrait,audio,seed", *rows]) + "\n")

    first = start(manifest, "--max-gpu-hours", f"{0.02 * N_ROWS / 3600}")
    assert (first.wait(600), first.communicate()[1].count("budget is spent")) == (75, 1)
    n_first = n_done(manifest)
    assert 0 < n_first < N_ROWS
    assert len(lines(tmp_path / "rows.jsonl")) == n_first

    second = start(manifest)
    while n_done(manifest) < n_first + N_ROWS // 5:
        assert second.poll() is None
        time.sleep(0.1)
    second.send_signal(signal.SIGKILL)
    second.communicate()
    assert n_done(manifest) < N_ROWS

    third = start(manifest)
    assert (third.wait(600), third.communicate()[1].count(f"{N_ROWS} rows")) == (0, 1)
    finished = results(manifest)
    assert Counter(record.status for record in finished.values()) == {"done": N_ROWS}
    ledger = Paths(manifest.with_suffix("")).results
    assert max(Counter(record.id for record in read_records(ledger)).values()) == 1
    for record in finished.values():
        assert file_digest(tmp_path / record.output) == record.sha256
    assert len({record.sha256 for record in finished.values()}) == N_ROWS
    told = Counter(str(line["id"]) for line in lines(tmp_path / "rows.jsonl"))
    assert max(told.values()) == 1
    assert len(lines(tmp_path / "ends.jsonl")) == 2  # the killed run could not say its end
