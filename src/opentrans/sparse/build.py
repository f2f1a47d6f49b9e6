"""The kernel: compiled on first use for this processor, kept by the hash of source, compiler and processor."""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import cast

from opentrans.errors import UserError
from opentrans.system.files import atomic_path, get_cache_folder

_SOURCE = Path(__file__).with_name("kernel.cpp")
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-pthread")
_POINTER, _INT32, _INT64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
_ARGUMENTS = (
    _POINTER, _POINTER, _INT32, _INT32, *(_POINTER,) * 5, _INT64, _INT32, _INT32, _INT64, _INT64, *(_POINTER,) * 3,
    _INT32, _INT32, _POINTER,
)  # fmt: skip
Kernel = Callable[..., None]
_logger = logging.getLogger(__name__)


@cache
def load_kernel() -> Kernel | None:
    """``opentrans_sparse_conv``, or None (with a warning) where there is no C++ compiler or it fails.

    `CXX` names another compiler than ``c++``.
    """
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        _logger.warning("no C++ compiler: the subnetwork runs dense; install g++ or set CXX")
        return None

    library = get_cache_folder("kernels") / f"{_identify(compiler)}.so"
    if not library.exists():
        try:
            with atomic_path(library) as temporary:
                subprocess.run(
                    [compiler, *_FLAGS, _SOURCE, "-o", temporary], check=True, capture_output=True, text=True
                )
        except subprocess.CalledProcessError as error:
            _logger.warning("the sparse kernel does not compile, the subnetwork runs dense: %s", error.stderr.strip())
            return None
        except UserError as error:  # the cache cannot be written to
            _logger.warning("the sparse kernel is not kept, the subnetwork runs dense: %s", error)
            return None

    kernel = ctypes.CDLL(str(library)).opentrans_sparse_conv
    kernel.argtypes, kernel.restype = _ARGUMENTS, None
    return cast(Kernel, kernel)


def _identify(compiler: str) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    parts = [_SOURCE.read_text(encoding="utf-8"), *_FLAGS, version, platform.machine(), _get_processor()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _get_processor() -> str:
    """Model and features: a cache folder may be shared by machines of a cluster."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
