"""The table of bad inputs: what each is, who reads it, and what happens. `docs/robustness.md` is generated from it."""

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipWeights
from opentrans.config import load_config
from opentrans.data.maps import read_packed_ids
from opentrans.data.prepared import INDEX_FIELDS, PreparedDataset, Vocabulary, read_rgb
from opentrans.data.regions import get_regions
from opentrans.data.sources.coco import decode_ids
from opentrans.data.sources.safe_pickle import read_pickle
from opentrans.freezing.plan import PLAN_FIELDS, FreezePlan
from opentrans.pruning.subnetwork import Subnetwork
from opentrans.runs.table import read_experiments
from opentrans.system.files import check_hash, read_json, write_hashed
from opentrans.system.tensors import save_tensors
from opentrans.training.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
SIDE = 8


class Malice:
    """What a pickle can do to whoever reads it."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


@dataclass(frozen=True)
class Case:
    """`act(folder)` makes the input and reads it: an error with the text `says`, or a result that `fits`."""

    reader: str
    what: str
    says: str
    act: Callable[[Path], object]
    fits: Callable[[object], bool] | None = None


CASES: list[Case] = []


def refused(reader: str, what: str, says: str):
    return lambda act: CASES.append(Case(reader, what, says, act)) or act


def accepted(reader: str, what: str, says: str, fits: Callable[[object], bool]):
    return lambda act: CASES.append(Case(reader, what, says, act, fits)) or act


def blank(mode="RGB", size=(SIDE, SIDE), colour=None):
    return Image.new(mode, size, colour or (0 if len(mode) == 1 else tuple([90] * len(mode))))


def saved(image, path, **options):
    image.save(path, **options)
    return path


def wrote(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- images -------------------------------------------------------------------------------------------------------
IMAGE = "image"
IS_RGB = lambda value: value.shape == (SIDE, SIDE, 3) and value.dtype == np.uint8  # noqa: E731


def cut(path, share=0.5):
    return wrote(path, path.read_bytes()[: int(path.stat().st_size * share)])


def noise(path):
    return saved(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)), path)


refused(IMAGE, "truncated JPEG", "unreadable image")(lambda f: read_rgb(cut(noise(f / "a.jpg"))))
refused(IMAGE, "truncated PNG", "unreadable image")(lambda f: read_rgb(cut(noise(f / "a.png"))))
refused(IMAGE, "file of zero bytes", "unreadable image")(lambda f: read_rgb(wrote(f / "a.jpg", b"")))
refused(IMAGE, "text named .jpg", "unreadable image")(lambda f: read_rgb(wrote(f / "a.jpg", "<html>404</html>")))
refused(IMAGE, "missing file", "no such image")(lambda f: read_rgb(f / "a.jpg"))
refused(IMAGE, "folder of that name", "unreadable image")(lambda f: (f / "a.jpg").mkdir() or read_rgb(f / "a.jpg"))
refused(IMAGE, "loop of symbolic links", "unreadable image")(
    lambda f: (f / "a.jpg").symlink_to(f / "b.jpg") or (f / "b.jpg").symlink_to(f / "a.jpg") or read_rgb(f / "a.jpg")
)
refused(IMAGE, "dangling symbolic link", "no such image")(
    lambda f: (f / "a.jpg").symlink_to(f / "gone") or read_rgb(f / "a.jpg")
)
refused(IMAGE, "16 bits a channel", "has more than 8 bits a channel")(
    lambda f: read_rgb(saved(Image.fromarray(np.full((SIDE, SIDE), 40000, np.uint16)), f / "a.png"))
)
refused(IMAGE, "floating-point TIFF", "has more than 8 bits a channel")(
    lambda f: read_rgb(saved(Image.fromarray(np.ones((SIDE, SIDE), np.float32)), f / "a.tiff"))
)


@refused(IMAGE, "header that claims 60000 x 60000 pixels", "unreadable image")
def _(f):
    content = bytearray(saved(blank(), f / "a.bmp").read_bytes())
    content[18:26] = (60000).to_bytes(4, "little") * 2
    return read_rgb(wrote(f / "a.bmp", bytes(content)))


accepted(IMAGE, "CMYK JPEG", "converted to RGB", IS_RGB)(lambda f: read_rgb(saved(blank("CMYK"), f / "a.jpg")))
accepted(IMAGE, "grey JPEG", "the grey value in all three channels", IS_RGB)(
    lambda f: read_rgb(saved(blank("L"), f / "a.jpg"))
)
accepted(IMAGE, "palette PNG", "its colours", IS_RGB)(lambda f: read_rgb(saved(blank("P"), f / "a.png")))
accepted(IMAGE, "PNG with transparency", "transparency is dropped", IS_RGB)(
    lambda f: read_rgb(saved(blank("RGBA"), f / "a.png"))
)
accepted(IMAGE, "black-and-white PNG", "0 and 255", IS_RGB)(lambda f: read_rgb(saved(blank("1"), f / "a.png")))
accepted(IMAGE, "animated GIF", "the first frame counts", lambda value: IS_RGB(value) and value.max() == 0)(
    lambda f: read_rgb(
        saved(blank("L"), f / "a.gif", save_all=True, append_images=[blank("L", colour=255)], duration=9)
    )
)


@accepted(
    IMAGE,
    "orientation in EXIF",
    "not applied: label maps know none",
    lambda value: value.shape == (4, SIDE, 3),
)
def _(f):
    exif = Image.Exif()
    exif[0x0112] = 6
    return read_rgb(saved(blank(size=(SIDE, 4)), f / "a.jpg", exif=exif))


accepted(IMAGE, "path with spaces and Unicode", "read", IS_RGB)(
    lambda f: read_rgb(saved(blank(), f / "ein Bild – 图像.png"))
)
accepted(IMAGE, "JPEG named .png", "the content decides", IS_RGB)(
    lambda f: read_rgb(saved(blank(), f / "a.png", format="JPEG"))
)


# --- prepared data sets ---------------------------------------------------------------------------------------------
INDEX, LABEL, VOCABULARY = "index.csv", "label map", "vocabulary.json"
ROW = {"image_id": "7", "image": "a.png", "label": "l.png", "height": str(SIDE), "width": str(SIDE)}
HEADER = ",".join(INDEX_FIELDS)
LINE = ",".join(ROW.get(field, "") for field in INDEX_FIELDS)


def dataset(f, index=f"{HEADER}\n{LINE}\n", label=None, vocabulary=None):
    saved(blank(), f / "a.png")
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8) if label is None else label).save(f / "l.png")
    Vocabulary("coco", (("cat",), ("dog",)), 255).write(f / "vocabulary.json")
    if vocabulary is not None:
        wrote(f / "vocabulary.json", vocabulary if isinstance(vocabulary, str) else json.dumps(vocabulary))
    wrote(f / "index.csv", index)
    return PreparedDataset.open(f)


ONE = lambda value: len(value) == 1 and value.label(0).shape == (SIDE, SIDE)  # noqa: E731
accepted(INDEX, "byte-order mark", "skipped", ONE)(lambda f: dataset(f, f"\ufeff{HEADER}\n{LINE}\n"))
accepted(INDEX, "Windows line ends", "read", ONE)(lambda f: dataset(f, f"{HEADER}\r\n{LINE}\r\n"))
accepted(INDEX, "one column more", "ignored", ONE)(lambda f: dataset(f, f"{HEADER},note\n{LINE},x\n"))
refused(INDEX, "missing column", "column label is missing")(
    lambda f: dataset(f, f"{HEADER}\n{LINE}\n".replace("label,", "lable,", 1))
)
refused(INDEX, "empty file", "is missing")(lambda f: dataset(f, ""))
refused(INDEX, "row cut off", "has not the 8 cells of the header")(lambda f: dataset(f, f"{HEADER}\n7,a.png\n"))
refused(INDEX, "row with too many cells", "has not the 8 cells")(lambda f: dataset(f, f"{HEADER}\n{LINE},,,\n"))
refused(INDEX, "height that is no number", "is not a number of pixels")(
    lambda f: dataset(f, f"{HEADER}\n{LINE}\n".replace(f",{SIDE},", ",tall,", 1))
)
refused(INDEX, "negative height", "is not a number of pixels")(
    lambda f: dataset(f, f"{HEADER}\n{LINE}\n".replace(f",{SIDE},", ",-8,", 1))
)
refused(INDEX, "Latin-1 text", "not UTF-8 text")(lambda f: dataset(f, f"{HEADER}\nm\xfcde,{LINE}".encode("latin-1")))
refused(INDEX, "cell of 200,000 characters", "not readable as CSV")(
    lambda f: dataset(f, f"{HEADER}\n{'x' * 200_000},{LINE}\n")
)

refused(LABEL, "three channels instead of one", "not a map of 8 x 8 whole numbers")(
    lambda f: dataset(f, label=np.zeros((SIDE, SIDE, 3), np.uint8)).label(0)
)
refused(LABEL, "another size than the index says", "not a map of 8 x 8 whole numbers")(
    lambda f: dataset(f, label=np.zeros((SIDE, 5), np.uint8)).label(0)
)
accepted(LABEL, "one bit a pixel", "read as stored", lambda value: value.max() == 0)(
    lambda f: dataset(f, label=np.zeros((SIDE, SIDE), bool)).label(0)
)
refused(LABEL, "JPEG named .png", "is JPEG, not PNG")(
    lambda f: (dataset(f), saved(blank("L"), f / "l.png", format="JPEG"))[0].label(0)
)
refused(LABEL, "value outside the vocabulary", "label value 2 is outside the vocabulary")(
    lambda f: dataset(f, label=np.full((SIDE, SIDE), 2, np.uint8)).label(0)
)
refused(LABEL, "truncated", "unreadable image")(lambda f: (dataset(f), cut(f / "l.png"))[0].label(0))
accepted(LABEL, "nothing but the ignore value", "no class in it", lambda value: (value == 255).all())(
    lambda f: dataset(f, label=np.full((SIDE, SIDE), 255, np.uint8)).label(0)
)
accepted(LABEL, "16 bits", "read as stored", lambda value: value.max() == 1)(
    lambda f: dataset(f, label=np.ones((SIDE, SIDE), np.uint16)).label(0)
)


def names(*synonyms):
    classes = [{"index": index, "synonyms": list(part)} for index, part in enumerate(synonyms)]
    return {"dataset": "coco", "ignore": 255, "classes": classes}


TITLES = lambda *wanted: lambda value: value.vocabulary.titles == list(wanted)  # noqa: E731
LONG = "very " * 2000 + "long"
accepted(VOCABULARY, "two classes of one name", "kept: equal scores go to the first", TITLES("bat", "bat"))(
    lambda f: dataset(f, vocabulary=names(["bat"], ["bat"]))
)
accepted(VOCABULARY, "name of 10,000 characters", "kept: the text encoder cuts it off", TITLES("a", LONG))(
    lambda f: dataset(f, vocabulary=names(["a"], [LONG]))
)
accepted(VOCABULARY, "Unicode names", "read", TITLES("猫", "žába 🐸"))(
    lambda f: dataset(f, vocabulary=names(["猫"], ["žába 🐸"]))
)
refused(VOCABULARY, "empty name", "class 1: a name is empty")(lambda f: dataset(f, vocabulary=names(["a"], [" "])))
refused(VOCABULARY, "class without a name", "class 0: a name is empty")(
    lambda f: dataset(f, vocabulary=names([], ["a"]))
)
refused(VOCABULARY, "name that is a number", "class 0: a name is empty or no text")(
    lambda f: dataset(f, vocabulary=names([3]))
)
refused(VOCABULARY, "no class at all", "0 classes")(lambda f: dataset(f, vocabulary=names()))
refused(VOCABULARY, "ignore value that is text", "ignore value '255'")(
    lambda f: dataset(f, vocabulary=names(["a"]) | {"ignore": "255"})
)
refused(VOCABULARY, "list instead of an object", "is missing")(lambda f: dataset(f, vocabulary="[1]"))
refused(VOCABULARY, "truncated JSON", "not readable as JSON")(lambda f: dataset(f, vocabulary='{"dataset": "co'))
refused(VOCABULARY, "100,000 nested brackets", "not readable as JSON")(lambda f: dataset(f, vocabulary="[" * 100_000))

# --- regions ---------------------------------------------------------------------------------------------------------
REGIONS = "regions of a label map"


def regions(label, pixels=1):
    return get_regions(np.asarray(label, np.int32), None, "class", 255, pixels)


accepted(REGIONS, "region one pixel wide", "a region", lambda value: value[2].sum() == SIDE)(
    lambda f: regions(np.where(np.arange(SIDE) == 3, 1, np.full((SIDE, SIDE), 255)))
)
accepted(REGIONS, "the same below data.min_region_pixels", "left out", lambda value: len(value[0]) == 0)(
    lambda f: regions(np.where(np.arange(SIDE) == 3, 1, np.full((SIDE, SIDE), 255)), 9)
)
accepted(REGIONS, "image with no region", "counts nothing in the distillation", lambda value: value[2].shape[0] == 0)(
    lambda f: regions(np.full((SIDE, SIDE), 255))
)

# --- COCO panoptic ---------------------------------------------------------------------------------------------------
PANOPTIC = "COCO panoptic PNG"
TABLE = np.array([(0, 255, 0), (5, 0, 1)], np.uint32)


def panoptic(f, image, table=TABLE):
    return decode_ids(read_packed_ids(saved(image, f / "p.png")), table, 2, f / "p.png")


refused(PANOPTIC, "segment id missing from the JSON file", "segment id 6 is not in the JSON file")(
    lambda f: panoptic(f, blank(colour=(6, 0, 0)))
)
refused(PANOPTIC, "two segments of one id", "segment id 5 is listed twice")(
    lambda f: panoptic(f, blank(colour=(5, 0, 0)), np.array([*TABLE, (5, 1, 2)], np.uint32))
)
refused(PANOPTIC, "palette instead of RGB", "is not an RGB image")(lambda f: panoptic(f, blank("P")))
refused(PANOPTIC, "16-bit grey instead of RGB", "is not an RGB image")(
    lambda f: panoptic(f, Image.fromarray(np.zeros((SIDE, SIDE), np.uint16)))
)
accepted(PANOPTIC, "no segment", "all pixels ignored", lambda value: (value.labels == 255).all())(
    lambda f: panoptic(f, blank(colour=(0, 0, 0)))
)

# --- artefacts -------------------------------------------------------------------------------------------------------
ARTEFACT = "checkpoint, subnetwork, embeddings"
MALICE = "malicious pickle"


def evil(path):
    return wrote(path, pickle.dumps(Malice()))


def torch_evil(path):
    torch.save({"model": Malice()}, path)
    return path


refused(ARTEFACT, f"{MALICE} as checkpoint", "damaged or not safetensors")(lambda f: load_checkpoint(evil(f / "c")))
refused(ARTEFACT, f"{MALICE} in torch.save's form", "damaged or not safetensors")(
    lambda f: load_checkpoint(torch_evil(f / "c.pth"))
)
refused(ARTEFACT, f"{MALICE} as mask", "damaged or not safetensors")(lambda f: Subnetwork.load(evil(f / "s")))
refused(ARTEFACT, f"{MALICE} as text embeddings", "damaged or not safetensors")(
    lambda f: TextEmbeddings.load(evil(f / "t"))
)
refused("ADE20K index", f"{MALICE} as index", "which is not data")(lambda f: read_pickle(evil(f / "index.pkl")))
refused("ADE20K index", "array that claims more than it holds", "entries for an array of shape")(
    lambda f: read_pickle(
        wrote(f / "index.pkl", pickle.dumps(np.array(["a"] * 3, object), 2).replace(b"K\x03", b"K\x04"))
    )
)
refused(ARTEFACT, "teacher whose architecture is no JSON", "architecture is not readable as JSON")(
    lambda f: (
        save_tensors(f / "t", {"logit_scale": torch.ones(())}, {"architecture": "{u"}) or ClipWeights.load(f / "t")
    )
)
refused("ADE20K index", "truncated pickle", "refused or unreadable pickle")(
    lambda f: read_pickle(wrote(f / "index.pkl", pickle.dumps({"a": [1, 2]})[:-4]))
)
refused(ARTEFACT, "file of zero bytes", "damaged or not safetensors")(lambda f: load_checkpoint(wrote(f / "c", b"")))
refused(ARTEFACT, "header that claims an exabyte", "damaged or not safetensors")(
    lambda f: load_checkpoint(wrote(f / "c", (2**60).to_bytes(8, "little") + b"{}"))
)
refused(ARTEFACT, "somebody else's safetensors", "not a checkpoint of opentrans")(
    lambda f: save_file({"a": torch.zeros(2)}, f / "c") or load_checkpoint(f / "c")
)
refused(ARTEFACT, "mask of floating-point numbers", "a mask is boolean")(
    lambda f: (
        save_file({f"{kind}.a": torch.ones(2, 2, 1, 1) for kind in ("mask", "weight")}, f / "s")
        or Subnetwork.load(f / "s")
    )
)
refused(ARTEFACT, "mask of another shape", "mask has shape")(
    lambda f: (
        save_file({"mask.a": torch.ones(2, 2, 1, 1, dtype=torch.bool), "weight.a": torch.ones(3, 2, 1, 1)}, f / "s")
        or Subnetwork.load(f / "s")
    )
)
refused(ARTEFACT, "one bit flipped", "damaged: it is not what .sha256 beside it says")(
    lambda f: write_hashed(f / "c", b"abc") or (wrote(f / "c", b"abb") and check_hash(f / "c", ""))
)

# --- tables and configuration ----------------------------------------------------------------------------------------
PLAN, CONFIG, EXPERIMENT_TABLE = "freeze plan", "configuration", "experiments.csv"


def plan(f, *rows):
    header = ",".join(PLAN_FIELDS)
    return FreezePlan.read(wrote(f / "plan.csv", "\n".join([header, *rows]) + "\n"))


VALUES = {"layer": "a", "shape": "1x1x1x1", "alpha": "2.5", "fit_quality": "0.1", "xmin": "0.2", "frozen": "yes"}
GOOD_ROW = ",".join(VALUES.get(name, "1" if name == "weights" else "") for name in PLAN_FIELDS)
refused(PLAN, "layer listed twice", "layer a is listed twice")(lambda f: plan(f, GOOD_ROW, GOOD_ROW))
refused(PLAN, "frozen: perhaps", "perhaps")(lambda f: plan(f, GOOD_ROW.replace("yes", "perhaps")))
refused(PLAN, "alpha that is no number", "two")(lambda f: plan(f, GOOD_ROW.replace("2.5", "two")))


def configuration(f, content):
    return load_config([ROOT / "config/mini.yaml", wrote(f / "c.yaml", content)])


refused(CONFIG, "unknown key", "seedz")(lambda f: configuration(f, "seedz: [1]"))
refused(CONFIG, "wrong type", "seeds")(lambda f: configuration(f, "seeds: many"))
refused(CONFIG, "tab instead of spaces", "not readable as YAML")(lambda f: configuration(f, "data:\n\traw_root: x"))
refused(CONFIG, "YAML that would run Python", "not readable as YAML")(
    lambda f: configuration(f, 'seeds: !!python/object/apply:os.system ["touch hacked"]')
)
refused(CONFIG, "empty file", "holds no keys")(lambda f: configuration(f, ""))
refused(CONFIG, "missing file", "no such configuration file")(lambda f: load_config([f / "none.yaml"]))


def experiment_table(f, *rows):
    header = "id,table,row,target,subnetwork,freeze,benchmarks,evaluate"
    return read_experiments(
        wrote(f / "e.csv", "\n".join([header, *rows]) + "\n"), load_config([ROOT / "config/mini.yaml"])
    )


refused(EXPERIMENT_TABLE, "target that the configuration lacks", "'hen' is none of")(
    lambda f: experiment_table(f, "a,1,Row,hen,dense,none,all,yes")
)
refused(EXPERIMENT_TABLE, "no row", "holds no experiment")(lambda f: experiment_table(f))
refused(EXPERIMENT_TABLE, "two rows of one label", "occurs twice in table 1")(
    lambda f: experiment_table(f, *[f"{key},1,Row,han,dense,none,all,yes" for key in "ab"])
)
refused(EXPERIMENT_TABLE, "two rows of one id", "'a' occurs twice")(
    lambda f: experiment_table(f, *[f"a,1,{label},han,dense,none,all,yes" for label in "AB"])
)
refused(EXPERIMENT_TABLE, "id with a space", "is not made of small letters")(
    lambda f: experiment_table(f, "an id,1,Row,han,dense,none,all,yes")
)
refused("any JSON", "folder of that name", "Is a directory")(
    lambda f: (f / "x.json").mkdir() or read_json(f / "x.json")
)

HEAD = """# What happens to bad inputs

Generated from `tests/robustness/bad_inputs.py` by `python tests/robustness/bad_inputs.py`; each row is a test
(`tests/robustness/test_bad_inputs.py`), and a test fails when this page is not what the table gives. *Refused*: one
line that names the file, the problem and the remedy, exit status 2, and nothing written. What is spoilt in whole
downloads
(counts, missing files, workers that meet a broken image) is tested in `tests/data/test_bad_downloads.py`.
"""


def render() -> str:
    """The page."""
    lines = [HEAD, f"{len(CASES)} inputs:\n", "| read as | bad input | what happens |", "|---|---|---|"]
    for case in CASES:
        happens = f"accepted: {case.says}" if case.fits else f"refused: “{case.says}”"
        lines.append(f"| {case.reader} | {case.what} | {happens} |")
    return "\n".join(lines) + "\n\n" + TAIL


TAIL = (Path(__file__).parent / "robustness_tail.md").read_text(encoding="utf-8")

if __name__ == "__main__":
    (ROOT / "docs/robustness.md").write_text(render(), encoding="utf-8")
