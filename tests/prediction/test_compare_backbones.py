import argparse

import numpy as np
import pytest
import torch
from PIL import Image

from opentrans.commands import compare_backbones
from opentrans.data.prepared import INDEX_FIELDS, Vocabulary
from opentrans.errors import UserError
from opentrans.runs.find import find_run
from opentrans.system.files import read_json, write_csv
from opentrans.system.tensors import load_tensors, save_tensors


def make_images(folder, count):
    folder.mkdir(parents=True)
    generator, rows = np.random.default_rng(0), []
    for index in range(count):
        side = 40 + 8 * index
        Image.fromarray(generator.integers(0, 255, (side, 64, 3), dtype=np.uint8)).save(folder / f"{index}.png")
        row = {"image_id": index, "image": f"{index}.png", "label": f"{index}.png", "height": side, "width": 64}
        rows.append({field: row.get(field, "") for field in INDEX_FIELDS})
    write_csv(folder / "index.csv", INDEX_FIELDS, rows)
    Vocabulary("coco", (("sky",),), 255).write(folder / "vocabulary.json")
    return folder


def compare(found, dataset, output, checkpoint=None):
    parser = argparse.ArgumentParser()
    compare_backbones.add_arguments(parser)
    words = ["--run", checkpoint or found.checkpoint, "--dataset", dataset, "--output", output]
    words += ["--teacher", found.teacher, "--train-text", found.train_text]
    words += ["--target", found.run_id.target, "--subnetwork", "dense", "--freeze", "none", "--seed", "0"]
    args = parser.parse_args(list(map(str, words)))
    compare_backbones.run(argparse.Namespace(config=found.config, **vars(args)))
    return read_json(output)


@pytest.fixture
def disturbed(results, tmp_path):
    """The FC-CLIP run with other backbone weights."""
    tensors, metadata = load_tensors(results / "training/fcclip/dense/none/seed0/checkpoint.safetensors", "")
    torch.manual_seed(0)
    for name, value in tensors.items():
        if name.startswith("model.backbone.") and value.ndim == 4:
            tensors[name] = torch.randn_like(value) * value.std()
    save_tensors(tmp_path / "disturbed.safetensors", tensors, metadata)
    return tmp_path / "disturbed.safetensors"


def test_an_untouched_backbone_is_clips_and_a_disturbed_one_is_not(results, tmp_path, disturbed):
    found, dataset = find_run(results / "training/fcclip/dense/none/seed0"), make_images(tmp_path / "images", 6)
    same = compare(found, dataset, tmp_path / "same.json")
    assert {name: same[name] for name in ("target", "subnetwork", "freeze", "seed", "images")} == {
        "target": "fcclip",
        "subnetwork": "dense",
        "freeze": "none",
        "seed": 0,
        "images": 6,
    }
    assert list(same["layers"]) == ["res2", "res3", "res4", "res5"]
    for name in ("cka_vs_clip", "cka_debiased", "cka_channels"):
        assert same[name] == pytest.approx(1, abs=1e-5)
    assert same["protocol"]["image_size"] == [64, 64]
    other = compare(found, dataset, tmp_path / "other.json", disturbed)
    for name in ("cka_vs_clip", "cka_debiased", "cka_channels"):
        assert other[name] < 0.99


def test_too_few_images_are_refused_by_name(results, tmp_path):
    found, dataset = find_run(results / "training/fcclip/dense/none/seed0"), make_images(tmp_path / "images", 3)
    with pytest.raises(UserError, match=r"index\.csv: 3 images"):
        compare(found, dataset, tmp_path / "same.json")
