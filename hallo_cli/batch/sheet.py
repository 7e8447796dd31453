"""Writes one page that shows every row of a plan before it is rendered: picture, length and time."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from hallo_cli.batch.batch_events import RowPlanned
from hallo_cli.errors import HalloError
from hallo_cli.media.addresses import is_address
from hallo_cli.printable import printable
from hallo_cli.store.writing import replacing

if TYPE_CHECKING:
    from hallo_cli.jobs.still import Still

MAX_PICTURES = 500  # the page grows by about 40 kB for each
WIDTH = 560  # pixels of a picture
Draw = Callable[[RowPlanned], "Still | None"]  # what the row would make; None: it has no picture

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0; padding: 1.25rem; font: 14px/1.45 system-ui, sans-serif; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; }}
article {{ border: 1px solid #8884; border-radius: .5rem; padding: .75rem; overflow-wrap: anywhere; }}
img {{ width: 100%; border-radius: .3rem; }}
h1 {{ font-size: 1.3rem; }} h2 {{ font-size: 1rem; margin: .5rem 0 .25rem; }} p {{ margin: .2rem 0; }}
.invalid, .poor {{ color: #c62f2f; }} .fair {{ color: #a86a00; }} .good {{ color: #2a7d3c; }}
header {{ margin-bottom: 1rem; }} ul {{ margin: 0; padding-left: 1.2rem; }}
</style></head><body><header><h1>{title}</h1>{lines}</header><main>
"""
_FOOT = "</main></body></html>\n"
STATES = {
    "ready": "to be rendered",
    "waiting": "to be rendered in parts",
    "skipped": "done before",
    "left out": "failed before",
    "invalid": "cannot be rendered",
}


def write_sheet(
    path: Path, rows: Iterable[RowPlanned], draw: Draw, *, title: str, lines: Sequence[str] = ()
) -> int:
    """Write the page row by row, `lines` above them; returns how many rows have a picture.

    Raises OutputError.
    """
    n_pictures = 0
    above = "".join(f"<p>{_text(line)}</p>" for line in lines)
    with replacing(path) as page:
        page.write(_HEAD.format(title=_text(title), lines=above).encode())
        for row in rows:
            picture = _picture(row, draw) if n_pictures < MAX_PICTURES else ""
            n_pictures += bool(picture.startswith("<img"))
            page.write("".join(_card(row, picture)).encode())
        page.write(_FOOT.encode())
    return n_pictures


def _card(row: RowPlanned, picture: str) -> Iterator[str]:
    yield f'<article class="{"invalid" if row.message else ""}"><h2>{_text(row.id)}</h2>{picture}'
    yield f"<p>{_text(STATES.get(row.state, row.state))}</p>"
    yield f"<p>{_text(_named(row.portrait))} says {_text(_said(row.audio))}</p>"
    if row.message:
        yield f"<p>{_text(row.message)}</p>"
    else:
        price = "" if row.price is None else f", for {row.price:.2f}"
        yield f"<p>{row.seconds:.1f} s, {row.width} x {row.height}, "
        yield f"about {row.compute_s:.0f} s to render{price}</p>"
    yield "</article>\n"


def _said(audio: str) -> str:
    """What is heard in a row: files without their folders, or the text."""
    return " ".join(map(_named, re.split(r" (?=[1-9][0-9]?=)", audio)))


def _named(file: str) -> str:
    """A file or an address without its folders, behind the face that says it; a text as it is."""
    face, path = re.match(r"((?:[1-9][0-9]?=)?)(.*)", file, re.S).groups()  # type: ignore[union-attr]
    is_file = path.startswith("/") or is_address(path)
    return f"{face}{Path(path).name}" if is_file else file


def _picture(row: RowPlanned, draw: Draw) -> str:
    """The row's picture as an HTML element with its outlook, or the reason why it cannot be drawn."""
    try:
        still = draw(row)
    except HalloError as error:
        return f"<p>no picture: {_text(error)}</p>"
    if still is None:
        return ""
    small = Image.fromarray(still.panels)
    small.thumbnail((WIDTH, WIDTH))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82)
    reasons = "".join(f"<li>{_text(reason)}</li>" for reason in still.reasons)
    return (
        f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
        f'<div class="{_text(still.outlook)}"><p>outlook: {_text(still.outlook)}</p>'
        f"{f'<ul>{reasons}</ul>' if reasons else ''}</div>"
    )


def _text(text: object) -> str:
    return html.escape(printable(text))
