import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from builders import build_world_config
from opentrans.errors import UserError
from opentrans.system.files import read_csv, sha256
from opentrans.world.layouts import voc_palette
from opentrans.world.make import make_world


def manifest(root: Path) -> dict[str, dict[str, object]]:
    return json.loads((root / "manifest.json").read_text())


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_images(tiny_world: Path, tmp_path: Path):
    make_world(build_world_config(), tmp_path / "again")
    make_world(build_world_config(seed=4), tmp_path / "other")
    first, again, other = (manifest(root) for root in (tiny_world, tmp_path / "again", tmp_path / "other"))
    assert first == again
    image = "coco/train2017/000000000001.jpg"
    assert first[image] != other[image]


def test_the_manifest_lists_every_file_with_size_and_hash(tiny_world: Path):
    files = {str(p.relative_to(tiny_world)): p for p in tiny_world.rglob("*") if p.is_file()}
    files.pop("manifest.json")
    entries = manifest(tiny_world)
    assert entries.keys() == files.keys()
    assert all(entries[n] == {"bytes": p.stat().st_size, "sha256": sha256(p)} for n, p in files.items())


def test_captions_and_held_out_names_are_written(tiny_world: Path):
    rows = read_csv(tiny_world / "captions/captions.csv", ("image", "caption", "split", "kind", "name"))
    content = json.loads((tiny_world / "captions/heldout.json").read_text())
    assert (len(content["names"]), len(content["things"]), len(content["heldout"])) == (190, 180, 36)
    assert sum(row["split"] == "train" for row in rows) == 40
    assert not {row["name"] for row in rows if row["split"] == "train"} & set(content["heldout"])
    assert all(Image.open(tiny_world / "captions" / row["image"]).size == (32, 32) for row in rows)


def test_coco_segments_need_three_bytes_and_categories_have_gaps(tiny_world: Path):
    content = json.loads((tiny_world / "coco/annotations/panoptic_train2017.json").read_text())
    ids = [category["id"] for category in content["categories"]]
    assert ids == sorted(set(ids))
    assert max(ids) > len(ids)
    for entry in content["annotations"]:
        coded = np.asarray(Image.open(tiny_world / "coco/panoptic_train2017" / entry["file_name"])).astype(int)
        stored = coded[..., 0] + 256 * coded[..., 1] + 65536 * coded[..., 2]
        for segment in entry["segments_info"]:
            assert (stored == segment["id"]).sum() == segment["area"] > 0
            assert segment["id"] > 65535


def test_ade847_index_and_images_agree(tiny_world: Path):
    index = pickle.loads((tiny_world / "ADE20K_2021_17_01/index_ade20k.pkl").read_bytes())
    assert index["objectPresence"].shape == (len(index["objectnames"]), len(index["filename"])) == (339, 6)
    for place, (folder, name) in enumerate(zip(index["folder"], index["filename"], strict=True)):
        coded = np.asarray(Image.open(tiny_world / folder / name.replace(".jpg", "_seg.png"))).astype(int)
        numbers = np.unique(coded[..., 0] // 10 * 256 + coded[..., 1])
        assert set(numbers) - {0} == set(np.flatnonzero(index["objectPresence"][:, place]) + 1)


def test_label_maps_have_the_official_types(tiny_world: Path):
    voc = Image.open(next((tiny_world / "VOCdevkit/VOC2012/SegmentationClass").glob("*.png")))
    assert voc.mode == "P"
    assert 255 in np.asarray(voc)
    label_map = loadmat(next((tiny_world / "VOCdevkit/VOC2010/trainval").glob("*.mat")))["LabelMap"]
    assert label_map.dtype == np.uint16


def test_the_voc_palette_begins_with_the_known_colours():
    table = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
    assert table[[0, 1, 2, 15, 255]].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [224, 224, 192]]


def test_a_folder_with_other_content_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds other files"):
        make_world(build_world_config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_missing_set_is_named(tmp_path: Path):
    config = build_world_config().model_copy(update={"images": {"coco_train": 2}})
    with pytest.raises(UserError, match=r"world\.images\.ade150"):
        make_world(config, tmp_path / "root")
    assert not (tmp_path / "root").exists()
