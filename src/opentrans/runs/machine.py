"""On what a report was made: hardware, versions, commit. No host name, no user, no path."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from opentrans import __version__
from opentrans.config.loading import REPOSITORY

PACKAGES = (
    "torch", "torchvision", "open_clip_torch", "transformers", "numpy", "scipy", "statsmodels", "pandas",
    "weightwatcher", "ptflops", "matplotlib", "snakemake", "dvc",
)  # fmt: skip


def describe_hardware() -> dict[str, str]:
    """Processor, cores that this process may use, memory, graphics cards, operating system; unknown ones left out."""
    memory = _read_field(Path("/proc/meminfo"), "MemTotal").split()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cards = [_read_field(path, "Model") for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))]

    hardware = {
        "processor": _read_field(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": str(cores or ""),
        "memory": f"{int(memory[0]) / 2**20:.1f} GiB" if memory else "",
        "graphics card": ", ".join(card for card in cards if card),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return {name: value for name, value in hardware.items() if value}


def describe_versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that decide results; what is not installed is left out."""
    versions = {"opentrans": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def describe_commit(repository: Path = REPOSITORY) -> str:
    """The commit of the sources, and whether tracked files differ from it."""
    commit = _git(repository, "rev-parse", "HEAD")
    if commit is None:
        return "unknown: the sources are not in a git repository"
    return f"{commit} with uncommitted changes" if _git(repository, "status", "--porcelain", "-uno") else commit


def _git(repository: Path, *words: str) -> str | None:
    command = ["git", "-c", f"safe.directory={repository}", "-C", str(repository), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _read_field(path: Path, field: str) -> str:
    """The value of the first ``field: value`` line; empty where there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    parts = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in parts if name.strip() == field), "")
