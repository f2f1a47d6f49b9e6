"""Folders that are either whole or absent: built beside their place under a temporary name, then renamed."""

import shutil
import tempfile
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from opentrans.errors import UserError


@contextmanager
def atomic_folder(destination: Path, known: Set[str]) -> Iterator[Path]:
    """Yield a new folder beside `destination`; on success it replaces `destination`, on failure it vanishes.

    Args:
        destination: where the folder goes; an earlier result there is replaced.
        known: the names of the entries such a result has.

    Raises:
        UserError: `destination` holds something that is not among `known`, so it is not ours to remove.
    """
    check_replaceable(destination, known)
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        yield temporary
        replace_folder(temporary, destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(finished: Path, destination: Path) -> None:
    """Rename a finished folder to `destination`, which it replaces."""
    finished.chmod(0o755)
    if destination.exists():
        shutil.rmtree(destination)
    finished.rename(destination)


def check_replaceable(destination: Path, known: Set[str]) -> None:
    """Refuse to replace a folder that holds something that is not among `known`, or a file."""
    if destination.exists() and not destination.is_dir():
        raise UserError(destination, "a file is in the way of the output folder", "give another --output")
    strangers = {entry.name for entry in destination.iterdir()} - known if destination.exists() else set()
    if strangers:
        raise UserError(destination, f"holds other files ({min(strangers)})", "give an empty or new --output folder")
