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

from opentrans.errors import UserError
from opentrans.system.files import atomic_path, get_cache_folder

SOURCE = Path(__file__).with_name("kernel.cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-pthread")
POINTER, INT32, INT64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
ARGUMENTS = (
    POINTER, POINTER, INT32, INT32, *(POINTER,) * 5, INT64, INT32, INT32, INT64, INT64, *(POINTER,) * 3,
    INT32, INT32, POINTER,
)  # fmt: skip
Kernel = Callable[..., None]
logger = logging.getLogger(__name__)


@cache
def load_kernel() -> Kernel | None:
    """``opentrans_sparse_conv``, or None (with a warning) where there is no C++ compiler or it fails.

    `CXX` names another compiler than ``c++``.
    """
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        logger.warning("no C++ compiler: the subnetwork runs dense; install g++ or set CXX")
        return None
    library = get_cache_folder("kernels") / f"{_identify(compiler)}.so"
    if not library.exists():
        try:
            with atomic_path(library) as temporary:
                subprocess.run([compiler, *FLAGS, SOURCE, "-o", temporary], check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            logger.warning("the sparse kernel does not compile, the subnetwork runs dense: %s", error.stderr.strip())
            return None
        except UserError as error:  # the cache cannot be written to
            logger.warning("the sparse kernel is not kept, the subnetwork runs dense: %s", error)
            return None
    function = ctypes.CDLL(str(library)).opentrans_sparse_conv
    function.argtypes, function.restype = ARGUMENTS, None
    kernel: Kernel = function
    return kernel


def _identify(compiler: str) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    parts = [SOURCE.read_text(encoding="utf-8"), *FLAGS, version, platform.machine(), _get_processor()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _get_processor() -> str:
    """Model and features: a cache folder may be shared by machines of a cluster."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
