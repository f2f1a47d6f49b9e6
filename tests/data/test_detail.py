import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from opentrans.config import DataConfig
from opentrans.data.prepare import prepare
from opentrans.data.prepared import PreparedDataset
from opentrans.data.sources.detail import decode_run_lengths
from opentrans.data.sources.registry import open_source
from opentrans.errors import UserError


def expand(counts: list[int], size: tuple[int, int]) -> np.ndarray:
    """Run lengths, column by column, background first: written here without the library."""
    values = [bool(index % 2) for index, count in enumerate(counts) for _ in range(count)]
    return np.array(values, bool).reshape(size[1], size[0]).T


def count_runs(mask: np.ndarray) -> list[int]:
    """Lengths of the runs, column by column, background first (so the first may be 0)."""
    flat = np.concatenate([[False], mask.T.ravel(), [~mask[-1, -1]]])
    return np.diff(np.flatnonzero(flat[1:] != flat[:-1]), prepend=0).tolist()


def write_text(counts: list[int]) -> str:
    """The compressed form: from the fourth run on the change to the last but one, five bits a character from "0"."""
    text = ""
    for index, count in enumerate(counts):
        value, more = count - (counts[index - 2] if index > 2 else 0), True
        while more:
            digit, value = value & 31, value >> 5
            more = value != (-1 if digit & 16 else 0)
            text += chr(48 + digit + 32 * more)
    return text


def write_detail(folder: Path, phase_of_others: str = "train", **changes) -> Path:
    """``trainval_merged.json`` with what the .mat files of the mini world say, and a picture of another phase."""
    stems = [line.strip() for line in (folder / "pascalcontext_val.txt").read_text().split()]
    images, segments = [], []
    for number, stem in enumerate(stems):
        label = loadmat(folder / f"trainval/{stem}.mat")["LabelMap"]
        common = {"height": 64, "width": 64, "phase": "val", "date_captured": "31-Oct-2017"}
        images.append({"image_id": number, "file_name": f"{stem}.jpg", **common})
        for category in np.unique(label):
            text = {"size": [64, 64], "counts": write_text(count_runs(label == category))}
            part = {"part_id": 7, "segmentation": text}
            area = int((label == category).sum())
            segments.append(
                {"id": len(segments), "image_id": number, "category_id": int(category), "segmentation": text,
                 "area": area, "bbox": [0, 0, 1, 1], "iscrowd": 0, "parts": [part]}
            )  # fmt: skip
    images.append(images[0] | {"image_id": 99, "phase": phase_of_others, "file_name": "other.jpg"})
    segments.append(segments[0] | {"image_id": 99})
    lines = [line.partition(":") for line in (folder / "labels.txt").read_text().splitlines()]
    categories = [{"category_id": int(value), "name": name.strip(), "parts": []} for value, _, name in lines]
    content = {"images": images, "annos_segmentation": segments, "categories": categories, "annos_boundary": [
        {"image_id": 0, "boundary": {"size": [64, 64], "counts": "a"}}]} | changes  # fmt: skip
    path = folder / "trainval_merged.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def context(raw: Path) -> Path:
    return raw / "VOCdevkit/VOC2010"


@pytest.mark.parametrize("dataset", ["pc59", "pc459"])
def test_detail_and_label_maps_give_the_same_labels(dataset, context, config: DataConfig, tmp_path):
    write_detail(context)
    for form in ("labelmap", "detail"):
        prepare(dataset, "val", config.model_copy(update={"pascal_context": form}), tmp_path / form)
    maps, detail = (PreparedDataset.open(tmp_path / form) for form in ("labelmap", "detail"))
    assert maps.vocabulary == detail.vocabulary
    assert [r.image_id for r in maps.records] == [r.image_id for r in detail.records]
    for index in range(len(maps)):
        np.testing.assert_array_equal(maps.label(index), detail.label(index))


def test_each_benchmark_takes_its_customary_form_where_both_are_there(context, config):
    write_detail(context)
    assert open_source("pc59", "val", config).items[0].label.name == "trainval_merged.json"
    assert open_source("pc459", "val", config).items[0].label.suffix == ".mat"
    (context / "trainval_merged.json").unlink()
    assert open_source("pc59", "val", config).items[0].label.suffix == ".mat"


def test_detail_brings_its_own_names_and_split(context, config, tmp_path):
    write_detail(context)
    expected = open_source("pc459", "val", config).vocabulary
    for name in ("labels.txt", "pascalcontext_val.txt"):
        (context / name).unlink()
    for path in (context / "trainval").iterdir():
        path.unlink()
    (context / "trainval").rmdir()
    source = open_source("pc459", "val", config)
    assert source.vocabulary == expected
    assert len(source.items) == 3


def test_a_later_segment_covers_an_earlier_one(context, config):
    path = write_detail(context)
    content = json.loads(path.read_text())
    stem = Path(content["images"][0]["file_name"]).stem
    text = {"size": [64, 64], "counts": write_text([0, 64 * 64])}
    content["annos_segmentation"].append({"image_id": 0, "category_id": 3, "segmentation": text})
    path.write_text(json.dumps(content))
    source = open_source("pc459", "val", config.model_copy(update={"pascal_context": "detail"}))
    item = next(item for item in source.items if item.image_id == stem)
    assert (source.decode(item).labels == 2).all()


def draw(height: int, width: int, *boxes: tuple[slice, slice]) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    for box in boxes:
        mask[box] = True
    return mask


# The texts are pycocotools' (2.0.11) for these masks.
KNOWN = [
    ("41202", draw(3, 4, np.s_[1:2, 1:3])),
    ("Qb2cY[3je3_fdLRlQ2", draw(375, 500, np.s_[:, 7:300], np.s_[20:22, 310:311])),
    ("0n0", draw(5, 6, np.s_[:, :])),
    ("012020N0O010O01020N0O010O01020N0O010O", np.indices((6, 9)).sum(0) % 3 == 0),
]


@pytest.mark.parametrize(("text", "mask"), KNOWN)
def test_run_lengths_are_decoded_as_pycocotools_encodes_them(text, mask):
    np.testing.assert_array_equal(decode_run_lengths(mask.shape, text, "here"), mask)
    assert write_text(count_runs(mask)) == text


def test_run_lengths_come_back_from_both_forms():
    generator = np.random.default_rng(0)
    for size in ((1, 1), (7, 5), (40, 61), (375, 500)):
        mask = np.repeat(generator.random((size[0], -(-size[1] // 3))) < 0.4, 3, 1)[:, : size[1]]
        counts = count_runs(mask)
        np.testing.assert_array_equal(expand(counts, size), mask)
        for form in (write_text(counts), counts):
            np.testing.assert_array_equal(decode_run_lengths(size, form, "here"), mask)


@pytest.mark.parametrize("counts", ["", "`", "04000000", [3, 2], [-1, 13], None])
def test_damaged_run_lengths_are_refused(counts):
    with pytest.raises(UserError, match=r"here: damaged run lengths"):
        decode_run_lengths([3, 4], counts, "here")


def test_a_damaged_detail_file_is_named_with_its_fault(context, config):
    detail = config.model_copy(update={"pascal_context": "detail"})
    write_detail(context, annos_segmentation=[])
    with pytest.raises(UserError, match=r"trainval_merged\.json: image .* has no segment \(3 such\)"):
        open_source("pc59", "val", detail)
    write_detail(context, images=[{"image_id": 1, "file_name": "a.jpg"}])
    with pytest.raises(UserError, match=r"trainval_merged\.json: field 'phase' is missing"):
        open_source("pc59", "val", detail)
    path = write_detail(context)
    content = json.loads(path.read_text())
    content["annos_segmentation"][0]["category_id"] = 5000
    path.write_text(json.dumps(content))
    source = open_source("pc459", "val", detail)
    with pytest.raises(UserError, match="category 5000 is outside the vocabulary"):
        [source.decode(item) for item in source.items]


def test_names_of_the_59_classes_in_another_order_are_refused(context, config):
    (context / "59_ids.txt").unlink()
    names = [f"{index}: {chr(122 - index % 26)}{index:03}" for index in range(1, 460)]
    (context / "labels.txt").write_text("\n".join(names))
    with pytest.raises(UserError, match="not in the official order"):
        open_source("pc59", "val", config)


@pytest.mark.parametrize("place", ["val.txt", "ImageSets/SegmentationContext/val.txt"])
def test_the_split_is_found_under_the_names_that_mirrors_give_it(place, context, config):
    expected = open_source("pc459", "val", config).items
    (context / place).parent.mkdir(parents=True, exist_ok=True)
    (context / "pascalcontext_val.txt").rename(context / place)
    assert open_source("pc459", "val", config).items == expected
