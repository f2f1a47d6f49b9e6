"""Tensors on disk: safetensors, written atomically, nothing unpickled."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from opentrans.errors import UserError
from opentrans.system.files import write_bytes, write_hashed

_METADATA = "opentrans"


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, hashed: bool = False
) -> None:
    """Write named tensors and string metadata, if `hashed` with the SHA-256 beside; equal content gives equal bytes.

    The metadata is one JSON entry: safetensors itself writes several entries in arbitrary order.
    """
    content = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    write = write_hashed if hashed else write_bytes
    write(path, save(content, {_METADATA: json.dumps(dict(metadata or {}), sort_keys=True)}))


def load_tensors(path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata; a missing, truncated or foreign file is a `UserError` with `remedy`."""
    try:
        with safe_open(path, framework="pt") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}, _read_metadata(stream.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(path, "no such file", remedy) from None
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise UserError(path, f"damaged or not safetensors ({error})", remedy) from None


def _read_metadata(entries: dict[str, str]) -> dict[str, str]:
    """Our own metadata, or that of a file which others wrote."""
    content: dict[str, str] = json.loads(entries[_METADATA]) if _METADATA in entries else dict(entries)
    return content
