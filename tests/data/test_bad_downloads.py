import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opentrans.config import DataConfig
from opentrans.data.prepare import prepare
from opentrans.data.sources.safe_pickle import read_pickle
from opentrans.errors import UserError

ADE = "ADEChallengeData2016"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def paint(path: Path, value: int) -> None:
    pixels = np.asarray(Image.open(path)).copy()
    pixels[3, 4] = value
    Image.fromarray(pixels).save(path)


def first(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[0]


def forget_segment(root: Path) -> None:
    path = root / "coco/annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segments_info"].pop()
    path.write_text(json.dumps(content))


def forget_annotation(root: Path) -> None:
    path = root / "coco/annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"].pop()
    path.write_text(json.dumps(content))


def shrink(path: Path) -> None:
    Image.open(path).resize((40, 40)).save(path)


class Malice:
    def __reduce__(self):
        return os.system, ("touch hacked",)


CASES: list[tuple[str, Callable[[Path], object], str]] = [
    ("coco", lambda root: truncate(first(root, "coco/val2017/*.jpg")), "unreadable image"),
    ("coco", lambda root: truncate(first(root, "coco/panoptic_val2017/*.png")), "unreadable image"),
    ("coco", lambda root: first(root, "coco/panoptic_val2017/*.png").unlink(), "image has no label"),
    ("coco", lambda root: first(root, "coco/val2017/*.jpg").unlink(), "label has no image"),
    ("coco", forget_segment, r"segment id \d+ is not in the JSON file"),
    ("coco", forget_annotation, "only one of the JSON file and the folders"),
    ("coco", lambda root: shrink(first(root, "coco/val2017/*.jpg")), "is 40 x 40 pixels, its label 64 x 64"),
    ("coco", lambda root: truncate(root / "coco/annotations/panoptic_val2017.json"), "not readable as JSON"),
    ("ade150", lambda root: paint(first(root, f"{ADE}/annotations/*/*.png"), 200), "value 200 is outside the vocab"),
    ("ade150", lambda root: (root / ADE / "objectInfo150.txt").write_text("a\nb\n"), "is not `number"),
    ("cityscapes", lambda root: paint(first(root, "cityscapes/gtFine/*/*/*.png"), 40), "value 40 is outside"),
    ("cityscapes", lambda root: (root / "cityscapes/labels.json").write_text('[{"id": 1}]'), "missing"),
    ("ade847", lambda root: paint(first(root, "ADE20K*/images/ADE/val*/*/*/*_seg.png"), 255), "is outside the vocab"),
    ("ade847", lambda root: first(root, "ADE20K*/images/ADE/val*/*/*/*_seg.png").unlink(), "label of a listed image"),
    ("ade847", lambda root: (root / "ADE20K_2021_17_01/index_ade20k.pkl").write_bytes(b"\x80"), "unreadable pickle"),
    ("pas20", lambda root: first(root, "VOCdevkit/VOC2012/SegmentationClass/*").unlink(), "label of a listed image"),
    ("pas20", lambda root: (root / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").unlink(), "no such file"),
    ("pc459", lambda root: truncate(first(root, "VOCdevkit/VOC2010/trainval/*.mat")), "unreadable .mat"),
    ("pc459", lambda root: (root / "VOCdevkit/VOC2010/labels.txt").write_text("1: a\n3: b\n"), "without gaps"),
    ("pc59", lambda root: (root / "VOCdevkit/VOC2010/59_ids.txt").write_text("0\n999\n"), "`999` is no id"),
]


@pytest.mark.parametrize(("dataset", "spoil", "message"), CASES)
def test_bad_input_is_one_clear_error_and_no_result(
    dataset: str, spoil: Callable[[Path], object], message: str, config: DataConfig, raw: Path, tmp_path: Path
):
    spoil(raw)
    with pytest.raises(UserError, match=message) as caught:
        prepare(dataset, "val", config, tmp_path / "place/out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "place/out").exists()


def test_an_error_in_a_worker_process_comes_back_whole(config: DataConfig, raw: Path, tmp_path: Path):
    truncate(first(raw, "coco/val2017/*.jpg"))
    with pytest.raises(UserError, match="unreadable image") as caught:
        prepare("coco", "val", config, tmp_path / "out", workers=2)
    assert caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_a_missing_root_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="no such folder"):
        prepare("coco", "val", DataConfig(raw_root=str(tmp_path / "absent")), tmp_path / "out")


@pytest.mark.parametrize(("dataset", "split"), [("lvis", "val"), ("coco", "test")])
def test_unknown_data_set_or_split_is_refused(dataset: str, split: str, config: DataConfig, tmp_path: Path):
    with pytest.raises(UserError, match=r"unknown|no split test"):
        prepare(dataset, split, config, tmp_path / "out")


def test_an_output_folder_with_other_content_is_left_alone(config: DataConfig, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        prepare("coco", "val", config, tmp_path / "out")
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("index.pkl").write_bytes(pickle.dumps({"objectnames": Malice()}))
    with pytest.raises(UserError, match=r"posix\.system, which is not data"):
        read_pickle(Path("index.pkl"))
    assert not Path("hacked").exists()


ARRAYS = {
    "numbers": np.arange(6).reshape(2, 3),
    "in Fortran's order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "flags": np.array([True, False]),
    "text": np.array(["a", "ü"]),
    "bytes": np.array([b"a", b"bc"]),
    "objects": np.array([["x", None], [2, "y"]], object).T,
    "big-endian": np.arange(3, dtype=">i4"),
    "none": np.zeros((0, 3)),
}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_containers_are_admitted(protocol: int, tmp_path: Path):
    content = {"b": ["x", 1.5, None, (b"q",)], "c": np.float64(2), "d": [np.array([1]), {"e": np.int8(3)}]}
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(ARRAYS | content, protocol=protocol))
    read = read_pickle(tmp_path / "p.pkl")
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    assert {name: read[name] for name in content} == content
    assert type(read["c"]) is np.float64


class Reshaped:
    """An array whose pickle claims what it does not hold: numpy's own reader would read or write outside of it."""

    def __init__(self, state: tuple[object, ...]) -> None:
        self.state = state

    def __reduce__(self):
        return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, *self.state)


OBJECT, LONG = np.dtype("O"), np.dtype("i8")


@pytest.mark.parametrize(
    "state",
    [
        ((4,), OBJECT, False, b"\x41" * 32),  # pointers
        ((4,), LONG, False, b"\0" * 8),
        ((2**62,), LONG, False, b""),
        ((3,), OBJECT, False, ["a"]),
        ((1,), np.dtype("V8"), False, b"\0" * 8),
        ((1,), np.dtype([("a", "i8")]), False, b"\0" * 8),
        (None, None, None, None),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_an_array_that_is_not_what_it_claims_is_refused(state, protocol: int, tmp_path: Path):
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(Reshaped(state), protocol=protocol))
    with pytest.raises(UserError, match="refused or unreadable pickle"):
        read_pickle(tmp_path / "p.pkl")


def test_a_pickle_cannot_change_what_it_may_call(tmp_path: Path):
    (tmp_path / "p.pkl").write_bytes(b"c_codecs\nencode\n}X\x04\x00\x00\x00makeNsb.")
    with pytest.raises(UserError, match="it changes what it calls"):
        read_pickle(tmp_path / "p.pkl")


def test_a_pickle_with_numpys_old_module_names_is_read(tmp_path: Path):
    written = pickle.dumps(np.arange(3), protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core" in written
    (tmp_path / "p.pkl").write_bytes(written)
    assert read_pickle(tmp_path / "p.pkl").tolist() == [0, 1, 2]
