"""What a measurement was taken on, and the memory that a process had at most."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch", "torchvision", "numpy", "scipy", "pillow", "transformers", "torchmetrics", "pycocotools",
    "onnxruntime", "openvino", "onnx",
)  # fmt: skip
VECTOR_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile")


def describe_machine() -> dict[str, Any]:
    """Hardware and versions; no host name, no path."""
    return {
        "cpu": _first("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_first("/proc/meminfo", "MemTotal").split()[0]) / 2**20, 1),
        "vector": [flag for flag in VECTOR_FLAGS if flag in _first("/proc/cpuinfo", "flags").split()],
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def get_load() -> float:
    """Processes that wanted a core over the last minute; above the number of cores the machine is shared."""
    return round(os.getloadavg()[0], 1)


def reset_peak() -> int:
    """Forget this process's peak; returns what it holds now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def get_peak() -> int:
    """The most that this process has held since `reset_peak`, in bytes."""
    return _status("VmHWM")


def _status(field: str) -> int:
    return int(_first("/proc/self/status", field).split()[0]) * 1024


def _first(path: str, field: str) -> str:
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
