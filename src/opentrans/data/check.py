"""Are the downloads that a configuration needs there and whole? Without decoding them, or with."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from opentrans.config import Config
from opentrans.data.datasets import get_dataset, open_source
from opentrans.data.prepared import read_rgb
from opentrans.data.source import WORLD_MARKER, Item, Source
from opentrans.errors import UserError
from opentrans.pools import open_pool

SAMPLE = 3  # pictures of each split that are decoded even without `deep`
SOURCES = {
    "coco": "train2017.zip, val2017.zip and panoptic_annotations_trainval2017.zip (its inner zips unpacked too)",
    "cityscapes": "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip (needs an account)",
    "ade150": "ADEChallengeData2016.zip",
    "ade847": "ADE20K_2021_17_01.zip (needs an account)",
    "pas20": "VOCtrainval_11-May-2012.tar",
    "pc59": "VOCtrainval_03-May-2010.tar and trainval_merged.json (or the LabelMap archive)",
    "pc459": "VOCtrainval_03-May-2010.tar, the LabelMap archive trainval.tar.gz, labels.txt and the lists of the split",
}


@dataclass(frozen=True)
class Finding:
    """What was found of one split; `problem` and `remedy` are empty where all is well."""

    dataset: str
    split: str
    images: int | None = None
    classes: int | None = None
    state: str = "complete"
    problem: str = ""
    remedy: str = ""
    hint: str = ""


def get_needed(config: Config) -> list[tuple[str, str]]:
    """Data set and split of everything that the workflow prepares: the training set, then the benchmarks."""
    return [("coco", "train"), *((benchmark, "val") for benchmark in config.benchmarks)]


def check_downloads(config: Config, deep: bool = False, workers: int = 1) -> list[Finding]:
    """Check every needed split; a fault in one does not keep the others from being checked."""
    return [_check(dataset, split, config, deep, workers) for dataset, split in get_needed(config)]


def _check(dataset: str, split: str, config: Config, deep: bool, workers: int) -> Finding:
    root = Path(config.data.raw_root)
    if config.world is not None and not root.is_dir():
        return Finding(dataset, split, state="not there yet: the workflow generates it")
    try:
        source = open_source(dataset, split, config.data)
        _decode(source, deep, workers, f"{dataset} {split}")
    except UserError as error:
        hint = f"it comes from {SOURCES[dataset]}; see docs/data.md"
        return Finding(dataset, split, state="MISSING OR WRONG", problem=f"{error.where}: {error.problem}",
                       remedy=error.remedy, hint=hint)  # fmt: skip
    return Finding(dataset, split, len(source.items), len(source.vocabulary), _describe(dataset, split, config, source))


def _describe(dataset: str, split: str, config: Config, source: Source) -> str:
    """Complete, generated, or how much of the official number."""
    if (Path(config.data.raw_root) / WORLD_MARKER).exists():
        return "generated"
    official = config.data.splits.get(f"{dataset}_{split}", split)
    counts = get_dataset(dataset).counts[official]
    borrowed = "" if official == split else f", taken from {official}"
    if len(source.items) in counts:
        return f"complete{borrowed}"
    return f"subset of {counts[0]}, which the configuration allows{borrowed}"


def _decode(source: Source, deep: bool, workers: int, title: str) -> None:
    """Decode the first, a middle and the last picture, or all of them."""
    if not deep:
        count = len(source.items)
        for place in sorted({0, count // 2, count - 1})[:SAMPLE]:
            decode_item(source, source.items[place])
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
    """Decode picture and labels and compare their sizes; a fault is a `UserError`."""
    decoded, picture = source.decode(item), read_rgb(item.image)
    shape = picture.shape[:2] if decoded.image is None else decoded.image.shape[:2]
    if shape != decoded.labels.shape:
        found, wanted = (" x ".join(map(str, size)) for size in (shape, decoded.labels.shape))
        raise UserError(item.image, f"is {found} pixels, its label {wanted}", "download both again")
