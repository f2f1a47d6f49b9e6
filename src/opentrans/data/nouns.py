"""Nouns of the training images' captions, which Han et al.'s grounding loss compares with image regions.

Source: the authors' code. Of COCO's captions NLTK (`word_tokenize`, `pos_tag`) finds the nouns; where a list of nouns
lies beside the captions, as in the mini world, it decides instead.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from opentrans.config import DataConfig
from opentrans.data.downloads import get_download_folder
from opentrans.data.prepared import PREPARE_AGAIN, PreparedDataset
from opentrans.data.sources.coco import prompt_name
from opentrans.errors import UserError, shorten
from opentrans.runs.layout import NOUNS_FILE
from opentrans.system.files import read_json, write_json

LEXICON_FILE = "nouns.json"
CAPTIONS_REMEDY = (
    "unpack annotations_trainval2017.zip (cocodataset.org) there, or set grounding_weight: 0 in the targets"
)
NLTK_PACKAGES = {
    "punkt_tab": "tokenizers/punkt_tab/english/",
    "averaged_perceptron_tagger_eng": "taggers/averaged_perceptron_tagger_eng/",
}
_NLTK_REMEDY = (
    "download punkt_tab.zip and averaged_perceptron_tagger_eng.zip from https://www.nltk.org/nltk_data, unpack them"
    " into FOLDER/tokenizers and FOLDER/taggers, and set data.nltk_data (or the variable NLTK_DATA) to FOLDER"
)
_TAGS = {"NN", "NNS", "NNP", "NNPS"}
_WORD = re.compile(r"[a-z]+")

FindNouns = Callable[[str], list[str]]


@dataclass(frozen=True)
class CaptionNouns:
    """The nouns of each caption of each image of a prepared data set: in the captions' order, with repetitions."""

    captions: tuple[tuple[tuple[str, ...], ...], ...]

    @property
    def distinct(self) -> list[str]:
        """Every noun once, sorted."""
        return sorted({noun for image in self.captions for caption in image for noun in caption})

    @classmethod
    def read(cls, path: Path, dataset: PreparedDataset) -> "CaptionNouns":
        """Read what `prepare_nouns` wrote for `dataset`; anything else is a `UserError`."""
        content = read_json(path, PREPARE_AGAIN)
        try:
            images = [content["images"][record.image_id] for record in dataset.records]
            return cls(tuple(tuple(tuple(map(str, caption)) for caption in image) for image in images))
        except (KeyError, TypeError) as error:
            raise UserError(path, f"image or field {error} is missing", PREPARE_AGAIN) from None


def prepare_nouns(dataset: PreparedDataset, config: DataConfig) -> None:
    """Find the nouns of the captions of the prepared training set and write them beside its index.

    Raises:
        UserError: COCO's captions are missing or not of these images, or NLTK's data are missing.
    """
    official = config.splits.get("coco_train", "train")
    path = get_download_folder("coco", config) / f"annotations/captions_{official}2017.json"
    captions = read_captions(path)
    lexicon = path.parent / LEXICON_FILE
    find_nouns = make_lexicon_tagger(lexicon) if lexicon.exists() else make_nltk_tagger(config.nltk_data)

    if not any(record.image_id in captions for record in dataset.records):
        raise UserError(path, "holds no caption of the training images", CAPTIONS_REMEDY)
    images = {
        record.image_id: [clean_nouns(find_nouns(caption)) for caption in captions.get(record.image_id, [])]
        for record in dataset.records
    }
    write_json(dataset.folder / NOUNS_FILE, {"captions": path.name, "images": images})


def read_captions(path: Path) -> Mapping[str, list[str]]:
    """The captions in a file of COCO's, by image id (the name of the image's file without suffix).

    Raises:
        UserError: the file is missing or no captions file.
    """
    content = read_json(path, CAPTIONS_REMEDY)
    captions: dict[str, list[str]] = {}
    try:
        names = {image["id"]: Path(image["file_name"]).stem for image in content["images"]}
        for annotation in content["annotations"]:
            captions.setdefault(names[annotation["image_id"]], []).append(str(annotation["caption"]))
    except (KeyError, TypeError) as error:
        raise UserError(path, f"field or image {error} is missing: no captions of COCO's", CAPTIONS_REMEDY) from None
    return captions


def clean_nouns(nouns: list[str]) -> list[str]:
    """Nouns cleaned up as class names are (no ``-merged``, a blank for a hyphen); what is empty then is left out."""
    cleaned = [prompt_name(noun).strip() for noun in nouns]
    return [noun for noun in cleaned if noun]


def make_lexicon_tagger(path: Path) -> FindNouns:
    """What finds the nouns that the file `path` lists, a JSON list of words in small letters."""
    content = read_json(path, PREPARE_AGAIN)
    if not isinstance(content, list):
        raise UserError(path, "is no list of nouns", "remove it, or make the world again (opentrans make-world)")
    nouns = frozenset(map(str, content))
    return lambda caption: [word for word in _WORD.findall(caption.lower()) if word in nouns]


def make_nltk_tagger(folder: str | None) -> FindNouns:
    """What finds nouns with NLTK, from its data in `folder`, or where NLTK looks (``NLTK_DATA`` among others).

    Raises:
        ModuleNotFoundError: NLTK is not installed (the command line says which extra has it).
        UserError: its data are missing.
    """
    import nltk

    if folder is not None and folder not in nltk.data.path:
        nltk.data.path.insert(0, folder)
    for name, place in NLTK_PACKAGES.items():
        try:
            nltk.data.find(place)
        except LookupError:
            raise UserError(folder or "NLTK_DATA", f"NLTK's {name} is not there", _NLTK_REMEDY) from None

    def find_nouns(caption: str) -> list[str]:
        return [word for word, tag in nltk.pos_tag(nltk.word_tokenize(caption)) if tag in _TAGS]

    # Once before half a million captions: a folder can be there with files missing.
    try:
        find_nouns("a dog")
    except LookupError as error:
        raise UserError(folder or "NLTK_DATA", f"NLTK's data are incomplete ({shorten(error)})", _NLTK_REMEDY) from None
    return find_nouns
