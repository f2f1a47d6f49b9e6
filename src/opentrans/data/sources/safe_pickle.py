"""Reading a downloaded pickle without running what it says: plain containers and numpy arrays only.

Not even numpy's own constructors are called: given a wrong state they read and write outside of the array. What a
pickle says of an array is noted by a stand-in, checked, and made into an array afterwards.
"""

import math
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from opentrans.errors import UserError, refuse_reading


@dataclass
class _Type:
    """A data type: numpy's code, such as ``i8``, and byte order."""

    code: str
    order: str = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def make(self) -> np.dtype[Any]:
        if not re.fullmatch("[biufSU][0-9]+|O8?", self.code) or self.order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError(f"data type {self.order}{self.code} is not admitted")
        return np.dtype(self.order + self.code)


@dataclass
class _Array:
    """An array or, if its shape is (), a scalar."""

    type: _Type
    shape: tuple[int, ...] = (0,)
    fortran: bool = False
    data: Any = b""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.type, self.fortran, self.data = state

    def make(self, done: dict[int, Any]) -> Any:
        kind = self.type.make()
        if not kind.hasobject:
            return np.frombuffer(self.data, kind).reshape(self.shape, order="F" if self.fortran else "C")[()]
        if len(self.data) != math.prod(self.shape):
            raise pickle.UnpicklingError(f"{len(self.data)} entries for an array of shape {self.shape}")

        # One by one: numpy would take entries that are arrays apart.
        array = np.empty(len(self.data), object)
        for position, value in enumerate(self.data):
            array[position] = _resolve(value, done)
        return array.reshape(self.shape)[()]


class _Admitted:
    """Something that a pickle may call, and not change."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    def __call__(self, *arguments: Any) -> Any:
        return self.make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes what it calls")


def _from_buffer(data: Any, kind: _Type, shape: tuple[int, ...], order: str) -> _Array:
    return _Array(kind, shape, order == "F", data)


_ADMITTED = {
    ("numpy._core.multiarray", "_reconstruct"): _Admitted(lambda *_: _Array(_Type("u1"))),
    ("numpy._core.multiarray", "scalar"): _Admitted(lambda kind, data: _Array(kind, (), False, data)),
    ("numpy._core.numeric", "_frombuffer"): _Admitted(_from_buffer),
    ("numpy", "ndarray"): _Admitted(lambda *_: None),  # only named, as _reconstruct's argument
    ("numpy", "dtype"): _Admitted(lambda code, *_: _Type(code)),
    # How protocol 2 writes bytes.
    ("_codecs", "encode"): _Admitted(lambda text, _: text.encode("latin1")),
    ("__builtin__", "bytes"): _Admitted(lambda: b""),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # Old pickles name numpy's private modules as they were called before numpy 2.
        admitted = _ADMITTED.get((module.replace("numpy.core.", "numpy._core."), name))
        if admitted is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not data")
        return admitted


def _resolve(value: Any, done: dict[int, Any]) -> Any:
    """`value` with arrays for their stand-ins; a container that holds itself is a `RecursionError`.

    `done` holds what was made of each object by its id: lists that share lists must not be unfolded.
    """
    if not isinstance(value, _Array | _Type | dict | list | tuple):
        return value
    if id(value) in done:
        return done[id(value)]

    made: Any
    if isinstance(value, _Array):
        made = value.make(done)
    elif isinstance(value, _Type):
        made = value.make()
    elif isinstance(value, dict):
        made = {key: _resolve(entry, done) for key, entry in value.items()}
    else:
        made = type(value)(_resolve(entry, done) for entry in value)
    done[id(value)] = made
    return made


def read_pickle(path: Path) -> Any:
    """Unpickle containers, strings, numbers and numpy arrays; anything else is refused with a `UserError`."""
    try:
        with path.open("rb") as stream:
            content = _Unpickler(stream).load()
            return _resolve(content, {})
    except FileNotFoundError:
        raise UserError(
            path, "no such file", "set data.raw_root (or data.folders) to where the download lies"
        ) from None
    except PermissionError:
        raise refuse_reading(path) from None
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(path, f"refused or unreadable pickle ({error})", "download the official file again") from None
