"""The rasteriser: a z-buffer that notes which triangle is seen where, then shades each seen pixel once.

Compiled by numba. Screen y points down; camera space is right-handed and the camera looks along -z.
"""

from __future__ import annotations

from math import acos, ceil, exp, floor, sqrt

import numpy as np
from numba import njit

from hallo_cli.domain import Float
from hallo_cli.workshop.corpus.head_model import EYE, GLASSES, LOWER_TEETH, SKIN, TONGUE, UPPER_TEETH, Int

# numpy's error model: a test for division by zero would keep loops from being vectorised
_kernel = njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
_inlined = njit(inline="always", fastmath=True, error_model="numpy")

_STRIP = 256  # pixels that are lit together: their fields stay in the processor's nearest cache
_N_FIELDS = 20
# unsigned and at constant distances: the compiler sees that they do not overlap, and vectorises
_FIELDS = tuple(np.uint64(_STRIP * field) for field in range(_N_FIELDS))
_FIRST, _NEXT = np.uint64(0), np.uint64(1)
_NX, _NY, _NZ, _VX, _VY, _VZ, _FACING = _FIELDS[:7]  # normal, direction of the camera, cosine between them
_RED, _GREEN, _BLUE, _SHINE, _GLOSS, _RIM, _LIT = _FIELDS[7:14]
_RED_LIGHT, _GREEN_LIGHT, _BLUE_LIGHT, _RED_GLINT, _GREEN_GLINT, _BLUE_GLINT = _FIELDS[14:20]

# Single precision: a constant in double precision would make everything around it so, and slower.
_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_TINY = np.float32(1e-9)
_WRAP = np.float32(0.25)  # light reaches this far (cosine) round to the dark side of skin
_SOFT_GREEN, _SOFT_BLUE = np.float32(0.35), np.float32(0.25)  # how much of these spreads under the skin
_DULL, _FAINT = np.float32(0.003), np.float32(0.6)  # shine and cosine below which nothing glints
_OPEN, _WARM, _PALE = (
    np.float32(0.999),
    np.float32(0.85),
    np.float32(1.25),
)  # powers of the mouth's openness
_EYE_GLEAM = (np.float32(0.7), np.float32(70), _ZERO)  # shine, gloss, darkening at grazing angles
_TOOTH_GLEAM = (np.float32(0.22), np.float32(30), _ZERO)
_TONGUE_GLEAM = (np.float32(0.16), np.float32(18), _ZERO)
_FRAME_GLEAM = (np.float32(0.25), np.float32(25), _ZERO)
_NO_GLEAM = (_ZERO, _ONE, _ZERO)
_PUPIL = np.float32(0.015)
_LASH = np.float32(0.4)  # of the hair's brightness
_ATANH3, _ATANH5, _ATANH7 = np.float32(2 / 3), np.float32(2 / 5), np.float32(2 / 7)
_EXP_STEP = np.float32(1 / 64)


@_kernel
def vertex_normals(vertices: Float, triangles: Int) -> Float:
    """Unit normals [n, 3], each the area-weighted mean of its triangles'."""
    normals = np.zeros_like(vertices)
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux = vertices[b, 0] - vertices[a, 0]
        uy = vertices[b, 1] - vertices[a, 1]
        uz = vertices[b, 2] - vertices[a, 2]
        vx = vertices[c, 0] - vertices[a, 0]
        vy = vertices[c, 1] - vertices[a, 1]
        vz = vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            normals[corner, 0] += nx
            normals[corner, 1] += ny
            normals[corner, 2] += nz
    for i in range(len(normals)):
        length = sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-12
        normals[i] /= length
    return normals


@_kernel
def find_visible(screen: Float, triangles: Int, materials: np.ndarray, size: int) -> tuple[Int, Float]:
    """The triangle seen in each pixel (-1: none) [size, size] and its weights for corners 0 and 1.

    `screen` [n, 3]: x, y in pixels and 1 / distance.
    """
    seen = np.full((size, size), -1, np.int32)
    weights = np.zeros((size, size, 2), np.float32)
    depth = np.zeros((size, size), np.float32)
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        # double precision: pixels on an edge must not fall between its two triangles
        x0, y0, z0 = float(screen[a, 0]), float(screen[a, 1]), float(screen[a, 2])
        x1, y1, z1 = float(screen[b, 0]), float(screen[b, 1]), float(screen[b, 2])
        x2, y2, z2 = float(screen[c, 0]), float(screen[c, 1]), float(screen[c, 2])
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-6 or (area > 0 and materials[t] < TONGUE):
            continue
        inverse = 1 / area
        # w0, w1 and w2 are linear in x and y; these are their steps from one column to the next
        step0, step1 = (y1 - y2) * inverse, (y2 - y0) * inverse
        step2 = -step0 - step1
        left, right = max(ceil(min(x0, x1, x2) - 0.5), 0), min(floor(max(x0, x1, x2) - 0.5), size - 1)
        top, bottom = max(ceil(min(y0, y1, y2) - 0.5), 0), min(floor(max(y0, y1, y2) - 0.5), size - 1)
        for y in range(top, bottom + 1):
            py = y + 0.5
            start0 = (x1 * (y2 - py) - x2 * (y1 - py)) * inverse
            start1 = (x2 * (y0 - py) - x0 * (y2 - py)) * inverse
            first, last = _span(start0, step0, left, right)
            first, last = _span(start1, step1, first, last)
            first, last = _span(1 - start0 - start1, step2, first, last)
            for x in range(first, last + 1):
                w0, w1 = start0 + step0 * (x + 0.5), start1 + step1 * (x + 0.5)
                z = w0 * z0 + w1 * z1 + (1 - w0 - w1) * z2
                if z > depth[y, x]:
                    depth[y, x] = z
                    seen[y, x] = t
                    weights[y, x, 0] = w0 * z0 / z
                    weights[y, x, 1] = w1 * z1 / z
    return seen, weights


@_inlined
def _span(start: float, step: float, first: int, last: int) -> tuple[int, int]:
    """Narrow the columns first..last to those with start + step * (column + 0.5) >= 0."""
    if step == 0:
        return (first, last) if start >= 0 else (first, first - 1)
    edge = min(max(-start / step - 0.5, -1.0), 1e6)
    return (max(first, ceil(edge)), last) if step > 0 else (first, min(last, floor(edge)))


@_kernel
def bake(uv: Float, uv_triangles: Int, triangles: Int, values: Float, size: int) -> Float:
    """Vertex values [n, 3] drawn into texture space [size, size, 3]; -99 where no triangle lies."""
    texture = np.full((size, size, 3), -99, np.float32)
    for t in range(len(triangles)):
        a, b, c = uv_triangles[t, 0], uv_triangles[t, 1], uv_triangles[t, 2]
        x0, y0 = uv[a, 0] * size, (1 - uv[a, 1]) * size
        x1, y1 = uv[b, 0] * size, (1 - uv[b, 1]) * size
        x2, y2 = uv[c, 0] * size, (1 - uv[c, 1]) * size
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        left, right = max(int(min(x0, x1, x2)) - 1, 0), min(int(max(x0, x1, x2)) + 1, size - 1)
        top, bottom = max(int(min(y0, y1, y2)) - 1, 0), min(int(max(y0, y1, y2)) + 1, size - 1)
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                px, py = x + 0.5, y + 0.5
                w0 = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) / area
                w1 = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) / area
                w2 = 1 - w0 - w1
                if min(w0, w1, w2) < -0.35:
                    continue
                for k in range(3):
                    texture[y, x, k] = (
                        w0 * values[triangles[t, 0], k]
                        + w1 * values[triangles[t, 1], k]
                        + w2 * values[triangles[t, 2], k]
                    )
    return texture


@_kernel
def shade(
    image: Float,  # [size, size, 3] the background; drawn over in place
    visible: tuple[Int, Float],
    mesh: tuple[Int, Int, np.ndarray, Float],  # triangles, uv triangles, materials, uv
    surface: tuple[Float, Float, Float],  # normals, openness, tooth coordinates
    paint: tuple[Float, Float],  # texture [t, t, 4], colour and shininess; looks, see identity._draw_looks
    lights: tuple[Float, Float, Float],  # directional [l, 6] direction and colour; ambient from above, below
    window: Float,  # [3] left, top and side of the picture on the plane at unit distance
) -> None:
    """Colour every seen pixel.

    What is seen is gathered a strip of a row at a time and then lit in loops that the compiler vectorises.
    """
    seen, weights = visible
    size = seen.shape[0]
    step = window[2] / np.float32(size)
    strip = np.empty(_N_FIELDS * _STRIP, np.float32)
    columns = np.empty(_STRIP, np.int32)
    for y in range(size):
        up = window[1] + (np.float32(y) + _HALF) * step
        for left in range(0, size, _STRIP):
            n = _FIRST
            for x in range(left, min(left + _STRIP, size)):
                if seen[y, x] >= 0:
                    columns[n] = x
                    view = (-window[0] - (np.float32(x) + _HALF) * step, up)
                    corners = (weights[y, x, 0], weights[y, x, 1])
                    _gather(strip, n, view, (seen[y, x], corners), mesh, surface, paint)
                    n += _NEXT
            _light(strip, n, lights[0], lights[1], lights[2])
            for i in range(n):
                _write(image, (y, columns[i]), strip, i)


@_inlined
def _gather(strip, i, view, seen, mesh, surface, paint):  # type: ignore[no-untyped-def]
    """Fill pixel i of the strip: what the surface is like there."""
    t, (w0, w1) = seen
    w2 = _ONE - w0 - w1
    normals, openness, _ = surface
    a, b, c = mesh[0][t, 0], mesh[0][t, 1], mesh[0][t, 2]
    nx = w0 * normals[a, 0] + w1 * normals[b, 0] + w2 * normals[c, 0]
    ny = w0 * normals[a, 1] + w1 * normals[b, 1] + w2 * normals[c, 1]
    nz = w0 * normals[a, 2] + w1 * normals[b, 2] + w2 * normals[c, 2]
    if mesh[2][t] >= TONGUE and nx * view[0] + ny * view[1] + nz < 0:  # seen from behind
        nx, ny, nz = -nx, -ny, -nz
    strip[_NX + i], strip[_NY + i], strip[_NZ + i] = nx, ny, nz
    strip[_VX + i], strip[_VY + i] = view
    strip[_LIT + i] = w0 * openness[a] + w1 * openness[b] + w2 * openness[c]
    colour = _colour(t, (w0, w1, w2), (nx, ny, nz), mesh, surface[2], paint[0], paint[1])
    strip[_RED + i], strip[_GREEN + i], strip[_BLUE + i] = colour[0], colour[1], colour[2]
    strip[_SHINE + i], strip[_GLOSS + i], strip[_RIM + i] = colour[3], colour[4], colour[5]


@_inlined
def _colour(t, w, n, mesh, teeth, texture, looks):  # type: ignore[no-untyped-def]
    """The surface's own colour and gleam: (red, green, blue, shine, gloss, darkening at grazing angles)."""
    triangles, uv_triangles, materials, uv = mesh
    material = materials[t]
    if material == SKIN:
        a, b, c = uv_triangles[t, 0], uv_triangles[t, 1], uv_triangles[t, 2]
        u = w[0] * uv[a, 0] + w[1] * uv[b, 0] + w[2] * uv[c, 0]
        v = w[0] * uv[a, 1] + w[1] * uv[b, 1] + w[2] * uv[c, 1]
        red, green, blue, shine = _texel(texture, u, v)
        return red, green, blue, shine * looks[0], looks[1], looks[16]
    if material == EYE:
        length = sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2] + _TINY)
        red, green, blue = _eye((n[0] * looks[2] + n[1] * looks[3] + n[2] * looks[4]) / length, looks)
        return red, green, blue, *_EYE_GLEAM
    if material in (UPPER_TEETH, LOWER_TEETH):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        along = abs(w[0] * teeth[a, 0] + w[1] * teeth[b, 0] + w[2] * teeth[c, 0])
        height = w[0] * teeth[a, 1] + w[1] * teeth[b, 1] + w[2] * teeth[c, 1]
        width = looks[22] * (0.72 if material == LOWER_TEETH else 1.0)
        red, green, blue = _tooth(along, height, width, looks)
        return red, green, blue, *_TOOTH_GLEAM
    if material == TONGUE:
        return looks[27], looks[28], looks[29], *_TONGUE_GLEAM
    if material == GLASSES:
        return looks[15], looks[17], looks[30], *_FRAME_GLEAM
    return _LASH * looks[12], _LASH * looks[13], _LASH * looks[14], *_NO_GLEAM


@_kernel
def _light(strip: Float, n: np.uint64, lamps: Float, above: Float, below: Float) -> None:
    """Turn the colours of a strip's first n pixels into what the camera sees of them.

    Soft diffuse light and Blinn-Phong highlights.
    """
    for i in range(n):
        nx, ny, nz = strip[_NX + i], strip[_NY + i], strip[_NZ + i]
        vx, vy = strip[_VX + i], strip[_VY + i]
        scale = _ONE / sqrt(nx * nx + ny * ny + nz * nz + _TINY)
        far = _ONE / sqrt(vx * vx + vy * vy + _ONE)
        facing = (nx * vx + ny * vy + nz) * scale * far
        away = _ONE - max(facing, _ZERO)
        rim = _ONE - strip[_RIM + i] * away * away
        strip[_NX + i], strip[_NY + i], strip[_NZ + i] = nx * scale, ny * scale, nz * scale
        strip[_VX + i], strip[_VY + i], strip[_VZ + i] = vx * far, vy * far, far
        strip[_FACING + i] = facing
        up = _HALF + _HALF * ny * scale
        strip[_RED_LIGHT + i] = rim * (above[0] * up + below[0] * (_ONE - up))
        strip[_GREEN_LIGHT + i] = rim * (above[1] * up + below[1] * (_ONE - up))
        strip[_BLUE_LIGHT + i] = rim * (above[2] * up + below[2] * (_ONE - up))
        strip[_RED_GLINT + i] = strip[_GREEN_GLINT + i] = strip[_BLUE_GLINT + i] = _ZERO
        strip[_RIM + i] = rim
    for j in range(lamps.shape[0]):
        lx, ly, lz = lamps[j, 0], lamps[j, 1], lamps[j, 2]
        red, green, blue = lamps[j, 3], lamps[j, 4], lamps[j, 5]
        for i in range(n):
            d = strip[_NX + i] * lx + strip[_NY + i] * ly + strip[_NZ + i] * lz
            soft, hard = max((d + _WRAP) / (_ONE + _WRAP), _ZERO), max(d, _ZERO)
            rim = strip[_RIM + i]
            strip[_RED_LIGHT + i] += rim * soft * red  # red light spreads farthest under the skin
            strip[_GREEN_LIGHT + i] += rim * (hard + _SOFT_GREEN * (soft - hard)) * green
            strip[_BLUE_LIGHT + i] += rim * (hard + _SOFT_BLUE * (soft - hard)) * blue
            # to the direction half-way between lamp and camera: |l + v|^2 = 2 + 2 l.v
            between = strip[_VX + i] * lx + strip[_VY + i] * ly + strip[_VZ + i] * lz
            cosine = (d + strip[_FACING + i]) / sqrt(_TWO + _TWO * between + _TINY)
            power = strip[_SHINE + i] * _power(cosine, strip[_GLOSS + i])
            glint = power if (d > 0) & (cosine > _FAINT) & (strip[_SHINE + i] > _DULL) else _ZERO
            strip[_RED_GLINT + i] += glint * red
            strip[_GREEN_GLINT + i] += glint * green
            strip[_BLUE_GLINT + i] += glint * blue
    for i in range(n):
        strip[_RED + i] = strip[_RED + i] * strip[_RED_LIGHT + i] + strip[_RED_GLINT + i]
        strip[_GREEN + i] = strip[_GREEN + i] * strip[_GREEN_LIGHT + i] + strip[_GREEN_GLINT + i]
        strip[_BLUE + i] = strip[_BLUE + i] * strip[_BLUE_LIGHT + i] + strip[_BLUE_GLINT + i]


@_inlined
def _power(cosine, gloss):  # type: ignore[no-untyped-def]
    """cosine ** gloss to 1e-4 for cosines of 0.6 to 1 in plain arithmetic, which vectorises."""
    s = (cosine - _ONE) / (cosine + _ONE)
    s2 = s * s
    logarithm = s * (_TWO + s2 * (_ATANH3 + s2 * (_ATANH5 + s2 * _ATANH7)))
    x = gloss * logarithm * _EXP_STEP
    root = _ONE + x + _HALF * x * x  # exp(x) is the 64th power of exp(x / 64)
    root2 = root * root
    root4 = root2 * root2
    root8 = root4 * root4
    root16 = root8 * root8
    root32 = root16 * root16
    return root32 * root32


@_inlined
def _write(image, at, strip, i):  # type: ignore[no-untyped-def]
    y, x = at
    red, green, blue, lit = strip[_RED + i], strip[_GREEN + i], strip[_BLUE + i], strip[_LIT + i]
    if lit < _OPEN:  # light that reaches the mouth's depth has passed through flesh: it turns red
        pale = lit**_PALE
        red, green, blue = red * lit**_WARM, green * pale, blue * pale
    image[y, x, 0], image[y, x, 1], image[y, x, 2] = red, green, blue


@_inlined
def _texel(texture, u, v):  # type: ignore[no-untyped-def]
    """Bilinear look-up; v points up."""
    last = texture.shape[0] - 2
    size = np.float32(texture.shape[0])
    column, row = u * size - _HALF, (_ONE - v) * size - _HALF
    x, y = min(max(int(column), 0), last), min(max(int(row), 0), last)
    fx, fy = column - np.float32(x), row - np.float32(y)
    gx, gy = _ONE - fx, _ONE - fy
    return (
        gy * (gx * texture[y, x, 0] + fx * texture[y, x + 1, 0])
        + fy * (gx * texture[y + 1, x, 0] + fx * texture[y + 1, x + 1, 0]),
        gy * (gx * texture[y, x, 1] + fx * texture[y, x + 1, 1])
        + fy * (gx * texture[y + 1, x, 1] + fx * texture[y + 1, x + 1, 1]),
        gy * (gx * texture[y, x, 2] + fx * texture[y, x + 1, 2])
        + fy * (gx * texture[y + 1, x, 2] + fx * texture[y + 1, x + 1, 2]),
        gy * (gx * texture[y, x, 3] + fx * texture[y, x + 1, 3])
        + fy * (gx * texture[y + 1, x, 3] + fx * texture[y + 1, x + 1, 3]),
    )


@_inlined
def _eye(cosine, looks):  # type: ignore[no-untyped-def]
    """Pupil, iris with a dark rim, white; by the angle from the gaze."""
    angle = acos(min(1.0, max(-1.0, cosine))) / looks[5]
    if angle < 0.40:
        return _PUPIL, _PUPIL, _PUPIL
    if angle < 1:
        ring = 0.75 + 0.6 * (angle - 0.4)
        if angle > 0.86:
            ring *= 1 - 4 * (angle - 0.86)
        shade = np.float32(ring)
        return looks[6] * shade, looks[7] * shade, looks[8] * shade
    white = np.float32(1 - 0.25 * min(angle - 1, 1.0))
    return looks[18] * white, looks[19] * white, looks[20] * white


@_inlined
def _tooth(along, height, width, looks):  # type: ignore[no-untyped-def]
    """Enamel with grooves between the teeth, gums above the roots."""
    gap = along / 0.012
    edge = 0.0
    for tooth in range(7):
        edge += width if tooth == 0 else 0.82 * width
        gap = min(gap, abs(along - edge) / 0.012)
    enamel = (1 - looks[21] * exp(-gap * gap)) * (0.9 + 0.1 * (1 - height))
    gum = 1 / (1 + exp(-(height - looks[23]) * 26))
    white, pink = np.float32(enamel * (1 - gum)), np.float32(gum)
    return (
        looks[9] * white + looks[24] * pink,
        looks[10] * white + looks[25] * pink,
        looks[11] * white + looks[26] * pink,
    )
