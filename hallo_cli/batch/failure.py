"""The only place of a batch that catches every exception: one row's error does not stop the others."""

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from hallo_cli.errors import (
    FarFolderError,
    HalloError,
    InputError,
    Interrupted,
    SettingsError,
    WeightsError,
)
from hallo_cli.inference.memory import is_out_of_memory

_FINAL = (InputError, SettingsError, WeightsError)
_DEVICE_ERRORS = ("CUDA error", "cuBLAS", "CUBLAS_", "cuDNN", "CUDNN_", "device-side assert", "NCCL")
_Value = TypeVar("_Value")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """No result, and why."""

    kind: str
    message: str
    is_final: bool = False  # trying again cannot help
    is_interrupt: bool = False  # we were asked to stop; finished work was kept
    ends_batch: bool = False  # no result can be kept: the disk is full, or the far folder refuses
    is_device_lost: bool = False  # the accelerator's context is broken: only a new process helps
    is_out_of_memory: bool = False  # a new process has clean memory


def attempt(what: str, step: Callable[[], _Value]) -> _Value | Failure:
    """The step's result, or the ledger's entry for its exception, which is logged with its traceback."""
    try:
        return step()
    except Exception as error:  # noqa: BLE001 - the boundary between one row and all others
        if not isinstance(error, Interrupted):
            level = logging.INFO if isinstance(error, HalloError) else logging.ERROR
            _log.log(level, "%s", what, exc_info=error)
        return _failure_of(error)


def _failure_of(error: Exception) -> Failure:
    return Failure(
        kind=type(error).__name__,
        message=str(error) or type(error).__name__,
        is_final=isinstance(error, _FINAL),
        is_interrupt=isinstance(error, Interrupted),
        ends_batch=isinstance(error, FarFolderError) or _is_disk_full(error),
        is_device_lost=_is_device_lost(error),
        is_out_of_memory=is_out_of_memory(error),
    )


def _is_device_lost(error: Exception) -> bool:
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _DEVICE_ERRORS)


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        error = error.__cause__ or error.__context__
    return False
