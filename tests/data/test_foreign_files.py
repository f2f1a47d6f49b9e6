"""Downloads as other systems and other tools leave them: read with the right values, or refused with the reason."""

import errno
import json
import os
import pickle
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from opentrans.config import DataConfig
from opentrans.data.maps import read_packed_ids
from opentrans.data.prepare import prepare
from opentrans.data.prepared import PreparedDataset, read_map
from opentrans.data.sources.ade847 import Ade847
from opentrans.data.sources.base import list_files, read_lines
from opentrans.data.sources.cityscapes import _read_labels
from opentrans.data.sources.registry import open_source
from opentrans.data.sources.safe_pickle import read_pickle
from opentrans.errors import UserError, explain
from opentrans.prediction.images import find_images, read_image
from opentrans.system.files import read_json

VOC_LIST = "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"
TEXTS = {"pas20": VOC_LIST, "pc459": "VOCdevkit/VOC2010/labels.txt", "pc59": "VOCdevkit/VOC2010/59_ids.txt"}
TEXTS |= {"ade150": "ADEChallengeData2016/objectInfo150.txt", "cityscapes": "cityscapes/labels.json"}
TEXTS |= {"coco": "coco/annotations/panoptic_val2017.json"}


@pytest.mark.parametrize("dataset", TEXTS)
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(dataset: str, config: DataConfig, raw: Path):
    before = open_source(dataset, "val", config)
    path = raw / TEXTS[dataset]
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    after = open_source(dataset, "val", config)
    assert (after.items, after.vocabulary) == (before.items, before.vocabulary)


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf7\r\n")
    assert (read_lines(tmp_path / "a"), read_json(tmp_path / "a")) == (["7"], 7)


def test_companion_files_of_macos_are_passed_over(tmp_path: Path):
    for name in ("a.jpg", "._a.jpg"):
        (tmp_path / name).touch()
    assert list_files(tmp_path, "*.jpg", ".jpg") == find_images([tmp_path]) == {"a": tmp_path / "a.jpg"}


def write_grey(path: Path, values: np.ndarray, bits: int) -> None:
    """A grey PNG of `bits` a pixel, written without Pillow."""
    rows = b"".join(
        b"\0" + np.packbits((row[:, None] >> np.arange(bits)[::-1]) & 1).tobytes() for row in values.astype(int)
    )
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *values.shape[::-1], bits, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (*chunks, (b"IEND", b""))
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_grey_levels_of_any_depth_are_the_stored_values(bits: int, data: st.DataObject, tmp_path: Path):
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    size = shape[0] * shape[1]
    stored = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=size, max_size=size))
    write_grey(tmp_path / "a.png", np.array(stored).reshape(shape), bits)
    assert read_map(tmp_path / "a.png").ravel().tolist() == stored


def test_a_label_map_that_is_no_png_is_refused(tmp_path: Path):
    Image.fromarray(np.ones((8, 8), np.uint8)).save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(UserError, match="is JPEG, not PNG"):
        read_map(tmp_path / "a.png")


CITIES = "cityscapes/gtFine/val"


@pytest.mark.parametrize(("other", "message"), [(255, "holds 255"), (0, "no label id above 18 in any of 3 images")])
def test_training_ids_under_the_name_of_label_ids_are_refused(
    other: int, message: str, config: DataConfig, raw: Path, tmp_path: Path
):
    (raw / "cityscapes/labels.json").unlink()
    table = np.full(256, other, np.uint8)
    table[[7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]] = range(19)
    for path in (raw / CITIES).glob("*/*_labelIds.png"):
        Image.fromarray(table[np.asarray(Image.open(path))]).save(path)
    with pytest.raises(UserError, match=message):
        prepare("cityscapes", "val", config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def write_labels(path: Path, *rows: tuple[str, int, int]) -> Path:
    path.write_text(json.dumps([{"name": name, "id": label, "trainId": training} for name, label, training in rows]))
    return path


def test_the_official_table_of_labels_is_read(tmp_path: Path):
    rows = ("unlabeled", 0, 255), ("road", 7, 0), ("car", 26, 1), ("license plate", -1, -1)
    names, table = _read_labels(write_labels(tmp_path / "l", *rows))
    assert names == ("road", "car")
    assert {i: int(t) for i, t in enumerate(table) if t >= 0} == {0: 255, 7: 0, 26: 1}


@pytest.mark.parametrize(
    ("second", "message"), [(("car", 7, 1), "id 7 is listed twice"), (("car", 8, 0), "two names, road and car")]
)
def test_a_table_of_labels_that_contradicts_itself_is_refused(second: tuple, message: str, tmp_path: Path):
    with pytest.raises(UserError, match=message):
        _read_labels(write_labels(tmp_path / "l", ("road", 7, 0), second))


@pytest.mark.parametrize(("dataset", "short_side"), [("ade150", None), ("ade847", 16)])
def test_a_label_drawn_on_a_turned_image_is_said(
    dataset: str, short_side: int | None, config: DataConfig, tmp_path: Path
):
    config = config.model_copy(update={"ade847_short_side": short_side})
    item = open_source(dataset, "val", config).items[0]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.open(item.image).crop((0, 0, 64, 40)).save(item.image, exif=exif)
    Image.open(item.label).crop((0, 0, 40, 64)).save(item.label)
    with pytest.raises(UserError, match=r"its EXIF orientation \(6\)"):
        prepare(dataset, "val", config, tmp_path / "out")


def double(kind: str) -> Callable[[dict], object]:
    return lambda content: content[kind].append(dict(content[kind][0]))


def turn_into(entry: dict) -> Callable[[dict], object]:
    return lambda content: content.update(annotations=[entry])


PANOPTIC = [
    (double("categories"), "categories: id 1 is listed twice"),
    (double("images"), "images: id 1 is listed twice"),
    (double("annotations"), "annotations: image_id 1 is listed twice"),
    (turn_into({"id": 1, "image_id": 1, "category_id": 1, "bbox": []}), "holds instances"),
    (turn_into({"id": 1, "image_id": 1, "caption": "a cat"}), "holds captions, not panoptic"),
    (lambda content: content.pop("annotations"), "annotations"),
]


@pytest.mark.parametrize(("spoil", "message"), PANOPTIC)
def test_doubled_ids_and_json_of_another_task_are_named(spoil, message: str, config: DataConfig, raw: Path):
    path = raw / "coco/annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        open_source("coco", "val", config.model_copy(update={"allow_subset": True}))


def test_a_shortened_index_is_refused(config: DataConfig, tmp_path: Path):
    prepare("ade150", "val", config, tmp_path / "out")
    index = tmp_path / "out/index.csv"
    whole = index.read_text()
    index.write_text("\n".join(whole.splitlines()[:-1]) + "\n")
    with pytest.raises(UserError, match=r"2 images, stats\.json says 3"):
        PreparedDataset.open(tmp_path / "out")
    index.write_text(whole[:-3])
    with pytest.raises(UserError, match="label_sha256 is not what"):
        PreparedDataset.open(tmp_path / "out")


def test_a_header_that_claims_too_much_is_refused_before_decoding(tmp_path: Path):
    write_grey(tmp_path / "a.png", np.zeros((1, 1), int), 8)
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:26] = struct.pack(">IIBB", 20_000, 20_000, 8, 2)
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match="claims 20000 x 20000 pixels"):
        read_packed_ids(tmp_path / "a.png")


def test_reading_and_writing_without_permission_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path))
    assert "write to another folder" in str(explain(error))
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.R_OK)
    assert "cannot be read (permission denied); change its permissions" in str(explain(error))


def test_a_float_image_with_nan_is_scaled_by_its_numbers(tmp_path: Path):
    Image.fromarray(np.array([[0, 2], [np.nan, np.inf]], np.float32)).save(tmp_path / "a.tiff")
    assert read_image(tmp_path / "a.tiff")[..., 0].tolist() == [[0, 255], [0, 255]]


def test_a_pickle_of_lists_that_share_lists_is_read_at_once(tmp_path: Path):
    shared: list = []
    for _ in range(60):
        shared = [shared, shared]
    (tmp_path / "index_ade20k.pkl").write_bytes(pickle.dumps({"objectnames": shared, "filename": [], "folder": []}))
    start = time.monotonic()
    assert len(read_pickle(tmp_path / "index_ade20k.pkl")["objectnames"]) == 2
    with pytest.raises(UserError, match="objectnames as a list of names"):
        Ade847(tmp_path, "val", DataConfig(raw_root=str(tmp_path)))
    assert time.monotonic() - start < 1
