"""The seven data sets: who reads them, and how large they officially are."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from opentrans.config import DataConfig
from opentrans.data.downloads import DOWNLOADS, Download, get_download_folder
from opentrans.data.sources.ade150 import Ade150
from opentrans.data.sources.ade847 import Ade847
from opentrans.data.sources.base import COMPLETE, WORLD_MARKER, Item, Source, check_count
from opentrans.data.sources.cityscapes import Cityscapes
from opentrans.data.sources.coco import CocoPanoptic
from opentrans.data.sources.pascal import PascalContext59, PascalContext459, Voc2012
from opentrans.errors import UserError
from opentrans.system.files import require_folder


@dataclass(frozen=True)
class Dataset:
    """How a data set is read, its official download and its class count."""

    read: Callable[[Path, str, DataConfig], Source]
    download: Download
    classes: int


DATASETS: dict[str, Dataset] = {
    "coco": Dataset(CocoPanoptic, DOWNLOADS["coco"], 133),
    "cityscapes": Dataset(Cityscapes, DOWNLOADS["cityscapes"], 19),
    "ade150": Dataset(Ade150, DOWNLOADS["ade150"], 150),
    "ade847": Dataset(Ade847, DOWNLOADS["ade847"], 847),
    "pas20": Dataset(Voc2012, DOWNLOADS["pas20"], 20),
    "pc59": Dataset(PascalContext59, DOWNLOADS["pc59"], 59),
    "pc459": Dataset(PascalContext459, DOWNLOADS["pc459"], 459),
}


def get_dataset(dataset: str) -> Dataset:
    """The entry of a data set, or a `UserError` that lists what there is."""
    if dataset not in DATASETS:
        raise UserError(f"data set {dataset}", "unknown", f"take one of {', '.join(DATASETS)}")
    return DATASETS[dataset]


def find_download(dataset: str, config: DataConfig) -> Path:
    """Where the download of a data set lies; no folder of downloads at all is a `UserError`."""
    require_folder(Path(config.raw_root), "set data.raw_root to the folder of the downloads")
    return get_download_folder(dataset, config)


def open_source(dataset: str, split: str, config: DataConfig) -> Source:
    """Open the official download of a prepared `split` (``train``, ``val``), check its size, keep the subset asked for.

    Raises:
        UserError: unknown data set or split, missing files, a count that is not the official one (unless
            `config.allow_subset`, or the root is a generated world).
    """
    entry = get_dataset(dataset)
    official = config.splits.get(f"{dataset}_{split}", split)
    if official not in entry.download.counts:
        raise UserError(f"data.splits: {dataset}_{split}", f"no split {official}", "take train or val")

    folder = find_download(dataset, config)
    source = entry.read(folder, official, config)
    if not (Path(config.raw_root) / WORLD_MARKER).exists():
        check_count(folder, len(source.items), entry.download.counts[official], config.allow_subset)
        if len(source.vocabulary) != entry.classes and not config.allow_subset:
            raise UserError(folder, f"{len(source.vocabulary)} classes found, officially {entry.classes}", COMPLETE)

    kept = choose_items(source.items, split, config)
    if len(kept) < len(source.items):
        source.items = kept
        source.known = None
    return source


def choose_items(items: tuple[Item, ...], split: str, config: DataConfig) -> tuple[Item, ...]:
    """The items that the configuration keeps of a split: all, the first, or a random choice of the training set.

    The choice is that of the smallest hashes of seed and image id. So it depends on neither library nor platform, and
    a larger choice holds every smaller one of the same seed.
    """
    if split == "train" and config.train_images is not None:
        drawn = sorted((item.image_id for item in items), key=partial(_draw, config.subset_seed))
        chosen = {*drawn[: config.train_images]}
        items = tuple(item for item in items if item.image_id in chosen)
    return items[: config.max_images]


def _draw(seed: int, image_id: str) -> bytes:
    return hashlib.sha256(f"{seed} {image_id}".encode()).digest()
