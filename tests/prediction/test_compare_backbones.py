import argparse

import numpy as np
import pytest
import torch

from builders import write_prepared
from opentrans.commands import compare_backbones
from opentrans.errors import UserError
from opentrans.runs.find import find_run
from opentrans.system.files import read_json
from opentrans.system.tensors import load_tensors, save_tensors


def make_images(folder, count):
    """Images of different heights."""
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 255, (40 + 8 * index, 64, 3), dtype=np.uint8) for index in range(count)]
    return write_prepared(folder, images, [image[..., 0] for image in images], (("sky",),)).folder


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
def disturbed(finished_profile, tmp_path):
    """The FC-CLIP run with other backbone weights."""
    tensors, metadata = load_tensors(finished_profile / "training/fcclip/dense/none/seed0/checkpoint.safetensors", "")
    torch.manual_seed(0)
    for name, value in tensors.items():
        if name.startswith("model.backbone.") and value.ndim == 4:
            tensors[name] = torch.randn_like(value) * value.std()
    save_tensors(tmp_path / "disturbed.safetensors", tensors, metadata)
    return tmp_path / "disturbed.safetensors"


def test_an_untouched_backbone_is_clips_and_a_disturbed_one_is_not(finished_profile, tmp_path, disturbed):
    found, dataset = (
        find_run(finished_profile / "training/fcclip/dense/none/seed0"),
        make_images(tmp_path / "images", 6),
    )
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


def test_too_few_images_are_refused_by_name(finished_profile, tmp_path):
    found, dataset = (
        find_run(finished_profile / "training/fcclip/dense/none/seed0"),
        make_images(tmp_path / "images", 3),
    )
    with pytest.raises(UserError, match=r"index\.csv: 3 images"):
        compare(found, dataset, tmp_path / "same.json")
