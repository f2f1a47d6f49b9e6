import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from opentrans.config import DataConfig
from opentrans.data import maps
from opentrans.data.histograms import Histogram, compare_known
from opentrans.data.maps import encode_map, get_size, read_packed_ids
from opentrans.data.prepare import prepare
from opentrans.data.prepared import read_map
from opentrans.data.sources import ade150, pascal
from opentrans.data.sources.base import Known
from opentrans.data.sources.registry import open_source
from opentrans.errors import UserError

HERE = Path("objectInfo150.txt")


def make_histogram(pixels: list[int]) -> Histogram:
    histogram = Histogram(len(pixels))
    histogram.add({str(index): value for index, value in enumerate(pixels) if value} | {str(len(pixels)): 5})
    return histogram


def test_equal_and_nearly_equal_counts_give_no_remark():
    known = Known(HERE, pixels=(100, 2000, 0))
    assert compare_known(make_histogram([100, 2000, 0]), known) == []
    assert compare_known(make_histogram([100, 2015, 3]), known) == []


def test_a_class_that_differs_gets_a_remark_with_both_numbers():
    known = Known(HERE, pixels=tuple([1000] * 20))
    remark = compare_known(make_histogram([1000] * 19 + [1200]), known)
    assert remark == ["1 classes differ by more than 1% in pixels from objectInfo150.txt (class 19: 1200, there 1000)"]


def test_labels_that_are_shifted_by_one_class_are_refused():
    counts = [10 * 3**index for index in range(8)]
    with pytest.raises(UserError, match=r"objectInfo150\.txt: \d classes have other numbers of pixels"):
        compare_known(make_histogram(counts[1:] + counts[:1]), Known(HERE, pixels=tuple(counts)))


def test_where_the_known_number_is_a_bound_fewer_are_fine_and_more_are_not():
    histogram = Histogram(2)
    for _ in range(30):
        histogram.add({"0": 1})
    assert compare_known(histogram, Known(HERE, images=(100, 100), at_most=True)) == []
    with pytest.raises(UserError, match="class 0: 30, expected 10"):
        compare_known(histogram, Known(HERE, images=(10, 100), at_most=True))


def test_cocos_labels_are_checked_by_the_areas_in_its_json(config: DataConfig, raw: Path, tmp_path: Path):
    prepare("coco", "val", config, tmp_path / "out")
    source, statistics = open_source("coco", "val", config), json.loads((tmp_path / "out/stats.json").read_text())
    assert source.known is not None
    assert list(source.known.pixels or ()) == statistics["pixels"]
    assert statistics["remarks"] == []
    path = raw / "coco/annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    for entry in content["annotations"]:
        for segment in entry["segments_info"]:
            segment["area"] = 3 * segment["area"] + 100
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"panoptic_val2017\.json: \d+ classes have other numbers of pixels"):
        prepare("coco", "val", config, tmp_path / "other")


def test_ades_labels_are_checked_by_the_numbers_beside_its_names(config, raw, tmp_path, monkeypatch):
    path = raw / "ADEChallengeData2016/objectInfo150.txt"
    monkeypatch.setattr(ade150, "OFFICIAL_IMAGES", {"train": 3, "val": 3})
    lines = path.read_text().splitlines()
    cells = [line.split("\t") for line in lines[1:]]
    path.write_text("\n".join([lines[0], *("\t".join([*row[:3], "500 ", row[4]]) for row in cells)]) + "\n")
    with pytest.raises(UserError, match=r"objectInfo150\.txt: \d+ classes have other numbers of images"):
        prepare("ade150", "val", config, tmp_path / "out")


def test_vocs_validation_labels_are_checked_by_the_statistics_of_its_site(config, raw, tmp_path, monkeypatch):
    assert len(pascal.VOC_VAL_IMAGES) == len(pascal.VOC_NAMES)
    (raw / "VOCdevkit/VOC2012/labels.txt").unlink()
    monkeypatch.setattr(pascal, "VOC_VAL_TOTAL", 3)
    with pytest.raises(UserError, match=r"SegmentationClass: \d+ classes have other numbers of images"):
        prepare("pas20", "val", config, tmp_path / "out")
    monkeypatch.undo()
    assert open_source("pas20", "val", config).known is None


def test_ade_names_may_follow_a_column_that_tells_stuff_from_things(config: DataConfig, raw: Path):
    expected = open_source("ade150", "val", config).vocabulary
    path = raw / "ADEChallengeData2016/objectInfo150.txt"
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    path.write_text("\n".join("\t".join([*row[:4], "1", row[4]]) for row in lines) + "\n")
    assert open_source("ade150", "val", config).vocabulary == expected


SUBSETS = {
    "coco": "coco/val2017/*.jpg",
    "ade150": "ADEChallengeData2016/annotations/validation/*.png",
    "ade847": "ADE20K_2021_17_01/images/ADE/validation/*/*/*.jpg",
    "cityscapes": "cityscapes/gtFine/val/*/*_labelIds.png",
    "pas20": "VOCdevkit/VOC2012/SegmentationClass/*.png",
    "pc59": "VOCdevkit/VOC2010/trainval/*.mat",
}


@pytest.mark.parametrize("dataset", SUBSETS)
def test_a_subset_is_accepted_only_when_the_configuration_says_so(dataset, config, raw, tmp_path):
    (raw / "world.json").unlink()
    whole = len(open_source(dataset, "val", config.model_copy(update={"allow_subset": True})).items)
    sorted(raw.glob(SUBSETS[dataset]))[0].unlink()
    with pytest.raises(UserError):
        open_source(dataset, "val", config)
    subset = config.model_copy(update={"allow_subset": True})
    prepare(dataset, "val", subset, tmp_path / "out")
    assert json.loads((tmp_path / "out/stats.json").read_text())["images"] == whole - 1


def test_a_limit_takes_only_the_first_images_of_a_whole_download(config, raw, tmp_path):
    (raw / "world.json").unlink()
    few = DataConfig(raw_root=str(raw), allow_subset=True, max_images=2)
    every = open_source("coco", "val", few.model_copy(update={"max_images": None}))
    assert every.known is not None
    source = open_source("coco", "val", few)
    assert source.items == every.items[:2]
    assert source.known is None
    prepare("coco", "val", few, tmp_path / "out")
    assert json.loads((tmp_path / "out/stats.json").read_text())["images"] == 2
    with pytest.raises(ValidationError, match="allow_subset"):
        DataConfig(raw_root=str(raw), max_images=2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_label_map_is_read_back_as_it_was_written(dtype, tmp_path):
    top = np.iinfo(dtype).max
    values = np.random.default_rng(0).integers(0, top, (37, 51), dtype, endpoint=True)
    values[0] = top
    (tmp_path / "map.png").write_bytes(encode_map(values))
    np.testing.assert_array_equal(read_map(tmp_path / "map.png"), values)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_label_map_has_the_bytes_that_plain_zlib_gives(dtype, monkeypatch):
    generator = np.random.default_rng(3)
    for run in (1, 3, 40):
        rows = generator.integers(0, 133, (120, 200 // run + 1)).astype(dtype)
        values = rows.repeat(run, 1)[:, :200].repeat(3, 0)
        encoded = encode_map(values)
        with monkeypatch.context() as patch:
            patch.setattr(maps, "zlib_ng", zlib)
            assert encode_map(values) == encoded


def test_packed_ids_are_the_three_bytes_of_the_colours(tmp_path):
    colours = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / "ids.png")
    expected = colours.astype(int) @ [1, 256, 65536]
    np.testing.assert_array_equal(read_packed_ids(tmp_path / "ids.png") & 0xFFFFFF, expected)


def test_packed_ids_are_refused_where_the_image_is_grey_or_cut_off(tmp_path):
    colours = np.random.default_rng(1).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(colours[..., 0]).save(tmp_path / "grey.png")
    with pytest.raises(UserError, match="is not an RGB image"):
        read_packed_ids(tmp_path / "grey.png")
    Image.fromarray(colours).save(tmp_path / "ids.png")
    content = (tmp_path / "ids.png").read_bytes()
    (tmp_path / "ids.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="unreadable image"):
        read_packed_ids(tmp_path / "ids.png")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_the_size_comes_from_the_header_and_a_cut_off_image_is_still_found(suffix, tmp_path):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (40, 60, 3), np.uint8)).save(path)
    content = path.read_bytes()
    assert get_size(content, path) == (40, 60)
    assert get_size(content + bytes(9), path) == (40, 60)
    with pytest.raises(UserError, match="unreadable image"):
        get_size(content[:-100], path)
