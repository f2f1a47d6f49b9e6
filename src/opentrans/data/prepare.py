"""From an official download to the prepared form, with the checks that catch badly laid out data."""

import hashlib
import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt
from PIL import Image
from tqdm import tqdm

from opentrans.config import DataConfig
from opentrans.data.histograms import Histogram, compare_known
from opentrans.data.journal import Entry, Journal, make_stamp, resumable_folder
from opentrans.data.maps import encode_map, get_size
from opentrans.data.prepared import INDEX_FIELDS, hash_labels
from opentrans.data.sources.base import Decoded, Item, Source, check_size
from opentrans.data.sources.registry import open_source
from opentrans.errors import UserError, refuse_reading
from opentrans.runs.code_digest import hash_sources
from opentrans.runs.layout import INDEX_FILE, NOUNS_FILE, STATISTICS_FILE, VOCABULARY_FILE
from opentrans.system.files import write_csv, write_json
from opentrans.system.pools import open_pool

_PARTS = ("labels", "segments", "images")
_ENTRIES = {INDEX_FILE, VOCABULARY_FILE, STATISTICS_FILE, NOUNS_FILE, *_PARTS}


def prepare(dataset: str, split: str, config: DataConfig, destination: Path, workers: int = 1) -> None:
    """Prepare one split of one data set into `destination`, which appears only when whole.

    What an interrupted preparation finished is kept beside `destination` and taken over by the next, if neither the
    download nor the code has changed.

    Args:
        dataset: a key of `opentrans.data.sources.registry.DATASETS`.
        split: ``train`` or ``val``; `config.splits` may map it to another official split.
        config: where the downloads are and how they are prepared.
        destination: folder to write; an earlier preparation there is replaced.
        workers: processes that decode.
    """
    source = open_source(dataset, split, config)
    with resumable_folder(destination, _ENTRIES) as (folder, journal):
        for name in _PARTS:
            (folder / name).mkdir(exist_ok=True)

        rows = []
        histogram = Histogram(len(source.vocabulary))
        files: set[str] = set()
        entries = _run(source, folder, destination, journal, workers)
        title, total = f"prepare {dataset} {split}", len(source.items)
        with tqdm(entries, title, total, unit="image", file=sys.stderr, mininterval=1) as progress:
            for entry in progress:
                rows.append(entry.row)
                histogram.add(entry.pixels)
                files |= entry.files.keys()

        source.check_split(histogram.pixels, len(rows))
        remarks = [] if source.known is None else compare_known(histogram, source.known)
        for remark in remarks:
            print(f"{title}: {remark}", file=sys.stderr)

        _remove_others(folder, files)
        write_csv(folder / INDEX_FILE, INDEX_FIELDS, rows)
        source.vocabulary.write(folder / VOCABULARY_FILE)

        statistics = {"images": len(rows), "labels_sha256": hash_labels(rows)}
        head = {"dataset": dataset, "split": split, "remarks": remarks}
        write_json(folder / STATISTICS_FILE, head | histogram.describe() | statistics)


def _run(source: Source, folder: Path, destination: Path, journal: Journal, workers: int) -> Iterator[Entry]:
    """Entries in the order of the items, whatever the number of processes: taken from the journal, or made."""
    code = hash_sources("prepare").encode()
    recorded = journal.read()
    missing: list[tuple[Item, str]] = []
    finished: dict[str, Entry] = {}
    for item in source.items:
        stamp = _stamp(source, item, code, destination)
        entry = recorded.get(item.image_id)
        if entry is not None and entry.stamp == stamp and journal.is_intact(entry):
            finished[item.image_id] = entry
        else:
            missing.append((item, stamp))
    if finished:
        print(f"{len(finished)} of {len(source.items)} images are prepared already", file=sys.stderr)

    made = _make(partial(prepare_item, source, folder, destination), missing, workers)
    try:
        for item in source.items:
            if item.image_id in finished:
                yield finished[item.image_id]
            else:
                entry = next(made)
                journal.add(entry)
                yield entry
    finally:
        # Stops the worker processes when whoever reads the entries stops early.
        made.close()


@cache
def _get_relative(folder: Path, destination: Path) -> str:
    return os.path.relpath(folder.resolve(), destination.resolve())


def _stamp(source: Source, item: Item, code: bytes, destination: Path) -> str:
    """What the files of an image depend on: its own files (folder, size, time), the vocabulary, the code."""
    states = [path.stat() for path in (item.image, item.label)]
    state = repr([(s.st_size, s.st_mtime_ns) for s in states])
    folder = _get_relative(item.image.parent, destination)
    return make_stamp(code, folder.encode(), state.encode(), source.fingerprint(item))


_work: list[Callable[[Item, str], Entry]] = []  # of a worker process


def _make(work: Callable[[Item, str], Entry], items: Sequence[tuple[Item, str]], workers: int) -> Generator[Entry]:
    """Apply `work` to the items, in their order."""
    if workers <= 1 or len(items) <= 1:
        yield from (work(item, stamp) for item, stamp in items)
        return

    # The source can be large: every process gets it once, not with every image.
    with open_pool(workers, partial(_work.append, work)) as pool:
        yield from pool.map(_make_one, items, chunksize=max(1, min(64, len(items) // (4 * workers))))


def _make_one(task: tuple[Item, str]) -> Entry:
    return _work[0](*task)


def prepare_item(source: Source, folder: Path, destination: Path, item: Item, stamp: str) -> Entry:
    """Decode, check and write one image."""
    decoded = source.decode(item)
    ignore = source.vocabulary.ignore
    content = _read(item.image)
    height, width = decoded.labels.shape
    size = get_size(content, item.image) if decoded.image is None else decoded.image.shape[:2]
    check_size(item.image, size, (height, width))

    name = f"{item.image_id}.png"
    labels = decoded.labels.astype(np.uint8 if ignore < 256 else np.uint16, copy=False)
    files = {f"labels/{name}": encode_map(labels)}
    if decoded.segments is not None:
        files[f"segments/{name}"] = encode_map(decoded.segments)
    for path, encoded in files.items():
        (folder / path).write_bytes(encoded)
    hashes = {path: hashlib.sha256(encoded).hexdigest() for path, encoded in files.items()}

    image, copied = _write_image(decoded, item, folder, destination)
    row: dict[str, object] = {
        "image_id": item.image_id,
        "image": image,
        "label": f"labels/{name}",
        "segments": f"segments/{name}" if decoded.segments is not None else "",
        "height": height,
        "width": width,
        "image_sha256": hashlib.sha256(content).hexdigest(),
        "label_sha256": hashes[f"labels/{name}"],
    }

    pixels = _count(labels, len(source.vocabulary), ignore) if decoded.pixels is None else decoded.pixels
    occurring = {str(index): int(pixels[index]) for index in np.flatnonzero(pixels)}
    return Entry(stamp, row, occurring, hashes | copied)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except PermissionError:
        raise refuse_reading(path) from None
    except OSError as error:
        raise UserError(path, f"unreadable image ({error})", "complete the data set") from None


def _count(labels: UInt[np.ndarray, "h w"], classes: int, ignore: int) -> Int[np.ndarray, " k1"]:
    """Pixels of each class, ignored ones last."""
    counts = np.bincount(labels.ravel(), minlength=ignore + 1)
    return np.append(counts[:classes], counts[ignore])


def _write_image(decoded: Decoded, item: Item, folder: Path, destination: Path) -> tuple[str, dict[str, str]]:
    """The image's path in the index and the hash of what was written: the download's file, or a lossless copy."""
    if decoded.image is None:
        return f"{_get_relative(item.image.parent, destination)}/{item.image.name}", {}
    path = f"images/{item.image_id}.png"
    Image.fromarray(decoded.image).save(folder / path, compress_level=1)
    return path, {path: hashlib.sha256((folder / path).read_bytes()).hexdigest()}


def _remove_others(folder: Path, files: set[str]) -> None:
    """Remove what an earlier attempt wrote for images that are no longer there, and folders that stay empty."""
    for name in _PARTS:
        for path in (folder / name).iterdir():
            if f"{name}/{path.name}" not in files:
                path.unlink()
        if not any((folder / name).iterdir()):
            (folder / name).rmdir()
