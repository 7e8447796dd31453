"""Draws what a render would make of a portrait, without rendering it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hallo_cli.domain import Bytes, CropBox, Portrait
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.preflight import PortraitFacts
from hallo_cli.media.image import read_image
from hallo_cli.media.layout import resized
from hallo_cli.printable import printable

HEIGHT = 640  # pixels of the panels
MAX_PANEL = 1280  # pixels of their width
LINE = 22  # pixels of a line of text
SQUARE, FACE = (255, 255, 255), (255, 210, 60)
PAPER, INK = (24, 24, 24), (235, 235, 235)


def draw_still(job: Job, engine: BundleEngine, facts: PortraitFacts) -> bytes:
    """A PNG: the picture with the rendered square and what moves in it, beside it the video's first frame.

    Raises PortraitError or SettingsError.
    """
    settings = engine.resolve_settings(job.settings)
    portrait = engine.portrait(job.portrait, settings)
    picture = np.ascontiguousarray(np.rot90(read_image(job.portrait), portrait.quarter_turns))
    compositor = engine.compositor(job.portrait, portrait, settings)
    left = _marked(picture, portrait, facts, is_squeezed=settings.framing == "whole")
    right = _panel(compositor.compose(compositor.at_rest)[0])
    width, height = compositor.size
    texts = [
        f"{picture.shape[1]} x {picture.shape[0]}: what the networks see and move (white), face (yellow)",
        f"the video: {width} x {height}, framing {settings.framing}",
        f"outlook: {facts.outlook}",
        *(f"- {reason}" for reason in facts.reasons),
    ]
    return _png(_sheet(left, right, [printable(text) for text in texts]))


def _marked(picture: Bytes, portrait: Portrait, facts: PortraitFacts, *, is_squeezed: bool) -> Bytes:
    """The picture as a panel, with the square, the face and what moves."""
    panel = _panel(picture)
    ratio = panel.shape[0] / picture.shape[0], panel.shape[1] / picture.shape[1]
    size = portrait.pixels.shape[0]
    crop = portrait.crop
    box = CropBox(0, 0, 0) if is_squeezed else crop
    side = (picture.shape[1], picture.shape[0]) if is_squeezed else (crop.side, crop.side)
    across, down = (ratio[1] * side[0] / size, ratio[0] * side[1] / size)
    rows = [[across, 0, ratio[1] * box.left], [0, down, ratio[0] * box.top]]
    to_panel = np.array(rows, np.float32)
    drawn = Image.fromarray(panel)
    pen = ImageDraw.Draw(drawn)
    corners = np.array([[0, 0], [size, size]]) @ to_panel[:, :2].T + to_panel[:, 2]
    pen.rectangle([*corners[0], *(corners[1] - 1)], outline=SQUARE, width=2)
    edges = np.array(facts.face_box) * (ratio[1], ratio[0], ratio[1], ratio[0])
    pen.rectangle(list(edges), outline=FACE, width=2)
    return np.asarray(drawn)


def _panel(picture: Bytes) -> Bytes:
    height, width = picture.shape[:2]
    ratio = min(HEIGHT / height, MAX_PANEL / width)
    return resized(picture, (max(1, round(width * ratio)), max(1, round(height * ratio))))


def _sheet(left: Bytes, right: Bytes, texts: list[str]) -> Image.Image:
    top = LINE * len(texts) + 20
    width = max(left.shape[1] + right.shape[1] + 30, 720)
    sheet = Image.new("RGB", (width, top + max(left.shape[0], right.shape[0]) + 10), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for number, text in enumerate(texts):
        pen.text((10, 8 + number * LINE), text, fill=INK, font=font)
    sheet.paste(Image.fromarray(left), (10, top))
    sheet.paste(Image.fromarray(right), (left.shape[1] + 20, top))
    return sheet


def _png(sheet: Image.Image) -> bytes:
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
