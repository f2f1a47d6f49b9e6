"""Free space and free inodes, against what the profile writes."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from opentrans.doctor.checks import Check, fault, fine, format_size, warn
from opentrans.doctor.sizes import DiskNeed

SHOWN_NEEDS = 3  # the largest parts of a need that a line names
QUOTA = "quotas are not seen here: `quota -s`, or your site's command"


@dataclass(frozen=True)
class FileSystem:
    """A file system that results go to: free bytes and inodes (None: it has no fixed number)."""

    path: Path
    device: int
    free: int
    inodes: int | None


def find_file_system(path: Path) -> FileSystem:
    """The file system of `path`, or of the nearest folder above it that is there."""
    place = path.resolve()
    while not place.exists():
        place = place.parent
    status = os.statvfs(place)
    # Btrfs and others count no inodes and say 0.
    inodes = status.f_favail if status.f_files else None
    return FileSystem(path, place.stat().st_dev, shutil.disk_usage(place).free, inodes)


def measure_folder(folder: Path) -> tuple[int, int]:
    """Bytes and files that lie in a folder already."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files), len(files)


def describe_needs(needs: Sequence[DiskNeed]) -> str:
    """The largest parts: ``checkpoints 12 GB, region embeddings 5.3 GB``."""
    largest = sorted(needs, key=lambda need: -need.size)[:SHOWN_NEEDS]
    return ", ".join(f"{need.what} {format_size(need.size)}" for need in largest if need.size)


def check_disk(where: str, free: float, needs: Sequence[DiskNeed], present: float = 0) -> Check:
    """Whether what is still to be written fits; `present` bytes of it are there already."""
    needed = max(0.0, sum(need.size for need in needs) - present)
    text = f"{where}: {format_size(free)} free, about {format_size(needed)} still to write"
    detail = describe_needs(needs)
    if free < needed:
        remedy = f"free {format_size(needed - free)}, or make it a link to a larger file system ({detail})"
        return fault("disk", text, remedy)
    if free < 2 * needed:
        remedy = "enough for one copy; DVC's cache is a second one where the file system cannot share blocks"
        return warn("disk", text, remedy)
    return fine("disk", f"{text} ({detail})" if needed else text)


def check_inodes(where: str, free: int | None, needs: Sequence[DiskNeed], present: int = 0) -> Check:
    """Whether the file system admits as many files."""
    needed = max(0, sum(need.files for need in needs) - present)
    if free is None:
        return fine("inodes", f"{where}: no fixed number, about {needed:,} files still to write; {QUOTA}")
    text = f"{where}: {free:,} free, about {needed:,} files still to write"
    if free < needed:
        return fault("inodes", text, f"take another file system for data and results; {QUOTA}")
    if free < 2 * needed:
        return warn("inodes", text, f"DVC's cache doubles the files; {QUOTA}")
    return fine("inodes", text)
