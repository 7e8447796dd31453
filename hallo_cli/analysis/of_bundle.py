"""A bundle's analysers and canvas: how its training saw faces, and what a video of it shows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.analysis.framing import (
    Canvas,
    View,
    full_canvas,
    motion_canvas,
    shoulders_canvas,
    square_canvas,
)
from hallo_cli.analysis.motion_canvas import MotionCanvas
from hallo_cli.analysis.portrait import PortraitAnalyser, Requirements
from hallo_cli.bundles.bundle import Bundle, find_bundle, list_bundles
from hallo_cli.domain import Bytes, MotionShape, Portrait
from hallo_cli.errors import WeightsError
from hallo_cli.models.network_config import NetworkConfig

if TYPE_CHECKING:
    from hallo_cli.analysis.identity import IdentityNetwork

log = logging.getLogger(__name__)


def identity_of(bundle: Bundle) -> IdentityNetwork:
    """The bundle's face networks. Raises WeightsError if it has none."""
    from hallo_cli.analysis.identity import IdentityNetwork

    return IdentityNetwork(bundle.file("face_detector"), bundle.file("identity"))


def find_identity(bundle: str | None) -> IdentityNetwork | None:
    """The face networks that measure identity: of this bundle (a name or a folder), else the official ones.

    None if no bundle is named and the official weights are not installed, or only in part. Raises
    WeightsError if the named bundle has none.
    """
    if bundle is not None:
        return identity_of(find_bundle(bundle))
    if "official" not in dict(list_bundles()):
        return None
    try:
        return identity_of(find_bundle("official"))
    except WeightsError as error:
        log.warning("identity is measured without its network: %s", error)
        return None


def analyser_of(
    bundle: Bundle,
    networks: NetworkConfig,
    *,
    threads: int,
    needs_identity: bool = True,
    cache: Path | None = None,
) -> PortraitAnalyser:
    """Finds and frames faces as the bundle's training did. `cache`: as PortraitAnalyser has it.

    Raises WeightsError if the bundle lacks the identity network that it needs.
    """
    identity = identity_of(bundle) if needs_identity and bundle.manifest.needs_identity else None
    requirements = Requirements(networks, bundle.manifest.geometry)
    return PortraitAnalyser(requirements, identity=identity, threads=threads, cache=cache)


def canvas_of(
    networks: NetworkConfig, picture: Callable[[], Bytes], portrait: Portrait, view: View
) -> Canvas | MotionCanvas:
    """What the view shows of a portrait that these networks animate.

    `picture` gives the whole upright one where it is needed.
    """
    if networks.is_anchored:
        side = networks.image_size
        return motion_canvas(picture(), portrait, MotionShape(side // 2, 2 * side, portrait.window), view)
    if view.framing in ("crop", "whole"):
        return square_canvas(portrait, is_squeezed=view.framing == "whole")
    return (full_canvas if view.framing == "full" else shoulders_canvas)(picture(), portrait)
