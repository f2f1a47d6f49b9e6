"""Reading a downloaded pickle without running what it says: plain containers and numpy arrays only."""

import pickle
from pathlib import Path
from typing import Any

from opentrans.errors import UserError

ADMITTED = {
    *((module, "_reconstruct") for module in ("numpy.core.multiarray", "numpy._core.multiarray")),
    *((module, "scalar") for module in ("numpy.core.multiarray", "numpy._core.multiarray")),
    *((module, "_frombuffer") for module in ("numpy.core.numeric", "numpy._core.numeric")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not data")
        # Old pickles name numpy's private modules as they were called before numpy 2.
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)


def read_pickle(path: Path) -> Any:
    """Unpickle containers, strings, numbers and numpy arrays; anything else is refused with a `UserError`."""
    try:
        with path.open("rb") as stream:
            return _Unpickler(stream).load()
    except FileNotFoundError:
        raise UserError(
            path, "no such file", "set data.raw_root (or data.folders) to where the download lies"
        ) from None
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(path, f"refused or unreadable pickle ({error})", "download the official file again") from None
