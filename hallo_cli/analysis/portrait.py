"""Turns a picture file into a `Portrait`: finds the face, checks it, frames it, derives regions and masks.

Results are cached by the picture's content, so that a portrait with many recordings is analysed once.
Knows no networks but the face's.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from hallo_cli.analysis import regions
from hallo_cli.analysis.face import Face, FaceAnalyser
from hallo_cli.analysis.framing import cut, face_square, to_square
from hallo_cli.analysis.identity import IdentityNetwork
from hallo_cli.analysis.lips import Lips
from hallo_cli.analysis.mouth import mouth_window
from hallo_cli.analysis.portrait_cache import recall, remember
from hallo_cli.analysis.sight import Sight, choose_face, from_left, listed, require_usable, unfitness
from hallo_cli.bundles.bundle_file import Geometry
from hallo_cli.domain import WHOLE, Bytes, CropBox, Float, Portrait, RegionMasks
from hallo_cli.errors import PortraitError
from hallo_cli.media.files import require_file
from hallo_cli.media.image import read_image
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.store.cache import cache_path
from hallo_cli.store.digests import file_digest

CACHE_VERSION = 6  # raise when the analysis changes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PortraitOptions:
    """What the user may choose about the portrait."""

    size: int  # height and width of the rendered square
    framing: str = "crop"  # crop, head-and-shoulders, full or whole
    face_index: int | None = None  # counted from the left; None: the largest
    face_expand_ratio: float = 1.2
    as_published: bool = False  # unsuitable faces give warnings; each network chooses among several faces


@dataclass(frozen=True)
class Requirements:
    """How a bundle's networks need a portrait prepared."""

    networks: NetworkConfig
    geometry: Geometry


class PortraitAnalyser:
    """Holds the face networks (and the identity network, for bundles that need it) between portraits."""

    def __init__(
        self,
        requirements: Requirements,
        *,
        identity: IdentityNetwork | None = None,
        threads: int = 1,
        cache: Path | None = None,
    ) -> None:
        """`cache`: folder of the remembered analyses; None: `portraits` in the program's cache."""
        self._requirements = requirements
        self._identity = identity
        self._threads = threads
        self._cache = cache or cache_path("portraits")
        self._last: tuple[str, Bytes] | None = None  # digest and upright picture of the last portrait

    @cached_property
    def _faces(self) -> FaceAnalyser:
        return FaceAnalyser(threads=self._threads)

    def analyse(self, file: Path, options: PortraitOptions) -> Portrait:
        """Return the portrait in a picture file, from the cache where it was analysed before.

        Raises PortraitError if the picture cannot be read or has no face, or (unless as published) where
        the face is smaller than MIN_FACE, turned away or not found by the identity network.
        """
        digest = file_digest(require_file(file, PortraitError, "portrait"))
        if self._cache is None:
            return self._analyse(file, digest, options)
        note = self._cache / f"{self._key(digest, options)}.npz"
        portrait = recall(note, digest)
        if portrait is None:
            portrait = self._analyse(file, digest, options)
            remember(note, portrait)
        if portrait.identity is not None and not portrait.identity.any():
            log.warning(
                "%s: the identity network finds no face (a painting or a drawing?). Continuing without an "
                "identity, as published: the likeness comes from the picture alone.",
                file.name,
            )
        return portrait

    def look(self, file: Path, options: PortraitOptions) -> Sight:
        """The picture set upright, its faces, and the one that is animated.

        Raises PortraitError if none can be. As published, pictures stay as they lie.
        """
        return see(read_image(file), self._faces, options, file)

    def upright(self, file: Path, portrait: Portrait) -> Bytes:
        """The whole picture of an analysed portrait; the last one's is not decoded again.

        Raises PortraitError if the file has vanished.
        """
        last = self._last
        if last is None or last[0] != portrait.digest:
            picture = np.ascontiguousarray(np.rot90(read_image(file), portrait.quarter_turns))
            last = self._last = portrait.digest, picture
        return last[1]

    def _analyse(self, file: Path, digest: str, options: PortraitOptions) -> Portrait:
        sight = self.look(file, options)
        picture, face = sight.picture, sight.face
        self._last = digest, picture
        identity = self._embedding(picture, face, options)
        frame = (
            _whole(picture, face, options)
            if options.framing == "whole"
            else self._square(picture, face, options)
        )
        return Portrait(
            pixels=frame.pixels,
            crop=frame.crop,
            source_size=(picture.shape[1], picture.shape[0]),
            landmarks=frame.landmarks,
            face_region=regions.locator_mask(frame.face, frame.size, (options.size, options.size)),
            masks=self._masks(frame, options.size),
            identity=identity,
            digest=digest,
            quarter_turns=sight.quarter_turns,
            notes=notes_of(sight, options),
            window=mouth_window(frame.landmarks, options.size) if self._is_anchored else WHOLE,
        )

    @property
    def _is_anchored(self) -> bool:
        return self._requirements.networks.is_anchored

    def _embedding(self, picture: Bytes, face: Face, options: PortraitOptions) -> Float | None:
        """The face's identity embedding; zeros if the identity network finds no face."""
        if self._identity is None:
            return None
        if not options.as_published:
            return self._identity.embed(picture, face)
        if options.face_index is None:
            embedding = self._identity.embed_largest(picture)
        else:
            with contextlib.suppress(PortraitError):
                return self._identity.embed(picture, face)
            embedding = None
        nobody = np.zeros(self._requirements.networks.face_embedding_dim, np.float32)
        return nobody if embedding is None else embedding

    def _square(self, picture: Bytes, face: Face, options: PortraitOptions) -> _Frame:
        crop = face_square(face.landmarks, self._requirements.geometry)
        landmarks = to_square(face.landmarks, crop, options.size)
        size = (options.size, options.size)
        pixels = cut(picture, crop, options.size)
        if self._is_anchored:
            pixels = Lips(landmarks, pixels).shut()
        return _Frame(
            pixels=pixels,
            crop=crop,
            landmarks=landmarks,
            size=size,
            face=regions.face_rectangle(landmarks, size, options.face_expand_ratio),
            lip=regions.lip_rectangle(landmarks, size, self._requirements.geometry.lip_expand_ratio),
        )

    def _masks(self, frame: _Frame, size: int) -> RegionMasks:
        side = size // self._requirements.networks.latent_factor
        grids = []
        for _ in range(self._requirements.networks.levels):
            grids.append((side, side))
            side = -(-side // 2)
        return regions.attention_masks(regions.region_maps(frame.face, frame.lip, frame.size), grids)

    def _key(self, digest: str, options: PortraitOptions) -> str:
        networks = self._requirements.networks
        parts: Sequence[object] = (
            *(CACHE_VERSION, digest, astuple(options), astuple(self._requirements.geometry)),
            *(networks.levels, networks.latent_factor, networks.image_size),
            self._identity.digest if self._identity else None,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:40]


def see(picture: Bytes, analyser: FaceAnalyser, options: PortraitOptions, file: Path) -> Sight:
    """Set a picture upright and find the face that is animated; `file` names it. Raises PortraitError."""
    if not options.as_published:
        turns, picture, found = analyser.set_upright(picture)
        faces = from_left(found)
        face = choose_face(faces, options.face_index, file)
        require_usable(face, file)
        return Sight(picture, turns, faces, face)
    faces = from_left(analyser.detect(picture, thorough=True))
    surest = analyser.surest(picture) if options.face_index is None else None
    face = surest or choose_face(faces, options.face_index, file)
    for unfit in unfitness(face, file):
        log.warning("%s Continuing as published.", unfit)
    return Sight(picture, 0, faces, face)


def notes_of(sight: Sight, options: PortraitOptions) -> tuple[str, ...]:
    """Warnings about a portrait before it is rendered."""
    is_several = len(sight.faces) > 1 and options.face_index is None
    which = "the largest is used"
    if options.as_published:
        which = "the one with the highest detection score moves, with the identity of the largest"
    several = (f"{listed(sight.faces)}: {which}, --face-index chooses another",) if is_several else ()
    return (*several, *sight.notes(options.size))


@dataclass(frozen=True)
class _Frame:
    """The rendered square, and the regions in the picture they were measured in."""

    pixels: Bytes
    crop: CropBox
    landmarks: Float  # in pixels of `pixels`
    size: tuple[int, int]  # (width, height) of the picture that holds `face` and `lip`
    face: regions.Region
    lip: regions.Region


def _whole(picture: Bytes, face: Face, options: PortraitOptions) -> _Frame:
    """The whole picture squeezed into the square, regions measured before: as published."""
    height, width = picture.shape[:2]
    target = (options.size, options.size)
    pixels = Image.fromarray(picture).resize(target, Image.Resampling.BILINEAR)
    scale = np.array([options.size / width, options.size / height], np.float32)
    return _Frame(
        pixels=np.array(pixels),
        crop=CropBox(0.0, 0.0, float(max(width, height))),
        landmarks=face.landmarks * scale,
        size=(width, height),
        face=regions.face_rectangle(face.landmarks, (width, height), options.face_expand_ratio),
        lip=regions.lip_rectangle(face.landmarks, (width, height)),
    )
