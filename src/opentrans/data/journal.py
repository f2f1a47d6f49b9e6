"""What lets an interrupted preparation resume: a folder beside the destination, and a journal of what is done."""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from opentrans.errors import UserError
from opentrans.system.files import sha256
from opentrans.system.folders import check_replaceable, replace_folder

_JOURNAL = "journal.jsonl"
_FLUSH_EVERY = 64


@dataclass(frozen=True)
class Entry:
    """One finished image: its stamp (what it was made from), index row, pixels by class, files with their hashes."""

    stamp: str
    row: dict[str, object]
    pixels: dict[str, int]
    files: dict[str, str]


class Journal:
    """Finished images of an unfinished preparation, appended line by line to a file in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stream = (folder / _JOURNAL).open("a+", encoding="utf-8", errors="surrogateescape")
        try:
            fcntl.lockf(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, not shared by forked workers
        except OSError:
            self.stream.close()
            raise UserError(folder, "another preparation is writing here", "wait for it or stop it") from None
        self.unflushed = 0

    def read(self) -> dict[str, Entry]:
        """What earlier attempts finished, by image id; a line that was cut off ends the journal."""
        finished: dict[str, Entry] = {}
        self.stream.seek(0)
        whole = 0  # bytes of the lines that were read

        for line in self.stream:
            try:
                entry = Entry(**json.loads(line))
                finished[str(entry.row["image_id"])] = entry
            except (ValueError, TypeError, KeyError, RecursionError):  # cut off, or the disk's damage
                break
            whole += len(line.encode(errors="surrogateescape"))

        # What is appended next must start on a line of its own.
        self.stream.truncate(whole)
        return finished

    def is_intact(self, entry: Entry) -> bool:
        """Whether the files of an entry are still what they were."""
        return all(
            (self.folder / name).is_file() and sha256(self.folder / name) == digest
            for name, digest in entry.files.items()
        )

    def add(self, entry: Entry) -> None:
        """Write an entry; the files that it names are written already."""
        self.stream.write(json.dumps(vars(entry)) + "\n")
        self.unflushed += 1
        if self.unflushed >= _FLUSH_EVERY:
            self.stream.flush()
            self.unflushed = 0

    def close(self) -> None:
        """Flush and unlock."""
        self.stream.close()


def make_stamp(*parts: bytes) -> str:
    """A digest of everything that a finished image depends on."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


@contextmanager
def resumable_folder(destination: Path, known: Set[str]) -> Iterator[tuple[Path, Journal]]:
    """Yield the unfinished folder of `destination` and its journal; on success it becomes `destination`.

    On failure or interruption it stays, if anything in it is finished, and the next attempt gets it again.

    Raises:
        UserError: `destination` holds something not among `known`, or another process prepares it.
    """
    check_replaceable(destination, known)
    folder = destination.with_name(f".{destination.name}.unfinished")
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(folder)

    try:
        yield folder, journal
        journal.close()
        (folder / _JOURNAL).unlink()
        replace_folder(folder, destination)
    finally:
        journal.close()
        if folder.exists() and not _holds_anything(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _holds_anything(folder: Path) -> bool:
    journal = folder / _JOURNAL
    return journal.exists() and journal.stat().st_size > 0
