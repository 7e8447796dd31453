"""Draws curves as SVG, which pages hold without a script; and such a page."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from hallo_cli.errors import printable
from hallo_cli.evaluation.curves import MAX_JOINS, Curve, Curves
from hallo_cli.store.writing import replacing

WIDTH, HEIGHT = 640, 110  # of a plot, in its own units
TOP, BOTTOM = 18, 14  # room for words
MOUTH, SOUND, MOTION, JOIN = "#c2410c", "#64748b", "#2563eb", "#dc2626"
DRIFTS = {"colour": "#c2410c", "sharpness": "#2563eb", "likeness": "#15803d"}
LEAST_DRIFT = 0.05  # half of the least range that a plot of drift shows

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0 auto; padding: 1.25rem; max-width: 60rem; font: 14px/1.45 system-ui, sans-serif; }}
svg {{ display: block; width: 100%; min-width: 36rem; height: auto; margin: 0 0 .75rem; }}
main {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin: .5rem 0 1.5rem; }}
td, th {{ padding: .15rem .9rem .15rem 0; text-align: left; border-bottom: 1px solid #8884; }}
h1 {{ font-size: 1.3rem; }} h2 {{ font-size: 1.05rem; margin: 2rem 0 .5rem; overflow-wrap: anywhere; }}
</style></head><body><h1>{title}</h1><main>
"""


def write_page(path: Path, title: str, parts: Iterable[str]) -> None:
    """Write a page of its own, completely or not at all; `parts` are HTML. Raises OutputError."""
    with replacing(path) as page:
        page.write(_HEAD.format(title=text(title)).encode())
        for part in parts:
            page.write(part.encode())
        page.write(b"</main></body></html>\n")


def text(foreign: object) -> str:
    """Text from anywhere, escaped for a page."""
    return html.escape(printable(foreign))


def table(rows: Iterable[tuple[object, object]]) -> str:
    """Rows of a name and a value."""
    cells = "".join(f"<tr><th>{text(name)}</th><td>{text(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>\n"


def plots(curves: Curves) -> str:
    """All plots of a video, one below the other."""
    return f"{mouth_plot(curves)}{motion_plot(curves)}{drift_plot(curves)}"


def mouth_plot(curves: Curves) -> str:
    """The mouth's opening over the level of the speech."""
    highest = _highest(curves.opening)
    parts = [
        _area(curves.level, -50.0, 0.0, SOUND),
        _line(curves.opening, 0.0, highest, MOUTH),
        _words({"mouth opening": MOUTH, "speech level": SOUND}, f"up to {highest:.3g} of the face's height"),
    ]
    return _plot("Mouth opening over speech level", curves, parts)


def motion_plot(curves: Curves) -> str:
    """The motion between frames, with the joins of clips."""
    highest = _highest(curves.motion)
    lines = "".join(
        f'<line x1="{WIDTH * at:.1f}" x2="{WIDTH * at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" '
        f'stroke="{JOIN}" stroke-width="0.7" opacity="0.45"/>'
        for at in curves.joins[:MAX_JOINS]
    )
    names = {"motion": MOTION, **({"joins of clips": JOIN} if lines else {})}
    parts = [lines, _line(curves.motion, 0.0, highest, MOTION)]
    return _plot(
        "Motion and joins", curves, [*parts, _words(names, f"up to {highest:.3g} grey levels a frame")]
    )


def drift_plot(curves: Curves) -> str:
    """Colour, sharpness and likeness, relative to the start."""
    known = [value for name in DRIFTS for value in getattr(curves, name) if value is not None]
    reach = max([LEAST_DRIFT, *(abs(value - 1) for value in known)])
    middle = _height(1.0, 1 - reach, 1 + reach)
    parts = [
        f'<line x1="0" x2="{WIDTH}" y1="{middle:.1f}" y2="{middle:.1f}" stroke="currentColor" '
        'stroke-width="0.5" opacity="0.4"/>',
        *(_line(getattr(curves, name), 1 - reach, 1 + reach, colour) for name, colour in DRIFTS.items()),
        _words(DRIFTS, f"relative to the start, ± {reach:.0%}"),
    ]
    return _plot("Drift of colour, sharpness and likeness", curves, parts)


def bars(title: str, values: Mapping[str, float], unit: str) -> str:
    """Bars of named values, the longest one the full width."""
    longest = max([*values.values(), 1e-12])
    step, left = 20, 130
    parts = []
    for number, (name, value) in enumerate(values.items()):
        y, width = TOP + step * number, (WIDTH - left - 90) * max(0.0, value) / longest
        parts.append(
            f'<text x="{left - 6}" y="{y + 11}" text-anchor="end">{text(name)}</text>'
            f'<rect x="{left}" y="{y}" width="{width:.1f}" height="14" fill="{MOTION}"/>'
            f'<text x="{left + width + 5:.1f}" y="{y + 11}">{value:,.1f} {text(unit)}</text>'
        )
    return _svg(title, TOP + step * len(values), "".join(parts))


def _plot(title: str, curves: Curves, parts: Iterable[str]) -> str:
    frame = (
        f'<rect x="0" y="{TOP}" width="{WIDTH}" height="{HEIGHT - TOP - BOTTOM}" fill="none" '
        'stroke="currentColor" stroke-width="0.5" opacity="0.4"/>'
        f'<text x="0" y="{HEIGHT - 3}">0 s</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 3}" text-anchor="end">{curves.seconds:.4g} s</text>'
    )
    return _svg(title, HEIGHT, frame + "".join(parts))


def _svg(title: str, height: int, inner: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" font-size="11" fill="currentColor">'
        f"<title>{text(title)}</title>{inner}</svg>\n"
    )


def _words(names: Mapping[str, str], scale: str) -> str:
    """A legend on the left, the scale on the right."""
    spans = "".join(f'<tspan fill="{colour}" dx="8">{text(name)}</tspan>' for name, colour in names.items())
    return (
        f'<text x="-8" y="12">{spans}</text>'
        f'<text x="{WIDTH}" y="12" text-anchor="end" opacity="0.7">{text(scale)}</text>'
    )


def _line(curve: Curve, low: float, high: float, colour: str) -> str:
    return "".join(
        f'<polyline points="{_points(run, low, high)}" fill="none" stroke="{colour}" stroke-width="1.2"/>'
        for run in _runs(curve)
    )


def _area(curve: Curve, low: float, high: float, colour: str) -> str:
    floor = HEIGHT - BOTTOM
    return "".join(
        f'<polygon points="{run[0][0]:.1f},{floor} {_points(run, low, high)} {run[-1][0]:.1f},{floor}" '
        f'fill="{colour}" opacity="0.35"/>'
        for run in _runs(curve)
    )


def _points(run: list[tuple[float, float]], low: float, high: float) -> str:
    return " ".join(f"{x:.1f},{_height(value, low, high):.1f}" for x, value in run)


def _height(value: float, low: float, high: float) -> float:
    share = min(1.0, max(0.0, (value - low) / max(high - low, 1e-9)))
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _runs(curve: Curve) -> Iterator[list[tuple[float, float]]]:
    """The parts of a curve without gaps: positions and values."""
    for is_known, run in groupby(enumerate(curve), lambda place: place[1] is not None):
        if is_known:
            yield [(WIDTH * (index + 0.5) / len(curve), value) for index, value in run if value is not None]


def _highest(curve: Curve) -> float:
    return max([value for value in curve if value is not None], default=0.0)
