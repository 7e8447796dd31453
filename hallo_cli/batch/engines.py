"""The engines of a process, one for each bundle."""

import threading
from collections.abc import Callable

from hallo_cli.jobs.engine import Engine
from hallo_cli.settings.schema import RuntimeSettings

MakeEngine = Callable[[str, RuntimeSettings], Engine]  # bundle, how to run it


class Engines(dict[str, Engine]):
    """The engine of each bundle, made when it is first asked for; usable from several threads."""

    def __init__(self, make_engine: MakeEngine, runtime: RuntimeSettings) -> None:
        super().__init__()
        self._make_engine, self._runtime = make_engine, runtime
        self._lock = threading.RLock()

    def __missing__(self, bundle: str) -> Engine:
        with self._lock:
            if bundle not in self:
                self[bundle] = self._make_engine(bundle, self._runtime)
            return self[bundle]
