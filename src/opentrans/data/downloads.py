"""The official downloads: where they come from, their folders, and which of them are missing.

Nothing heavy is imported: the workflow asks while it plans.
"""

from dataclasses import dataclass
from pathlib import Path

from opentrans.config import Config, DataConfig
from opentrans.runs.layout import DataLayout
from opentrans.runs.selection import list_sets, uses_world

LONG_NAMES = {"train": "training", "val": "validation"}


@dataclass(frozen=True)
class Download:
    """Where a data set comes from, how large it officially is, and what lies in its folder once unpacked.

    `folder` is the folder's official name, `counts` are the images of each split (several where releases differ).
    `entries` are paths with ``{split}`` or ``{long}`` (training, validation); ``|`` stands between alternatives.
    """

    folder: str
    counts: dict[str, tuple[int, ...]]
    site: str
    archives: str
    entries: tuple[str, ...]

    def find_missing(self, folder: Path, split: str) -> list[str]:
        """The entries that are not in `folder`."""
        named = [entry.format(split=split, long=LONG_NAMES[split]) for entry in self.entries]
        absent = [entry for entry in named if not any((folder / path).exists() for path in entry.split("|"))]
        return [entry.replace("|", " or ") for entry in absent]


_DETAIL = "VOC2010/trainval_merged.json"
_LISTS = "VOC2010/pascalcontext_{split}.txt|VOC2010/{split}.txt|VOC2010/ImageSets/SegmentationContext/{split}.txt"
DOWNLOADS = {
    "coco": Download(
        "coco",
        {"train": (118287,), "val": (5000,)},
        "cocodataset.org",
        "train2017.zip, val2017.zip, panoptic_annotations_trainval2017.zip and the two archives inside it",
        ("{split}2017", "panoptic_{split}2017", "annotations/panoptic_{split}2017.json"),
    ),
    "cityscapes": Download(
        "cityscapes",
        {"train": (2975,), "val": (500,)},
        "cityscapes-dataset.com, needs an account",
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip",
        ("leftImg8bit/{split}", "gtFine/{split}"),
    ),
    "ade150": Download(
        "ADEChallengeData2016",
        {"train": (20210,), "val": (2000,)},
        "sceneparsing.csail.mit.edu",
        "ADEChallengeData2016.zip",
        ("objectInfo150.txt", "images/{long}", "annotations/{long}"),
    ),
    "ade847": Download(
        "ADE20K_2021_17_01",
        {"train": (25574,), "val": (2000,)},
        "groups.csail.mit.edu/vision/datasets/ADE20K, needs an account",
        "ADE20K_2021_17_01.zip",
        ("index_ade20k.pkl", "images/ADE/{long}"),
    ),
    "pas20": Download(
        "VOCdevkit",
        {"train": (1464,), "val": (1449,)},
        "host.robots.ox.ac.uk/pascal/VOC/voc2012",
        "VOCtrainval_11-May-2012.tar",
        ("VOC2012/JPEGImages", "VOC2012/SegmentationClass", "VOC2012/ImageSets/Segmentation/{split}.txt"),
    ),
    "pc59": Download(
        "VOCdevkit",
        {"train": (4998,), "val": (5104, 5105)},
        "host.robots.ox.ac.uk/pascal/VOC/voc2010 and the pages of PASCAL in Detail or PASCAL-Context",
        "VOCtrainval_03-May-2010.tar and trainval_merged.json (or the LabelMap archive, labels.txt and the lists)",
        ("VOC2010/JPEGImages", f"{_DETAIL}|VOC2010/trainval", f"{_DETAIL}|VOC2010/labels.txt", f"{_DETAIL}|{_LISTS}"),
    ),
    "pc459": Download(
        "VOCdevkit",
        {"train": (4998,), "val": (5104, 5105)},
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


def get_download_folder(dataset: str, config: DataConfig) -> Path:
    """Where the download of a data set lies, whether or not anything is there."""
    return Path(config.raw_root) / config.folders.get(dataset, DOWNLOADS[dataset].folder)


def find_missing_entries(dataset: str, split: str, config: DataConfig) -> list[str]:
    """What is not there of a prepared split's download; a few looks at the file system, nothing is listed or read."""
    official = config.splits.get(f"{dataset}_{split}", split)
    return DOWNLOADS[dataset].find_missing(get_download_folder(dataset, config), official)


def describe_missing(config: Config) -> str | None:
    """One line on the downloads that are still to be prepared and not there, or None.

    A split that is prepared needs its download no longer, and the mini world is generated.
    """
    if uses_world(config):
        return None

    layout = DataLayout.of_profile(config.profile)
    waiting = [key for key in list_sets(config) if not layout.statistics(*key).exists()]
    missing = [name for name, split in waiting if find_missing_entries(name, split, config.data)]
    if not missing:
        return None

    names = ", ".join(dict.fromkeys(missing))
    return (
        f"data.raw_root ({config.data.raw_root}): missing or incomplete: {names}."
        " `opentrans data check`, with the same configuration files after --config, says what to get"
    )
