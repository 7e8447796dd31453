"""Draws what a render would make of a portrait, without rendering it."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hallo_cli.analysis.outlook import GRADES
from hallo_cli.domain import Bytes, Portrait
from hallo_cli.errors import printable
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.preflight import PortraitFacts
from hallo_cli.media.layout import resized

HEIGHT = 640  # pixels of the panels
MAX_PANEL = 1280  # pixels of their width
LINE = 22  # pixels of a line of text
GAP = 10  # pixels between the panels
SQUARE, FACE = (255, 255, 255), (255, 210, 60)
PAPER, INK = (24, 24, 24), (235, 235, 235)


@dataclass(frozen=True)
class Still:
    """What a render would make of a portrait."""

    panels: (
        Bytes  # [height, width, 3] RGB: the picture with what moves in it, beside it the video's first frame
    )
    size: tuple[int, int]  # width and height of the picture, in pixels
    video: str  # size and framing
    outlook: str  # expected quality: good, fair or poor
    reasons: tuple[str, ...]  # why it is not better

    def of_faces(self, faces: Mapping[int, PortraitFacts]) -> Still:
        """The still with the worst outlook of several faces, by their numbers, and the reasons of all."""
        if not faces:
            return self
        reasons = (f"face {face}: {reason}" for face, facts in faces.items() for reason in facts.reasons)
        worst = max((facts.outlook for facts in faces.values()), key=GRADES.index)
        return dataclasses.replace(self, outlook=worst, reasons=tuple(reasons))

    def page(self) -> bytes:
        """A PNG of the panels under their explanation."""
        lines = [
            f"{self.size[0]} x {self.size[1]}: what the networks see and move (white), face (yellow)",
            f"the video: {self.video}",
            f"outlook: {self.outlook}",
            *(f"- {reason}" for reason in self.reasons),
        ]
        buffer = io.BytesIO()
        _page(self.panels, [printable(line) for line in lines]).save(buffer, "PNG")
        return buffer.getvalue()


def draw_still(job: Job, engine: BundleEngine, facts: PortraitFacts) -> Still:
    """The portrait and the video's first frame, side by side. Raises PortraitError or SettingsError."""
    settings = engine.resolve_settings(job.settings)
    portrait = engine.portrait(job.portrait, settings)
    picture = engine.analyser.upright(job.portrait, portrait)
    compositor = engine.compositor(job.portrait, portrait, settings)
    left = _marked(picture, portrait, facts, is_squeezed=settings.framing == "whole")
    right = _panel(compositor.compose(compositor.at_rest)[0])
    width, height = compositor.size
    return Still(
        _side_by_side(left, right),
        size=(picture.shape[1], picture.shape[0]),
        video=f"{width} x {height}, framing {settings.framing}",
        outlook=facts.outlook,
        reasons=tuple(facts.reasons),
    )


def _marked(picture: Bytes, portrait: Portrait, facts: PortraitFacts, *, is_squeezed: bool) -> Bytes:
    """The picture as a panel, with the square, the face and what moves."""
    panel = _panel(picture)
    height, width = picture.shape[:2]
    ratios = np.tile([panel.shape[1] / width, panel.shape[0] / height], 2)
    crop = portrait.crop
    seen = (crop.left, crop.top, crop.left + crop.side, crop.top + crop.side)
    square = np.array((0, 0, width, height) if is_squeezed else seen) * ratios
    drawn = Image.fromarray(panel)
    pen = ImageDraw.Draw(drawn)
    pen.rectangle([*(square - (0, 0, 1, 1))], outline=SQUARE, width=2)
    pen.rectangle([*(np.array(facts.face_box) * ratios)], outline=FACE, width=2)
    return np.asarray(drawn)


def _panel(picture: Bytes) -> Bytes:
    height, width = picture.shape[:2]
    ratio = min(HEIGHT / height, MAX_PANEL / width)
    return resized(picture, (max(1, round(width * ratio)), max(1, round(height * ratio))))


def _side_by_side(left: Bytes, right: Bytes) -> Bytes:
    height, width = max(left.shape[0], right.shape[0]), left.shape[1] + right.shape[1] + GAP
    panels = np.full((height, width, 3), PAPER, np.uint8)
    panels[: left.shape[0], : left.shape[1]] = left
    panels[: right.shape[0], left.shape[1] + GAP :] = right
    return panels


def _page(panels: Bytes, lines: list[str]) -> Image.Image:
    top = LINE * len(lines) + 20
    height, width = panels.shape[:2]
    page = Image.new("RGB", (max(width + 20, 720), top + height + 10), PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(16)
    for number, line in enumerate(lines):
        pen.text((10, 8 + number * LINE), line, fill=INK, font=font)
    page.paste(Image.fromarray(panels), (10, top))
    return page
