"""Whether the downloads that a configuration needs are there and whole."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from opentrans.config import Config
from opentrans.data.downloads import DOWNLOADS, LONG_NAMES, get_download_folder
from opentrans.data.prepared import read_rgb
from opentrans.data.sources.base import ROOT_REMEDY, WORLD_MARKER, Item, Source, check_size
from opentrans.data.sources.registry import open_source
from opentrans.errors import UserError
from opentrans.runs.selection import list_sets
from opentrans.system.pools import open_pool

_SAMPLE = 3  # images of each split that are decoded even without `deep`


@dataclass(frozen=True)
class CheckedSplit:
    """What there is of one split; `problem`, `remedy` and `missing` (paths) are empty where all is well."""

    dataset: str
    split: str
    images: int | None = None
    classes: int | None = None
    state: str = "complete"
    problem: str = ""
    remedy: str = ""
    missing: tuple[str, ...] = ()


def check_downloads(config: Config, deep: bool = False, workers: int = 1) -> list[CheckedSplit]:
    """What there is of every needed split; a fault in one does not keep the others from being checked."""
    return [_check(dataset, split, config, deep, workers) for dataset, split in list_sets(config)]


def _check(dataset: str, split: str, config: Config, deep: bool, workers: int) -> CheckedSplit:
    root = Path(config.data.raw_root)
    if config.world is not None and not root.is_dir():
        return CheckedSplit(dataset, split, state="not there yet: the workflow generates it")
    try:
        source = open_source(dataset, split, config.data)
        _decode(source, deep, workers, f"{dataset} {split}")
    except UserError as error:
        return _explain(dataset, split, config, error)

    state = _describe(dataset, split, config, source)
    return CheckedSplit(dataset, split, len(source.items), len(source.vocabulary), state)


def _explain(dataset: str, split: str, config: Config, error: UserError) -> CheckedSplit:
    """A fault, with everything that is not there: the reader stopped at the first."""
    folder = get_download_folder(dataset, config.data)
    download = DOWNLOADS[dataset]
    official = config.data.splits.get(f"{dataset}_{split}", split)
    missing = download.find_missing(folder, official) if official in LONG_NAMES else []

    state, remedy = "WRONG", error.remedy
    if missing:
        state = "MISSING" if len(missing) == len(download.entries) else "INCOMPLETE"
        remedy = f"get {download.archives} ({download.site}) so that these lie in {folder}, or {ROOT_REMEDY}"

    problem = f"{error.where}: {error.problem}"
    return CheckedSplit(dataset, split, state=state, problem=problem, remedy=remedy, missing=tuple(missing))


def _describe(dataset: str, split: str, config: Config, source: Source) -> str:
    """Complete, generated, or how much of the official number."""
    if (Path(config.data.raw_root) / WORLD_MARKER).exists():
        return "generated"
    official = config.data.splits.get(f"{dataset}_{split}", split)
    counts = DOWNLOADS[dataset].counts[official]
    borrowed = "" if official == split else f", taken from {official}"
    if len(source.items) in counts:
        return f"complete{borrowed}"
    return f"subset of {counts[0]}, which the configuration allows{borrowed}"


def _decode(source: Source, deep: bool, workers: int, title: str) -> None:
    """Decode the first, a middle and the last image, or all of them."""
    if not deep:
        count = len(source.items)
        for position in sorted({0, count // 2, count - 1})[:_SAMPLE]:
            decode_item(source, source.items[position])
        return

    for _ in tqdm(_map(source, workers), f"decode {title}", len(source.items), unit="image", file=sys.stderr):
        pass


def _map(source: Source, workers: int) -> Iterator[None]:
    work = partial(decode_item, source)
    if workers <= 1:
        yield from map(work, source.items)
        return
    with open_pool(workers, partial(_sources.append, source)) as pool:
        yield from pool.map(_decode_one, source.items, chunksize=32)


_sources: list[Source] = []


def _decode_one(item: Item) -> None:
    decode_item(_sources[0], item)


def decode_item(source: Source, item: Item) -> None:
    """Decode image and labels and compare their sizes; a fault is a `UserError`."""
    decoded = source.decode(item)
    image = read_rgb(item.image)
    if decoded.image is not None:
        image = decoded.image

    check_size(item.image, image.shape[:2], decoded.labels.shape)
