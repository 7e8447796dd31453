"""Files of named tensors, memory-mapped: safetensors, and torch's own format where it holds only tensors."""

from __future__ import annotations

import pickle
import pickletools
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hallo_cli.errors import WeightsError, first_line
from hallo_cli.store.writing import rename, reporting_write_errors

REMEDY = "Fetch or convert the bundle again."
HEADER_LIMIT = 1 << 24  # bytes that describe the tensors; 300,000 of the official model
PLAIN = re.compile(  # what the tables of plain state dicts call for
    r"collections OrderedDict|torch\._utils _rebuild_(tensor_v[23]|parameter)|torch\.storage UntypedStorage"
    r"|torch (\w+Storage|b?float\d+\w*|u?int\d+)"
)


def map_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU; their bytes are read on first use.

    The mapping ends with the last reference to its tensors. Raises WeightsError if the file is damaged or
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
        _require_small_header(path)
        return load_file(path, device="cpu")
    except Exception as error:  # a damaged file makes the parsers fail in any way
        raise WeightsError(f"{path}: damaged or cut short ({first_line(error)}). {REMEDY}") from error


def _require_small_header(path: Path) -> None:
    """Raise ValueError if the description is longer than any real one: reading it takes memory."""
    with path.open("rb") as file:
        n_bytes = int.from_bytes(file.read(8), "little")
    if n_bytes > HEADER_LIMIT:
        raise ValueError(f"its header claims {n_bytes} bytes")


def _map_torch(path: Path) -> dict[str, Tensor]:
    try:
        _require_plain_pickle(path)
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: holds more than tensors and could run code; it was not read. Get the weights from a "
            "source you trust, as a plain state dict or as safetensors."
        ) from error
    except Exception as error:  # a damaged file makes the parsers fail in any way
        raise WeightsError(
            f"{path}: damaged, cut short or of an old format ({first_line(error)}). {REMEDY}"
        ) from error
    if not isinstance(content, dict) or not all(_is_named_tensor(*item) for item in content.items()):
        raise WeightsError(
            f"{path}: not a plain table of named tensors. Save the state dict itself, with nothing around it."
        )
    return content


def _require_plain_pickle(path: Path) -> None:
    """Look at what torch would unpack and unpickle, before it does.

    Raises ValueError if entries are compressed or too large, UnpicklingError if anything but tensors
    is called for.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("it is compressed, which torch does not do")
        pickles = [entry for entry in entries if entry.filename.endswith(".pkl")]
        if len(pickles) != 1 or pickles[0].file_size > HEADER_LIMIT:
            raise ValueError("its table of tensors is missing, double or too large")
        table = archive.read(pickles[0])
    for operation, argument, _ in pickletools.genops(table):
        called = str(argument) if operation.name in ("GLOBAL", "INST") else operation.name
        if operation.name in ("GLOBAL", "INST", "STACK_GLOBAL") and not PLAIN.fullmatch(called):
            raise pickle.UnpicklingError(called)


def _is_named_tensor(name: object, value: object) -> bool:
    """Whether this is a tensor under a name, all of whose numbers are in the file."""
    if not isinstance(name, str) or not isinstance(value, Tensor):
        return False
    is_plain = value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized
    return is_plain and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
