"""Whether the downloads that a configuration needs are there and whole."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from opentrans.config import Config
from opentrans.data.prepared import read_rgb
from opentrans.data.sources.base import ROOT_REMEDY, WORLD_MARKER, Item, Source
from opentrans.data.sources.registry import get_dataset, get_download_folder, open_source
from opentrans.errors import UserError
from opentrans.system.pools import open_pool

_SAMPLE = 3  # images of each split that are decoded even without `deep`
_LONG_NAMES = {"train": "training", "val": "validation"}


@dataclass(frozen=True)
class Download:
    """Where a data set comes from, and what lies in its folder once unpacked.

    `entries` are paths with ``{split}`` or ``{long}`` (training, validation); ``|`` stands between alternatives.
    """

    site: str
    archives: str
    entries: tuple[str, ...]

    def find_missing(self, folder: Path, split: str) -> list[str]:
        """The entries that are not in `folder`."""
        named = [entry.format(split=split, long=_LONG_NAMES[split]) for entry in self.entries]
        absent = [entry for entry in named if not any((folder / path).exists() for path in entry.split("|"))]
        return [entry.replace("|", " or ") for entry in absent]


_DETAIL = "VOC2010/trainval_merged.json"
_LISTS = "VOC2010/pascalcontext_{split}.txt|VOC2010/{split}.txt|VOC2010/ImageSets/SegmentationContext/{split}.txt"
DOWNLOADS = {
    "coco": Download(
        "cocodataset.org",
        "train2017.zip, val2017.zip, panoptic_annotations_trainval2017.zip and the two archives inside it",
        ("{split}2017", "panoptic_{split}2017", "annotations/panoptic_{split}2017.json"),
    ),
    "cityscapes": Download(
        "cityscapes-dataset.com, needs an account",
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip",
        ("leftImg8bit/{split}", "gtFine/{split}"),
    ),
    "ade150": Download(
        "sceneparsing.csail.mit.edu",
        "ADEChallengeData2016.zip",
        ("objectInfo150.txt", "images/{long}", "annotations/{long}"),
    ),
    "ade847": Download(
        "groups.csail.mit.edu/vision/datasets/ADE20K, needs an account",
        "ADE20K_2021_17_01.zip",
        ("index_ade20k.pkl", "images/ADE/{long}"),
    ),
    "pas20": Download(
        "host.robots.ox.ac.uk/pascal/VOC/voc2012",
        "VOCtrainval_11-May-2012.tar",
        ("VOC2012/JPEGImages", "VOC2012/SegmentationClass", "VOC2012/ImageSets/Segmentation/{split}.txt"),
    ),
    "pc59": Download(
        "host.robots.ox.ac.uk/pascal/VOC/voc2010 and the pages of PASCAL in Detail or PASCAL-Context",
        "VOCtrainval_03-May-2010.tar and trainval_merged.json (or the LabelMap archive, labels.txt and the lists)",
        ("VOC2010/JPEGImages", f"{_DETAIL}|VOC2010/trainval", f"{_DETAIL}|VOC2010/labels.txt", f"{_DETAIL}|{_LISTS}"),
    ),
    "pc459": Download(
        "host.robots.ox.ac.uk/pascal/VOC/voc2010 and the page of PASCAL-Context",
        "VOCtrainval_03-May-2010.tar, the LabelMap archive trainval.tar.gz, labels.txt and the lists of the split",
        (
            "VOC2010/JPEGImages",
            f"VOC2010/trainval|{_DETAIL}",
            f"VOC2010/labels.txt|{_DETAIL}",
            f"{_LISTS}|{_DETAIL}",
        ),
    ),
}


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


def get_needed(config: Config) -> list[tuple[str, str]]:
    """Data set and split of everything that the workflow prepares: the training set, then the benchmarks."""
    return [("coco", "train"), *((benchmark, "val") for benchmark in config.benchmarks)]


def check_downloads(config: Config, deep: bool = False, workers: int = 1) -> list[CheckedSplit]:
    """What there is of every needed split; a fault in one does not keep the others from being checked."""
    return [_check(dataset, split, config, deep, workers) for dataset, split in get_needed(config)]


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
    missing = download.find_missing(folder, official) if official in _LONG_NAMES else []

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
    counts = get_dataset(dataset).counts[official]
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

    height, width = image.shape[:2]
    label_height, label_width = decoded.labels.shape
    if (height, width) != (label_height, label_width):
        problem = f"is {height} x {width} pixels, its label {label_height} x {label_width}"
        raise UserError(item.image, problem, "download both again")
