"""The `hallo` command whose batches run on the trivial engine: `python tests/stub_batch_cli.py batch ...`."""

import batch_doubles

from hallo_cli.batch import building
from hallo_cli.cli import batch_build
from hallo_cli.cli.app import main

building.make_engine = batch_doubles.make_engine  # type: ignore[assignment]
batch_build.predict = lambda engine, settings, frames: frames / 10  # type: ignore[assignment]

if __name__ == "__main__":
    main()
