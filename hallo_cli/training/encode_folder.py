"""Encodes a folder of take shards, each once; a run that was stopped goes on at its next shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hallo_cli.errors import InputError
from hallo_cli.store.digests import file_digest
from hallo_cli.store.writing import make_folder
from hallo_cli.training.encoded_shards import read_origin, write_encoded
from hallo_cli.training.take_encoder import TakeEncoder
from hallo_cli.training.takes import Take, read_takes, shards_in


@dataclass(frozen=True)
class EncodedShard:
    """Progress: one shard is done."""

    name: str
    done: int
    total: int
    was_there: bool


def encode_folder(
    takes_folder: Path, output: Path, make: Callable[[], TakeEncoder], *, part: tuple[int, int] = (0, 1)
) -> Iterator[EncodedShard]:
    """Encode every take shard that is not encoded yet; takes of the validation split go to OUTPUT/validation.

    part: (i, n) takes every n-th shard from the i-th, so that several processes can share the work. Raises
    InputError, also where a shard that is there was made from something else, and OutputError.
    """
    jobs = [_ShardJob(shard, output) for shard in shards_in(takes_folder)[part[0] :: part[1]]]
    encoder = make()
    for job in jobs:
        job.require_same_origin(encoder)
    for number, job in enumerate(jobs):
        is_done = job.is_done
        if not is_done:
            job.run(encoder)
        yield EncodedShard(job.shard.name, number + 1, len(jobs), is_done)


@dataclass(frozen=True)
class _ShardJob:
    """One shard of takes and the encoded shards that it becomes."""

    shard: Path
    output: Path

    @property
    def targets(self) -> dict[str, Path]:
        """By split, in the order of writing."""
        name = f"{self.shard.stem}.safetensors"
        return {"validation": self.output / "validation" / name, "train": self.output / name}

    @property
    def is_done(self) -> bool:
        """The part for training comes last: alone, the other is all only where nothing is for training."""
        if self.targets["train"].exists():
            return True
        is_begun = self.targets["validation"].exists()
        return is_begun and all(take.info.split == "validation" for take in read_takes(self.shard))

    def require_same_origin(self, encoder: TakeEncoder) -> None:
        """Raises InputError if a file that would be kept was made from something else."""
        for target in self.targets.values():
            noted = read_origin(target) if target.exists() else {}
            now = self._origin(encoder) if noted else {}
            other = [name for name, value in noted.items() if now.get(name, value) != value]
            if other:
                raise InputError(
                    f"{target} was encoded with another {' and another '.join(other)}: choose another "
                    "folder, or remove it to encode it again"
                )

    def run(self, encoder: TakeEncoder) -> None:
        """Encode the shard and write what it becomes."""
        by_split: Mapping[str, list[Take]] = {split: [] for split in self.targets}
        for take in read_takes(self.shard):
            by_split[take.info.split].append(take)
        for split, target in self.targets.items():
            if by_split[split]:
                make_folder(target.parent)
                write_encoded(target, *encoder.shard(by_split[split]), origin=self._origin(encoder))

    def _origin(self, encoder: TakeEncoder) -> dict[str, str]:
        return {"shard of takes": file_digest(self.shard), **encoder.origin}
