"""Records passes of the network on a device and replays them: the host hands each over in one call.

A recording is a list of kernels and addresses, so it may read nothing but tensors that stay where they are.
What a pass reads is copied into such tensors before each replay, and what it gives is copied out of them:
nothing of a clip or a job is left in a recording, and the next one replays it.
"""

from __future__ import annotations

import dataclasses
import logging
import weakref
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor

from hallo_cli.inference.memory import is_lack_of_memory
from hallo_cli.inference.passes import NetworkPass, PassInputs, PassOutputs
from hallo_cli.models.context import ClipContext

T = TypeVar("T")
Again = Callable[[], object]

MAX_RECORDINGS = 8  # a job has one to four: guided or not, with the deep layers or without

logger = logging.getLogger(__name__)
_failed: list[torch.cuda.CUDAGraph] = []  # torch's allocator goes on referring to them


class Recorder(Protocol):
    """How work is recorded that makes tensors of tensors, the same each time."""

    def record(self, work: Callable[[], T]) -> tuple[T, Again]:
        """What the work gives, and what does it again: reads the same tensors, writes into the same.

        The results hold nothing before the first replay. Raises RuntimeError where it cannot be recorded.
        """
        ...


class CudaRecorder:
    """Records CUDA graphs. They share memory, so all are replayed on one stream."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # torch records on none but a stream of its own
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], T]) -> tuple[T, Again]:
        """See Recorder. Other threads may use the device meanwhile."""
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            work()  # whatever compiles, chooses kernels or sets up a library does so here
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            _failed.append(graph)
            try:
                results = work()
            finally:
                graph.capture_end()  # raises where something could not be recorded
                _failed.remove(graph)
        current.wait_stream(self._stream)
        return results, graph.replay


class Recorded:
    """A `PassRunner` that records each kind of pass the first time and replays it from then on.

    For one thread at a time. Where recording fails, it runs the passes plainly and says so once.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._recordings: dict[Hashable, _Recording] = {}
        self._has_failed = False

    def __call__(self, work: NetworkPass, inputs: PassInputs) -> PassOutputs:
        """What the pass gives, in tensors of the caller's own. Raises what the pass raises."""
        if self._has_failed:
            return work(inputs)
        try:
            return self._recording(work, inputs).replay(inputs)
        except RuntimeError as error:
            if is_lack_of_memory(error):
                raise
            logger.warning("the network's passes cannot be recorded, going on without: %s", error)
        self._has_failed, self._recordings = True, {}
        return work(inputs)

    def _recording(self, work: NetworkPass, inputs: PassInputs) -> _Recording:
        """The recording of such a pass; it holds the conditions already."""
        conditions = self._conditions(inputs.context)
        step = inputs._replace(context=conditions.kept)
        key = work, id(conditions), signature(step[:-1])
        if key not in self._recordings:
            if len(self._recordings) >= MAX_RECORDINGS:
                self._recordings.clear()
            kept = PassInputs(*copied(step[:-1]), conditions.kept)
            self._recordings[key] = _Recording(conditions, kept, *self._recorder.record(lambda: work(kept)))
        return self._recordings[key]

    def _conditions(self, context: ClipContext) -> _Conditions:
        known = [recording.conditions for recording in self._recordings.values()]
        for conditions in known:
            if conditions.source() is context:
                return conditions
        kind = signature(context)
        for conditions in known:
            if conditions.kind == kind:
                overwrite(conditions.kept, context)
                conditions.source = weakref.ref(context)
                return conditions
        return _Conditions(kind, copied(context), weakref.ref(context))


@dataclass
class _Conditions:
    """A clip's conditions where recordings read them."""

    kind: Hashable
    kept: ClipContext
    source: weakref.ref[ClipContext]  # what they were copied from


@dataclass(frozen=True)
class _Recording:
    conditions: _Conditions
    kept: PassInputs
    results: PassOutputs
    again: Again

    def replay(self, inputs: PassInputs) -> PassOutputs:
        """The conditions must have been copied already."""
        overwrite(self.kept[:-1], inputs[:-1])
        self.again()
        return copied(self.results)


def signature(value: Any) -> Hashable:
    """Equal for values of one structure with tensors of equal shapes and dtypes."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype
    parts = _parts(value)
    return value if parts is None else (type(value), *map(signature, parts))


def copied(value: T) -> T:
    """The same structure with copies of its tensors."""
    kind: Any = type(value)
    if isinstance(value, Tensor):
        return cast(T, value.clone())
    parts = _parts(value)
    if parts is None:
        return value
    copies = tuple(map(copied, parts))
    return cast(T, copies if kind is tuple else kind(*copies))


def overwrite(target: object, source: object) -> None:
    """Copy the source's tensors into those of a target of the same signature."""
    for into, of in zip(tensors(target), tensors(source), strict=True):
        into.copy_(of)


def tensors(value: object) -> Iterator[Tensor]:
    """All tensors of a structure, in a fixed order."""
    if isinstance(value, Tensor):
        yield value
    for part in _parts(value) or ():
        yield from tensors(part)


def _parts(value: Any) -> tuple[Any, ...] | None:
    """What a tuple or a dataclass is made of; None: it is neither."""
    if isinstance(value, tuple):
        return value
    if dataclasses.is_dataclass(value):
        return tuple(getattr(value, field.name) for field in dataclasses.fields(value))
    return None
