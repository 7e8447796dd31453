"""Files of named tensors, memory-mapped: safetensors, and torch's own format where it holds only tensors."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hallo_cli.errors import WeightsError
from hallo_cli.store.writing import rename, reporting_write_errors

REMEDY = "Fetch or convert the bundle again."


def map_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU, their bytes read when they are first used.

    The mapping ends with the last reference to its tensors. Raises WeightsError where the file is damaged or
    holds anything but named tensors; nothing in it is ever run.
    """
    return _map_safetensors(path) if path.suffix == ".safetensors" else _map_torch(path)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, whole or not at all. Raises OutputError."""
    laid_out = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with (
        reporting_write_errors(path),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".hallo-") as folder,
    ):
        part = Path(folder) / path.name  # safetensors replaces the file that it is told to write
        try:
            save_file(laid_out, part, metadata=dict(metadata) if metadata else None)
        except SafetensorError as error:  # its way of telling of a full disk
            raise OSError(None, str(error)) from error
        rename(part, path)


def _map_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: damaged or cut short ({error}). {REMEDY}") from error


def _map_torch(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: holds more than tensors and could run code; it was not read. Get the weights from a "
            "source you trust, as a plain state dict or as safetensors."
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: damaged, cut short or of an old format ({reason}). {REMEDY}") from error
    if not isinstance(content, dict) or not all(_is_named_tensor(*item) for item in content.items()):
        raise WeightsError(
            f"{path}: not a plain table of named tensors. Save the state dict itself, with nothing around it."
        )
    return content


def _is_named_tensor(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)
