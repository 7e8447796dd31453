"""What a batch's workers make their renderers from; it is sent to them, and imports nothing heavy."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.errors import OutputError

if TYPE_CHECKING:
    from hallo_cli.batch.engines import MakeEngine
    from hallo_cli.batch.mirror import Mirror
    from hallo_cli.batch.renderer import JobRenderer
    from hallo_cli.settings.quality import QualityLimits
    from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

Measure = Callable[[Path, Path], Mapping[str, float]]  # video, portrait -> figures
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RendererSpec:
    """How a worker makes its renderer; it is sent to the worker, so all of it can be pickled."""

    make_engine: MakeEngine
    runtime: RuntimeSettings
    measure: Measure | None  # None: no quality gate
    limits: Mapping[str, QualityLimits]  # by preset; "": rows that name none
    first: RenderSettings | None = None  # load its networks before the first row
    own_folders: tuple[Path, ...] = ()  # made by the batch: no link in them is followed
    mirror: Mirror | None = None  # where finished videos go

    def __call__(self, device: str) -> JobRenderer:
        """The renderer of one worker."""
        from hallo_cli.batch.renderer import JobRenderer

        runtime = dataclasses.replace(self.runtime, device=device)
        renderer = JobRenderer(dataclasses.replace(self, runtime=runtime))
        if self.first is not None:
            engine = renderer.engines[self.first.bundle]
            engine.load_networks(engine.resolve_settings(self.first))
        return renderer


def measure_figures(video: Path, portrait: Path, *, curves_dir: Path | None = None) -> dict[str, float]:
    """The figures that can be measured offline; curves for the report are kept in `curves_dir`."""
    from hallo_cli.batch.curve_files import keep_curves
    from hallo_cli.evaluation.measure_video import measure_video
    from hallo_cli.store.digests import file_digest

    figures, curves = measure_video(video, portrait=portrait)
    if curves_dir is not None:
        try:
            keep_curves(curves_dir, file_digest(video), curves)
        except (OutputError, OSError) as error:
            _log.warning("no curves of %s: %s", video, error)
    values = figures.to_dict()
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
