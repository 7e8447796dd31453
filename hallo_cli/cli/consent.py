"""`hallo consent`: writes and shows the file of portraits and voices that may be used."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path

from hallo_cli.cli.console import answer, say
from hallo_cli.cli.options import AS_JSON, Application, argument, option
from hallo_cli.errors import InputError, SettingsError
from hallo_cli.media.files import require_file
from hallo_cli.provenance.consent_file import Entry, read_day, read_entries, write_entries
from hallo_cli.store.digests import file_digest

SCHEMA = 1
app = Application(
    help="""Manage the list of portraits and voices that may be used.

Example:
    hallo consent add ok.csv anna.jpg anna.wav --who Anna --until 2027-12-31
    hallo batch week12.csv --consent ok.csv

The file's columns are in hallo docs provenance.
"""
)
FILE = argument(..., "The consent file (CSV).", metavar="FILE")


@app.command("add")
def add_command(
    file: Path = FILE,
    sources: list[Path] | None = argument(
        None, "Pictures and recordings that the person lets you use.", metavar="PICTURE_OR_SOUND"
    ),
    who: str = option("", "Who consents.", metavar="NAME"),
    until: str = option("", "The last day, as in 2027-12-31.  [default: without end]"),
    note: str = option("", "For example, where the contract is."),
    speak: str = option("", "A synthetic voice: the text-to-speech command, as --speak takes it."),
) -> None:
    """Add pictures, recordings or a synthetic voice to a consent file.

    Example:
        hallo consent add ok.csv anna.jpg anna.wav --who Anna --until 2027-12-31

    The file is made if it does not exist. It keeps the SHA-256 of each file's content. An earlier entry of
    the same person about the same file is replaced.
    """
    if not (sources or speak):
        raise SettingsError("name the pictures and recordings, or a synthetic voice with --speak.")
    if not who.strip():
        raise SettingsError("say who consents: --who NAME.")
    try:
        day = read_day(until)
    except ValueError as error:
        raise SettingsError(f"--until {error}.") from error
    made = [Entry(who.strip(), _digest(path), until=day, note=note, file=path.name) for path in sources or ()]
    made += [Entry(who.strip(), speak=speak, until=day, note=note)] if speak else []
    known = read_entries(file) if file.exists() else ()
    kept = [entry for entry in known if not any(entry.is_like(one) for one in made)]
    write_entries(file, [*kept, *made])
    say(f"{file}: {len(made)} added, {len(kept) + len(made)} in all")


@app.command("list")
def list_command(file: Path = FILE, as_json: bool = AS_JSON) -> None:
    """Show the entries of a consent file, and which have ended.

    Example:
        hallo consent list ok.csv
    """
    today = datetime.date.today()
    entries = read_entries(file)
    if as_json:
        rows = [_values(entry, today) for entry in entries]
        answer(json.dumps({"schema": SCHEMA, "entries": rows}, default=str))  # the days
        return
    for entry in entries:
        until = f"until {entry.until}" if entry.until else "without end"
        state = until if entry.is_valid(today) else f"ENDED {entry.until}"
        what = entry.speak or f"{entry.sha256[:12]} {entry.file}".strip()
        answer(f"{state:<17} {entry.who:<24} {what}{f'  ({entry.note})' if entry.note else ''}")


def _values(entry: Entry, today: datetime.date) -> dict[str, object]:
    return {**dataclasses.asdict(entry), "entry": entry.digest, "valid": entry.is_valid(today)}


def _digest(source: Path) -> str:
    return file_digest(require_file(source, InputError, "file"))
