import pytest

from hallo_cli.errors import DeviceMemoryError
from hallo_cli.inference.memory import is_out_of_memory, next_fallback
from hallo_cli.settings.schema import RuntimeSettings


def test_rungs_come_in_order_and_end() -> None:
    names, runtime = [], RuntimeSettings()
    while fallback := next_fallback(runtime):
        name, runtime = fallback
        names.append(name)
    assert names == [
        "frames decoded one at a time",
        "clips decoded before the next begins",
        "guidance in two passes",
        "networks kept in host memory",
    ]


def test_rungs_that_are_in_use_are_skipped() -> None:
    fallback = next_fallback(RuntimeSettings(decode_chunk=1, decode_behind="off", split_guidance=True))
    assert fallback is not None
    assert fallback[1].offload


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize(
    "error",
    [
        DeviceMemoryError("x"),
        MemoryError(),
        OutOfMemoryError(),
        RuntimeError("not enough memory: y"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    ],
)
def test_lack_of_memory_is_recognised(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shape mismatch"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        OSError(28, "No space"),
        ValueError(),
    ],
)
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert not is_out_of_memory(error)
