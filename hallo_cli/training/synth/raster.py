"""The rasteriser: a z-buffer that notes which triangle is seen where, then shades each seen pixel once.

Compiled by numba. Screen y points down; camera space is right-handed and the camera looks along -z.
"""

from __future__ import annotations

from math import acos, exp, sqrt

import numpy as np
from numba import njit

from hallo_cli.domain import Float
from hallo_cli.training.synth.head_model import EYE, LOWER_TEETH, SKIN, TONGUE, UPPER_TEETH, Int

_kernel = njit(cache=True, fastmath=True, nogil=True)
_inlined = njit(inline="always", fastmath=True)


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
        x0, y0, x1, y1, x2, y2 = (
            screen[a, 0],
            screen[a, 1],
            screen[b, 0],
            screen[b, 1],
            screen[c, 0],
            screen[c, 1],
        )
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-6 or (area > 0 and materials[t] < TONGUE):
            continue
        left, right = max(int(min(x0, x1, x2)), 0), min(int(max(x0, x1, x2)) + 1, size - 1)
        top, bottom = max(int(min(y0, y1, y2)), 0), min(int(max(y0, y1, y2)) + 1, size - 1)
        inverse = 1 / area
        z0, z1, z2 = screen[a, 2], screen[b, 2], screen[c, 2]
        for y in range(top, bottom + 1):
            py = y + 0.5
            for x in range(left, right + 1):
                px = x + 0.5
                w0 = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) * inverse
                w1 = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * inverse
                w2 = 1 - w0 - w1
                if w0 < 0 or w1 < 0 or w2 < 0:
                    continue
                z = w0 * z0 + w1 * z1 + w2 * z2
                if z > depth[y, x]:
                    depth[y, x] = z
                    seen[y, x] = t
                    weights[y, x, 0] = w0 * z0 / z
                    weights[y, x, 1] = w1 * z1 / z
    return seen, weights


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
    surface: tuple[Float, Float, Float, Float],  # camera-space vertices, normals, openness, tooth coordinates
    texture: Float,  # [t, t, 4] colour and shininess
    lights: tuple[Float, Float, Float],  # directional [l, 6] direction and colour; ambient from above, below
    looks: Float,  # see identity.draw_looks
) -> None:
    """Colour every seen pixel."""
    seen, weights = visible
    triangles, materials = mesh[0], mesh[2]
    vertices, normals, openness, teeth = surface
    lamps, above, below = lights
    for y in range(seen.shape[0]):
        for x in range(seen.shape[1]):
            t = seen[y, x]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            w0, w1 = weights[y, x, 0], weights[y, x, 1]
            w2 = 1 - w0 - w1
            nx = w0 * normals[a, 0] + w1 * normals[b, 0] + w2 * normals[c, 0]
            ny = w0 * normals[a, 1] + w1 * normals[b, 1] + w2 * normals[c, 1]
            nz = w0 * normals[a, 2] + w1 * normals[b, 2] + w2 * normals[c, 2]
            px = w0 * vertices[a, 0] + w1 * vertices[b, 0] + w2 * vertices[c, 0]
            py = w0 * vertices[a, 1] + w1 * vertices[b, 1] + w2 * vertices[c, 1]
            pz = w0 * vertices[a, 2] + w1 * vertices[b, 2] + w2 * vertices[c, 2]
            far = 1 / sqrt(px * px + py * py + pz * pz)
            vx, vy, vz = -px * far, -py * far, -pz * far
            scale = 1 / sqrt(nx * nx + ny * ny + nz * nz + 1e-9)
            facing = (nx * vx + ny * vy + nz * vz) * scale
            if materials[t] >= TONGUE and facing < 0:
                scale = -scale
            nx, ny, nz = nx * scale, ny * scale, nz * scale
            colour = _colour(t, (w0, w1, w2), (nx, ny, nz, facing), mesh, teeth, texture, looks)
            red, green, blue = _lit(colour, (nx, ny, nz), (vx, vy, vz), lamps, above, below)
            lit = w0 * openness[a] + w1 * openness[b] + w2 * openness[c]
            if lit < 0.999:  # light that reaches the mouth's depth has passed through flesh: it turns red
                red, green, blue = red * lit**0.85, green * lit**1.25, blue * lit**1.25
            image[y, x, 0], image[y, x, 1], image[y, x, 2] = red, green, blue


@_inlined
def _colour(t, w, n, mesh, teeth, texture, looks):  # type: ignore[no-untyped-def]
    """The surface's own colour, its shininess and gloss: (red, green, blue, shine, gloss)."""
    triangles, uv_triangles, materials, uv = mesh
    material = materials[t]
    if material == SKIN:
        a, b, c = uv_triangles[t, 0], uv_triangles[t, 1], uv_triangles[t, 2]
        u = w[0] * uv[a, 0] + w[1] * uv[b, 0] + w[2] * uv[c, 0]
        v = w[0] * uv[a, 1] + w[1] * uv[b, 1] + w[2] * uv[c, 1]
        red, green, blue, shine = _texel(texture, u, v)
        rim = 1 - looks[16] * (1 - max(n[3], 0.0)) ** 2
        return red * rim, green * rim, blue * rim, shine * looks[0], looks[1]
    if material == EYE:
        red, green, blue = _eye(n[0] * looks[2] + n[1] * looks[3] + n[2] * looks[4], looks)
        return red, green, blue, 0.7, 70.0
    if material in (UPPER_TEETH, LOWER_TEETH):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        along = abs(w[0] * teeth[a, 0] + w[1] * teeth[b, 0] + w[2] * teeth[c, 0])
        height = w[0] * teeth[a, 1] + w[1] * teeth[b, 1] + w[2] * teeth[c, 1]
        width = looks[22] * (0.72 if material == LOWER_TEETH else 1.0)
        red, green, blue = _tooth(along, height, width, looks)
        return red, green, blue, 0.22, 30.0
    if material == TONGUE:
        return looks[27], looks[28], looks[29], 0.16, 18.0
    return 0.4 * looks[12], 0.4 * looks[13], 0.4 * looks[14], 0.0, 1.0


@_inlined
def _lit(colour, n, view, lamps, above, below):  # type: ignore[no-untyped-def]
    """A surface colour under the lights: soft diffuse light and Blinn-Phong highlights."""
    red, green, blue, shine, gloss = colour
    up = 0.5 + 0.5 * n[1]
    red_light = above[0] * up + below[0] * (1 - up)
    green_light = above[1] * up + below[1] * (1 - up)
    blue_light = above[2] * up + below[2] * (1 - up)
    red_glint, green_glint, blue_glint = 0.0, 0.0, 0.0
    for j in range(lamps.shape[0]):
        lx, ly, lz = lamps[j, 0], lamps[j, 1], lamps[j, 2]
        d = n[0] * lx + n[1] * ly + n[2] * lz
        if d < -0.25:
            continue
        soft, hard = (d + 0.25) / 1.25, max(0.0, d)
        red_light += soft * lamps[j, 3]  # red light spreads farthest under the skin
        green_light += (0.35 * soft + 0.65 * hard) * lamps[j, 4]
        blue_light += (0.25 * soft + 0.75 * hard) * lamps[j, 5]
        if d <= 0 or shine <= 0.003:
            continue
        hx, hy, hz = lx + view[0], ly + view[1], lz + view[2]
        cosine = (n[0] * hx + n[1] * hy + n[2] * hz) / sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
        if cosine > 0.6:
            power = shine * cosine**gloss
            red_glint += power * lamps[j, 3]
            green_glint += power * lamps[j, 4]
            blue_glint += power * lamps[j, 5]
    return red * red_light + red_glint, green * green_light + green_glint, blue * blue_light + blue_glint


@_inlined
def _texel(texture: Float, u: float, v: float) -> tuple[float, float, float, float]:
    """Bilinear look-up; v points up."""
    size = texture.shape[0]
    column, row = u * size - 0.5, (1 - v) * size - 0.5
    x, y = min(max(int(column), 0), size - 2), min(max(int(row), 0), size - 2)
    fx, fy = column - x, row - y
    a, b, c, d = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    p, q, r, s = texture[y, x], texture[y, x + 1], texture[y + 1, x], texture[y + 1, x + 1]
    return (
        a * p[0] + b * q[0] + c * r[0] + d * s[0],
        a * p[1] + b * q[1] + c * r[1] + d * s[1],
        a * p[2] + b * q[2] + c * r[2] + d * s[2],
        a * p[3] + b * q[3] + c * r[3] + d * s[3],
    )


@_inlined
def _eye(cosine: float, looks: Float) -> tuple[float, float, float]:
    """Pupil, iris with a dark rim, white; by the angle from the gaze."""
    angle = acos(min(1.0, max(-1.0, cosine))) / looks[5]
    if angle < 0.40:
        return 0.015, 0.015, 0.015
    if angle < 1:
        ring = 0.75 + 0.6 * (angle - 0.4)
        if angle > 0.86:
            ring *= 1 - 4 * (angle - 0.86)
        return looks[6] * ring, looks[7] * ring, looks[8] * ring
    white = 1 - 0.25 * min(angle - 1, 1.0)
    return looks[18] * white, looks[19] * white, looks[20] * white


@_inlined
def _tooth(along: float, height: float, width: float, looks: Float) -> tuple[float, float, float]:
    """Enamel with grooves between the teeth, gums above the roots."""
    gap = along / 0.012
    edge = 0.0
    for tooth in range(7):
        edge += width if tooth == 0 else 0.82 * width
        gap = min(gap, abs(along - edge) / 0.012)
    enamel = (1 - looks[21] * exp(-gap * gap)) * (0.9 + 0.1 * (1 - height))
    gum = 1 / (1 + exp(-(height - looks[23]) * 26))
    return (
        looks[9] * enamel * (1 - gum) + looks[24] * gum,
        looks[10] * enamel * (1 - gum) + looks[25] * gum,
        looks[11] * enamel * (1 - gum) + looks[26] * gum,
    )
