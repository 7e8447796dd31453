"""The paths of a batch's files: all beside the manifest, named after it."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hallo_cli.errors import SettingsError


@dataclass(frozen=True)
class Shard:
    """Part `index` (from 1) of `count` of the rows, for one of several machines."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise SettingsError(
                f"--shard {self.index}/{self.count}: the first is 1/{self.count}, the last "
                f"{self.count}/{self.count}."
            )

    @property
    def name(self) -> str:
        """The suffix of this shard's file names; empty for the whole batch."""
        return "" if self.count == 1 else f".{self.index}-of-{self.count}"


@dataclass(frozen=True)
class Paths:
    """The files of a batch."""

    base: Path  # the manifest without its suffix
    shard: Shard = field(default_factory=Shard)

    @property
    def results(self) -> Path:
        """The ledger of this run's shard."""
        return self._named(f"{self.shard.name}.results.jsonl")

    @property
    def merged(self) -> Path:
        """The ledger of the whole batch."""
        return self._named(".results.jsonl")

    @property
    def videos(self) -> Path:
        """The folder for videos without an output of their own."""
        return self._named(".videos")

    @property
    def folder(self) -> Path:
        """Lock, logs, findings and quarantine."""
        return self._named(f"{self.shard.name}.batch")

    @property
    def parts(self) -> Path:
        """The parts of long rows."""
        return self.folder / "parts"

    @property
    def curves(self) -> Path:
        """The curves of measured videos, of all shards."""
        return self._named(".batch") / "curves"

    @property
    def report(self) -> Path:
        """The page; the table lies beside it."""
        return self._named(".report.html")

    def ledgers(self) -> list[Path]:
        """All ledgers there are: those of shards, the merged one, and last this run's own."""
        pattern = re.compile(re.escape(self.base.name) + r"\.\d+-of-\d+\.results\.jsonl")
        folder = self.base.parent
        shards = sorted(path for path in folder.glob("*.results.jsonl") if pattern.fullmatch(path.name))
        others = [path for path in (*shards, self.merged) if path != self.results]
        return [path for path in (*others, self.results) if path.exists()]

    def folders(self) -> list[Path]:
        """The folders of the whole batch and of its shards, if they exist."""
        pattern = re.compile(re.escape(self.base.name) + r"(\.\d+-of-\d+)?\.batch")
        found = sorted(path for path in self.base.parent.glob("*.batch") if pattern.fullmatch(path.name))
        return [path for path in found if path.is_dir()]

    def _named(self, suffix: str) -> Path:
        return self.base.with_name(self.base.name + suffix)


def read_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """I/N, or auto (Slurm) or auto/N (Kubernetes, Slurm) from the environment. Raises SettingsError."""
    if match := re.fullmatch(r"(\d+)/(\d+)", text):
        return Shard(int(match[1]), int(match[2]))
    if match := re.fullmatch(r"auto(?:/(\d+))?", text):
        return _from_environment(environment, match[1])
    raise SettingsError(f"--shard {text!r} is not I/N such as 1/4, nor auto, nor auto/N.")


def _from_environment(environment: Mapping[str, str], count: str | None) -> Shard:
    for index, first, total in (
        ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT"),
        ("JOB_COMPLETION_INDEX", "", ""),
    ):
        if index in environment:
            n_shards = count or environment.get(total)
            if n_shards is None:
                raise SettingsError(
                    f"--shard auto: {index} does not give the number of shards; use --shard auto/N."
                )
            try:
                position = int(environment[index]) - int(environment.get(first, "0"))
                return Shard(position + 1, int(n_shards))
            except ValueError as error:
                raise SettingsError(f"--shard auto: {index} and its count must be whole numbers.") from error
    raise SettingsError("--shard auto: neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set.")
