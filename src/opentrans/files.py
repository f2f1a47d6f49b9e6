"""Files that are either whole or absent: temporary name, fsync, rename."""

import csv
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentrans.errors import UserError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success flush it to disk and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def get_cache_folder(kind: str) -> Path:
    """Where what can always be made again is kept across jobs: ``$XDG_CACHE_HOME/opentrans/{kind}``."""
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
    remedy: str = "make it again with the step that writes it",
    hook: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:
    """Read JSON; a missing or broken file is a `UserError`. `hook` replaces every object as soon as it is read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_hook=hook)
    except FileNotFoundError:
        raise UserError(path, "no such file", remedy) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(path, f"not readable as JSON ({error})", remedy) from None


def write_csv(path: Path, fields: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV with a header atomically."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(
    path: Path, fields: Sequence[str], remedy: str = "make it again with the step that writes it"
) -> list[dict[str, str]]:
    """Read a CSV (byte-order mark allowed) that must hold at least the columns `fields`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows, header = list(reader), reader.fieldnames or []
    except FileNotFoundError:
        raise UserError(path, "no such file", remedy) from None
    except UnicodeDecodeError as error:
        raise UserError(path, f"not UTF-8 text ({error})", remedy) from None
    missing = [field for field in fields if field not in header]
    if missing:
        raise UserError(path, f"column {', '.join(missing)} is missing", remedy)
    return rows


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_folder(path: Path, remedy: str) -> Path:
    """Return `path` if it is a folder, else raise a `UserError`."""
    if not path.is_dir():
        raise UserError(path, "no such folder", remedy)
    return path
