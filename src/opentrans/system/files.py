"""Files that are either whole or absent: temporary name, fsync, rename."""

import csv
import fcntl
import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from opentrans.errors import UserError, explain

TEMPORARY = ".part"
HASH_SUFFIX = ".sha256"
_written: dict[Path, None] = {}  # what this process wrote, in order


def get_written() -> list[Path]:
    """The files that this process has written through `atomic_path`, in order."""
    return list(_written)


def forget_written() -> None:
    """From here on another command writes."""
    _written.clear()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success flush it to disk and rename it to `path`.

    Temporary files that a killed process left for the same `path` are removed first.

    Raises:
        UserError: the disk is full, the folder is read-only, ... (`path` is then what it was before).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(path)

        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent)
        temporary = Path(name)
        try:
            _try_lock(handle)  # while we live, nobody takes the file for an orphan
            yield temporary

            # On disk before it gets its name: after a power loss the name never stands for half a file.
            temporary.chmod(0o644)
            _fsync(temporary)
            temporary.replace(path)
            _fsync(path.parent)
            _written[path] = None
        finally:
            temporary.unlink(missing_ok=True)
            os.close(handle)

    except OSError as error:
        known = explain(error)
        if known is None:
            raise
        raise UserError(path, known.problem, known.remedy) from None


def _remove_orphans(path: Path) -> None:
    """Remove temporary files of `path` whose writer is dead: the lock that it held is free."""
    for orphan in path.parent.glob(f".{glob.escape(path.name)}.*{TEMPORARY}"):
        with suppress(OSError):
            handle = os.open(orphan, os.O_RDWR)
            try:
                if _try_lock(handle):
                    orphan.unlink()
            finally:
                os.close(handle)


def _try_lock(handle: int) -> bool:
    """Take the exclusive lock of an open file; False if another process has it or the file system knows none."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def hold_lock(path: Path, what: str) -> Iterator[None]:
    """Hold an exclusive lock on the file `path` (made if needed); the kernel frees it when the process dies.

    Forked workers do not share it, so that it is free at once, even if they outlive the process for some seconds.

    Raises:
        UserError: another process holds it; `what` says what that process is doing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    # lockf, not flock: a lock of flock would live on in forked workers.
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise UserError(path, f"another process is {what}", "wait for it or end it") from None
        except OSError:  # a file system without locks: nothing keeps others out
            pass
        yield
    finally:
        os.close(handle)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def get_cache_folder(kind: str) -> Path:
    """Where what can always be recreated is kept across jobs: ``$XDG_CACHE_HOME/opentrans/{kind}``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "opentrans" / kind


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, keys sorted so that equal content is equal bytes."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(
    path: Path,
    remedy: str = "run the step that writes it again",
    hook: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:
    """Read JSON (byte-order mark allowed); a missing or broken file is a `UserError`. `hook` replaces each object."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_hook=hook)
    except FileNotFoundError:
        raise UserError(path, "no such file", remedy) from None
    except (ValueError, RecursionError) as error:
        raise UserError(path, f"not readable as JSON ({error})", remedy) from None


def write_csv(path: Path, fields: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV with a header atomically."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(
    path: Path, fields: Sequence[str], remedy: str = "run the step that writes it again"
) -> list[dict[str, str]]:
    """Read a CSV (byte-order mark allowed) that must hold at least the columns `fields`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
            header = reader.fieldnames or []
    except FileNotFoundError:
        raise UserError(path, "no such file", remedy) from None
    except UnicodeDecodeError as error:
        raise UserError(path, f"not UTF-8 text ({error})", remedy) from None
    except csv.Error as error:
        raise UserError(path, f"not readable as CSV ({error})", remedy) from None

    missing = [field for field in fields if field not in header]
    if missing:
        raise UserError(path, f"column {', '.join(missing)} is missing", remedy)

    # csv fills a short row with None and keeps the surplus of a long one under the key None.
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise UserError(f"{path}: row {number}", f"has not the {len(header)} cells of the header", remedy)
    return rows


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_hashed(path: Path, content: bytes) -> None:
    """Write `content` atomically, and before it its SHA-256 into ``{path}.sha256`` (the form of ``sha256sum``)."""
    write_text(hash_path(path), f"{hashlib.sha256(content).hexdigest()}  {path.name}\n")
    write_bytes(path, content)


def hash_path(path: Path) -> Path:
    """Where the SHA-256 of `path` is kept."""
    return path.with_name(path.name + HASH_SUFFIX)


def check_hash(path: Path, remedy: str, required: bool = False) -> None:
    """Compare `path` with the SHA-256 beside it; a difference (or, if `required`, no hash) is a `UserError`."""
    try:
        expected = hash_path(path).read_text(encoding="utf-8", errors="replace").split()[:1]
    except FileNotFoundError:
        if required:
            raise UserError(path, f"has no {HASH_SUFFIX} file beside it", remedy) from None
        return
    if path.is_file() and [sha256(path)] != expected:
        raise UserError(path, f"damaged: it is not what {HASH_SUFFIX} beside it says", remedy)


def require_folder(path: Path, remedy: str) -> Path:
    """Return `path` if it is a folder, else raise a `UserError`."""
    if not path.is_dir():
        raise UserError(path, "no such folder", remedy)
    return path
