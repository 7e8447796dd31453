"""Fills the templates of a batch's pages. Every value is escaped and made visible, whoever wrote it."""

import base64
import functools
import io
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from hallo_cli.errors import printable
from hallo_cli.store.writing import replacing


def fill(template: str, page: Path, values: Mapping[str, object]) -> None:
    """Write a page part by part, completely or not at all. Raises OutputError."""
    with replacing(page) as file:
        for part in _templates().get_template(template).generate(values):
            file.write(part.encode())


def inline(kind: str, content: bytes) -> str:
    """An address that holds the content itself. `kind`: its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def jpeg(picture: Image.Image, quality: int) -> bytes:
    """A picture as a JPEG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@functools.cache
def _templates() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=loader, autoescape=True, finalize=_visible, undefined=StrictUndefined)


def _visible(value: object) -> object:
    return value if isinstance(value, Markup) else printable(value)
