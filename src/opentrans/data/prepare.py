"""From an official download to the prepared form, with the checks that catch badly laid out data."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from opentrans.config import DataConfig
from opentrans.data.ade150 import Ade150
from opentrans.data.ade847 import OFFICIAL_CLASSES, Ade847
from opentrans.data.cityscapes import Cityscapes
from opentrans.data.coco import CocoPanoptic
from opentrans.data.folders import atomic_folder
from opentrans.data.pascal import PascalContext59, PascalContext459, Voc2012
from opentrans.data.prepared import INDEX_FIELDS, read_rgb
from opentrans.data.source import COMPLETE, WORLD_MARKER, Decoded, Item, Source, check_count
from opentrans.errors import UserError
from opentrans.files import require_folder, sha256, write_csv, write_json

ENTRIES = {"index.csv", "labels", "segments", "images", "vocabulary.json", "stats.json"}


@dataclass(frozen=True)
class Dataset:
    """How a data set is read, the official name of its folder, and its official image counts and class count."""

    read: Callable[[Path, str, DataConfig], Source]
    folder: str
    counts: dict[str, tuple[int, ...]]
    classes: int


DATASETS: dict[str, Dataset] = {
    "coco": Dataset(CocoPanoptic, "coco", {"train": (118287,), "val": (5000,)}, 133),
    "cityscapes": Dataset(Cityscapes, "cityscapes", {"train": (2975,), "val": (500,)}, 19),
    "ade150": Dataset(Ade150, "ADEChallengeData2016", {"train": (20210,), "val": (2000,)}, 150),
    "ade847": Dataset(Ade847, "ADE20K_2021_17_01", {"train": (25574,), "val": (2000,)}, OFFICIAL_CLASSES),
    "pas20": Dataset(Voc2012, "VOCdevkit", {"train": (1464,), "val": (1449,)}, 20),
    "pc59": Dataset(PascalContext59, "VOCdevkit", {"train": (4998,), "val": (5104, 5105)}, 59),
    "pc459": Dataset(PascalContext459, "VOCdevkit", {"train": (4998,), "val": (5104, 5105)}, 459),
}


def open_source(dataset: str, split: str, config: DataConfig) -> Source:
    """Open the official download of a prepared `split` (``train``, ``val``) and check its size.

    Raises:
        UserError: unknown data set or split, missing files, a count that is not the official one (unless
            `config.allow_subset`, or the root is a generated world).
    """
    if dataset not in DATASETS:
        raise UserError(f"data set {dataset}", "unknown", f"take one of {', '.join(DATASETS)}")
    entry, official = DATASETS[dataset], config.splits.get(f"{dataset}_{split}", split)
    if official not in entry.counts:
        raise UserError(f"data.splits: {dataset}_{split}", f"no split {official}", "take train or val")
    root = require_folder(Path(config.raw_root), "set data.raw_root to the folder of the downloads")
    place = root / config.folders.get(dataset, entry.folder)
    source = entry.read(place, official, config)
    if not (root / WORLD_MARKER).exists():
        check_count(place, len(source.items), entry.counts[official], config.allow_subset)
        if len(source.vocabulary) != entry.classes and not config.allow_subset:
            raise UserError(place, f"{len(source.vocabulary)} classes found, officially {entry.classes}", COMPLETE)
    return source


def prepare(dataset: str, split: str, config: DataConfig, destination: Path, workers: int = 1) -> None:
    """Prepare one split of one data set into `destination`, which appears only when whole.

    Args:
        dataset: a key of `DATASETS`.
        split: ``train`` or ``val``; `config.splits` may map it to another official split.
        config: where the downloads are and how they are prepared.
        destination: folder to write; an earlier preparation there is replaced.
        workers: processes that decode.
    """
    source = open_source(dataset, split, config)
    with atomic_folder(destination, ENTRIES) as folder:
        for name in ("labels", "segments", "images"):
            (folder / name).mkdir()
        rows, counts = [], []
        work = partial(prepare_item, source, folder, destination)
        for row, histogram in tqdm(
            _run(work, source.items, workers),
            f"prepare {dataset} {split}",
            len(source.items),
            file=sys.stderr,
            mininterval=1,
        ):
            rows.append(row)
            counts.append(histogram)
        write_csv(folder / "index.csv", INDEX_FIELDS, rows)
        source.vocabulary.write(folder / "vocabulary.json")
        write_json(folder / "stats.json", {"dataset": dataset, "split": split} | _statistics(rows, np.stack(counts)))
        for name in ("segments", "images"):
            if not any((folder / name).iterdir()):
                (folder / name).rmdir()


Result = tuple[dict[str, object], np.ndarray]


def _run(work: Callable[[Item], Result], items: tuple[Item, ...], workers: int) -> Iterator[Result]:
    """Results in the order of `items`, whatever the number of processes."""
    if workers <= 1:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(work, items, chunksize=max(1, min(64, len(items) // (4 * workers))))


def prepare_item(source: Source, folder: Path, destination: Path, item: Item) -> Result:
    """Decode, check and write one image; returns its index row and the pixels of each class, ignored ones last."""
    decoded, classes, ignore = source.decode(item), len(source.vocabulary), source.vocabulary.ignore
    image = decoded.image if decoded.image is not None else read_rgb(item.image)
    height, width = decoded.labels.shape
    if image.shape[:2] != (height, width):
        found = f"{image.shape[0]} x {image.shape[1]}"
        raise UserError(item.image, f"is {found} pixels, its label {height} x {width}", "download both again")
    label = folder / "labels" / f"{item.image_id}.png"
    Image.fromarray(decoded.labels.astype(np.uint8 if ignore < 256 else np.uint16)).save(label, compress_level=1)
    row: dict[str, object] = {
        "image_id": item.image_id,
        "image": _write_image(decoded, item, folder, destination),
        "label": f"labels/{item.image_id}.png",
        "segments": _write_segments(decoded, item, folder),
        "height": height,
        "width": width,
        "image_sha256": sha256(item.image),
        "label_sha256": sha256(label),
    }
    histogram = np.bincount(np.where(decoded.labels == ignore, classes, decoded.labels).ravel(), minlength=classes + 1)
    return row, histogram


def _write_image(decoded: Decoded, item: Item, folder: Path, destination: Path) -> str:
    """The picture's path in the index: the download's own file, or the changed copy (lossless)."""
    if decoded.image is None:
        return os.path.relpath(item.image.resolve(), destination.resolve())
    Image.fromarray(decoded.image).save(folder / "images" / f"{item.image_id}.png", compress_level=1)
    return f"images/{item.image_id}.png"


def _write_segments(decoded: Decoded, item: Item, folder: Path) -> str:
    if decoded.segments is None:
        return ""
    path = f"segments/{item.image_id}.png"
    Image.fromarray(decoded.segments.astype(np.uint16)).save(folder / path, compress_level=1)
    return path


def _statistics(rows: list[dict[str, object]], counts: np.ndarray) -> dict[str, object]:
    """Image count, pixels and images of each class, ignored pixels, and one hash over all label hashes."""
    hashes = "\n".join(str(row["label_sha256"]) for row in rows)
    return {
        "images": len(rows),
        "pixels": counts[:, :-1].sum(0).tolist(),
        "images_per_class": (counts[:, :-1] > 0).sum(0).tolist(),
        "ignored_pixels": int(counts[:, -1].sum()),
        "labels_sha256": hashlib.sha256(hashes.encode()).hexdigest(),
    }
