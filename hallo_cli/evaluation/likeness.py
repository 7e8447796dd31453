"""Finds the networks that measure identity: those of the official weights, whose licence keeps them out of
this package."""

from __future__ import annotations

import logging

from hallo_cli.analysis.identity import IdentityNetwork
from hallo_cli.analysis.of_bundle import identity_of
from hallo_cli.bundles.bundle import find_bundle, list_bundles
from hallo_cli.errors import WeightsError

logger = logging.getLogger(__name__)


def find_identity(bundle: str | None) -> IdentityNetwork | None:
    """The face networks of this bundle (a name or a folder), by default of the official one.

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
        logger.warning("identity is measured without its network: %s", error)
        return None
