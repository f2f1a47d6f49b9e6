import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from builders import build_teacher
from opentrans.clip.region_encoder import embed_regions
from opentrans.config import DataConfig
from opentrans.data.prepare import prepare
from opentrans.data.prepared import PreparedDataset
from opentrans.data.regions import get_regions
from opentrans.data.sources.coco import prompt_name
from opentrans.data.sources.pascal import CONTEXT_59_IDS
from opentrans.data.sources.registry import DATASETS, open_source
from opentrans.errors import UserError
from opentrans.runs.code_digest import PACKAGE, get_sources
from opentrans.system.files import sha256
from opentrans.training.data import CropSettings, TrainingData
from opentrans.world.lexicon import VOCABULARIES, written_names


def statistics(folder: Path) -> dict:
    return json.loads((folder / "stats.json").read_text())


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_layout_is_read_back_with_images_labels_and_hashes(dataset: str, config: DataConfig, tmp_path: Path):
    out = tmp_path / "out"
    prepare(dataset, "val", config, out)
    prepared, stats = PreparedDataset.open(out), statistics(out)
    assert len(prepared) == stats["images"] == 3
    pixels = Counter()
    for index in range(3):
        label = prepared.label(index)
        assert prepared.image(index).shape[:2] == label.shape == (64, 64)
        pixels.update(label.ravel().tolist())
    ignored = pixels.pop(prepared.vocabulary.ignore, 0)
    assert {i: n for i, n in enumerate(stats["pixels"]) if n} == pixels
    assert stats["ignored_pixels"] == ignored
    lines = (out / "index.csv").read_text().splitlines()
    assert lines[1].endswith(sha256(prepared.records[0].label))


def test_a_subset_of_the_training_set_is_random_and_nested(config: DataConfig, raw: Path):
    def choose(number: int | None, seed: int = 0, split: str = "train") -> list[str]:
        few = config.model_copy(update={"train_images": number, "subset_seed": seed})
        return [item.image_id for item in open_source("coco", split, few).items]

    every = choose(None)
    choices = [choose(number) for number in range(1, len(every) + 1)]
    assert [len(chosen) for chosen in choices] == [*range(1, len(every) + 1)]
    assert all(set(small) < set(large) for small, large in pairwise(choices))
    assert all(chosen == [name for name in every if name in chosen] for chosen in choices)
    # Not always the first ones, and not the same ones of every seed.
    assert len({tuple(choose(2, seed)) for seed in range(8)}) > 1
    assert choose(1, split="val") == choose(None, split="val")


def test_coco_histogram_agrees_with_a_loop_over_segments(config: DataConfig, raw: Path, tmp_path: Path):
    prepare("coco", "train", config, tmp_path / "out")
    content = json.loads((raw / "coco/annotations/panoptic_train2017.json").read_text())
    order = sorted(category["id"] for category in content["categories"])
    pixels = [0] * len(order)
    for entry in content["annotations"]:
        coded = np.asarray(Image.open(raw / "coco/panoptic_train2017" / entry["file_name"])).astype(np.uint32)
        ids = coded[..., 0] + 256 * coded[..., 1] + 256**2 * coded[..., 2]
        for segment in entry["segments_info"]:
            pixels[order.index(segment["category_id"])] += int((ids == segment["id"]).sum())
    assert statistics(tmp_path / "out")["pixels"] == pixels


def test_coco_segments_are_numbered_in_the_order_of_the_json(config: DataConfig, raw: Path, tmp_path: Path):
    prepare("coco", "val", config.model_copy(update={"regions": "segment"}), tmp_path / "out")
    prepared = PreparedDataset.open(tmp_path / "out")
    content = json.loads((raw / "coco/annotations/panoptic_val2017.json").read_text())
    segments, label = prepared.segments(0), prepared.label(0)
    areas = [segment["area"] for segment in content["annotations"][0]["segments_info"]]
    assert np.bincount(segments.ravel())[1:].tolist() == areas
    np.testing.assert_array_equal(segments == 0, label == 255)


def test_coco_segments_are_written_only_where_the_configuration_uses_them(config: DataConfig, tmp_path: Path):
    prepare("coco", "val", config.model_copy(update={"regions": "class"}), tmp_path / "out")
    assert PreparedDataset.open(tmp_path / "out").segments(0) is None


def write_panoptic(root: Path) -> None:
    """One image of COCO: a person at the left, a crowd of persons in the middle, sky at the right; a row is void."""
    ids = np.zeros((8, 12), np.uint32)
    ids[1:, :4], ids[1:, 4:8], ids[1:, 8:] = 70_000, 300, 5
    coded = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    for folder in ("annotations", "val2017", "panoptic_val2017"):
        (root / "coco" / folder).mkdir(parents=True)
    Image.fromarray(coded).save(root / "coco/panoptic_val2017/000000000001.png")
    Image.fromarray(coded).save(root / "coco/val2017/000000000001.jpg")

    segments = [(70_000, 1, 0), (300, 1, 1), (5, 187, 0)]
    infos = [{"id": i, "category_id": c, "area": 28, "iscrowd": crowd} for i, c, crowd in segments]
    content = {
        "images": [{"id": 1, "file_name": "000000000001.jpg", "height": 8, "width": 12}],
        "annotations": [{"image_id": 1, "file_name": "000000000001.png", "segments_info": infos}],
        "categories": [{"id": 1, "name": "person"}, {"id": 187, "name": "sky-other-merged"}],
    }
    (root / "coco/annotations/panoptic_val2017.json").write_text(json.dumps(content))


def test_a_crowd_is_labelled_but_is_no_region(tmp_path: Path):
    write_panoptic(tmp_path / "raw")
    config = DataConfig(raw_root=str(tmp_path / "raw"), allow_subset=True, regions="segment")
    prepare("coco", "val", config, tmp_path / "out")
    prepared = PreparedDataset.open(tmp_path / "out")
    label, segments = prepared.label(0), prepared.segments(0)

    # Evaluation counts the crowd as what it is.
    assert label.tolist() == [[255] * 12] + [[0] * 8 + [1] * 4] * 7
    assert statistics(tmp_path / "out")["pixels"] == [56, 28]

    numbers, classes, masks = get_regions(label, segments, "segment", 255)
    assert (numbers.tolist(), classes.tolist()) == ([1, 3], [0, 1])
    assert not masks[:, :, 4:8].any()
    assert masks.sum((1, 2)).tolist() == [28, 28]


def test_a_crowd_is_no_mask_target_and_the_teacher_describes_none(tmp_path: Path):
    write_panoptic(tmp_path / "raw")
    config = DataConfig(raw_root=str(tmp_path / "raw"), allow_subset=True, regions="segment")
    prepare("coco", "val", config, tmp_path / "out")
    prepared = PreparedDataset.open(tmp_path / "out")
    embeddings = embed_regions(build_teacher(), prepared, "segment", 1, "crop", 4)
    assert embeddings.region.tolist() == [1, 3]
    data = TrainingData(prepared, embeddings, CropSettings(12, (1.0, 1.0), flip=False), "segment", 1, seed=0)
    example = data.get_example(0)
    assert example.regions.classes.tolist() == [0, 1]
    assert example.regions.known.all()
    assert not example.regions.masks[:, :, 4:8].any()
    assert (example.label[1:8, 4:8] == 0).all()


def test_segments_that_became_crowds_are_prepared_anew(tmp_path: Path):
    write_panoptic(tmp_path / "raw")
    config = DataConfig(raw_root=str(tmp_path / "raw"), allow_subset=True, regions="segment")
    path = tmp_path / "raw/coco/annotations/panoptic_val2017.json"
    stamps = []
    for crowd in ("1", "0"):
        path.write_text(path.read_text().replace('"iscrowd": 1', f'"iscrowd": {crowd}'))
        source = open_source("coco", "val", config)
        stamps.append(source.fingerprint(source.items[0]))
    assert stamps[0] != stamps[1]
    assert "data/sources/coco.py" in {path.relative_to(PACKAGE).as_posix() for path in get_sources("prepare")}


def test_pascal_histograms_agree_with_the_label_maps(config: DataConfig, raw: Path, tmp_path: Path):
    folder = raw / "VOCdevkit/VOC2010"
    maps = [loadmat(path)["LabelMap"] for path in sorted((folder / "trainval").glob("*.mat"))]
    stored = np.bincount(np.concatenate([m.ravel() for m in maps]), minlength=121)
    for dataset in ("pc459", "pc59"):
        prepare(dataset, "val", config, tmp_path / dataset)
    ids = [int(line) for line in (folder / "59_ids.txt").read_text().split()][1:]
    assert statistics(tmp_path / "pc459")["pixels"] == stored[1:].tolist()
    assert statistics(tmp_path / "pc59")["pixels"] == stored[ids].tolist()


def test_the_59_names_of_pascal_context_go_with_their_labels(config: DataConfig, tmp_path: Path):
    for dataset in ("pc459", "pc59"):
        prepare(dataset, "val", config, tmp_path / dataset)
    wide, narrow = (PreparedDataset.open(tmp_path / dataset) for dataset in ("pc459", "pc59"))
    assert sorted(narrow.vocabulary.titles) == sorted(written_names("pc59"))
    kept = narrow.label(0) != 255
    names = [np.array(d.vocabulary.titles)[d.label(0)[kept]] for d in (wide, narrow)]
    np.testing.assert_array_equal(*names)


def test_vocabularies_are_read_in_the_style_of_each_data_set(config: DataConfig):
    names = {key: open_source(key, "val", config).vocabulary for key in DATASETS}
    assert len(names["cityscapes"]) == 19
    assert names["cityscapes"].titles == written_names("cityscapes")
    assert any(len(synonyms) == 2 for synonyms in names["ade150"].names)
    assert not any("-" in title for title in names["coco"].titles)
    assert (names["pc459"].ignore, names["pc59"].ignore) == (65535, 255)


@pytest.mark.parametrize(
    ("name", "prompt"),
    [("sky-other-merged", "sky"), ("wall-brick", "wall brick"), ("water-other", "water"), ("teddy bear", "teddy bear")],
)
def test_coco_names_become_prompts(name: str, prompt: str):
    assert prompt_name(name) == prompt


def test_ade847_keeps_exactly_the_classes_of_both_splits(config: DataConfig, raw: Path, tmp_path: Path):
    prepare("ade847", "val", config, tmp_path / "val")
    prepare("ade847", "train", config, tmp_path / "train")
    for split in ("train", "val"):
        assert min(statistics(tmp_path / split)["images_per_class"]) >= 1
    assert len(PreparedDataset.open(tmp_path / "val").vocabulary) < len(VOCABULARIES["ade847"].concepts)


def test_ade847_takes_a_list_of_indices_and_resizes(config: DataConfig, tmp_path: Path):
    (tmp_path / "indices.txt").write_text("149\n320\n")
    update = {"ade847_indices": str(tmp_path / "indices.txt"), "ade847_short_side": 32}
    prepare("ade847", "val", config.model_copy(update=update), tmp_path / "out")
    prepared = PreparedDataset.open(tmp_path / "out")
    assert len(prepared.vocabulary) == 2
    assert prepared.label(0).shape == prepared.image(0).shape[:2] == (32, 32)


def test_two_processes_write_what_one_writes(config: DataConfig, tmp_path: Path):
    for workers in (1, 2):
        prepare("coco", "val", config, tmp_path / str(workers), workers)
    for name in ("index.csv", "stats.json", "vocabulary.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_prepared_split_can_come_from_another_official_split(config: DataConfig, tmp_path: Path):
    prepare("coco", "val", config, tmp_path / "val")
    prepare("coco", "train", config.model_copy(update={"splits": {"coco_train": "val"}}), tmp_path / "train")
    hashes = [statistics(tmp_path / split)["labels_sha256"] for split in ("train", "val")]
    assert hashes[0] == hashes[1]


def test_official_counts_hold_outside_a_generated_world(config: DataConfig, raw: Path, tmp_path: Path):
    (raw / "world.json").unlink()
    with pytest.raises(UserError, match="3 images found, the data set has 5104 or 5105"):
        prepare("pc59", "val", config, tmp_path / "out")
    prepare("pc59", "val", config.model_copy(update={"allow_subset": True}), tmp_path / "out")
    assert (tmp_path / "out/index.csv").exists()


def test_a_preparation_is_replaced_by_the_next(config: DataConfig, tmp_path: Path):
    prepare("coco", "val", config, tmp_path / "out")
    prepare("pas20", "val", config, tmp_path / "out")
    assert PreparedDataset.open(tmp_path / "out").vocabulary.dataset == "pas20"
    assert not (tmp_path / "out/segments").exists()


def test_without_names_of_its_own_a_download_has_the_official_ones(config: DataConfig, raw: Path):
    (raw / "cityscapes/labels.json").unlink()
    (raw / "VOCdevkit/VOC2012/labels.txt").unlink()
    cityscapes, voc = (open_source(dataset, "val", config) for dataset in ("cityscapes", "pas20"))
    assert (cityscapes.vocabulary.titles[0], cityscapes.vocabulary.titles[18]) == ("road", "bicycle")
    assert (voc.vocabulary.titles[0], voc.vocabulary.titles[19]) == ("aeroplane", "tvmonitor")


def test_the_official_59_ids_are_ascending_and_lack_the_background():
    assert len(CONTEXT_59_IDS) == 59
    assert list(CONTEXT_59_IDS) == sorted(set(CONTEXT_59_IDS))
    assert (CONTEXT_59_IDS[0], CONTEXT_59_IDS[-1]) == (2, 458)
