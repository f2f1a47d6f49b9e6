import json
from pathlib import Path

import pytest

from clones import ROOT
from opentrans.clip.backbone import ClipBackbone
from opentrans.clip.teacher import get_architecture
from opentrans.config import load_config
from opentrans.doctor.diagnose import plan_profile
from opentrans.doctor.sizes import (
    CLIP_RESNETS,
    count_images,
    count_trunk_parameters,
    estimate_checkpoint,
    estimate_data,
    estimate_results,
    estimate_world,
    read_trunk,
)

MINI = [Path("config/config.yaml")]
PAPER = [Path("config/config.yaml"), Path("config/paper.yaml")]


@pytest.fixture(scope="module")
def paper():
    return load_config(PAPER)


def get_needs(config, at_once=1):
    plan = plan_profile(config)
    return {need.what: need for need in estimate_results(config, plan.runs, plan.work, plan.images, at_once)}


def test_parameters_of_rn50_are_those_of_the_costs_page():
    counts = json.loads((ROOT / "docs/costs.json").read_text())
    assert count_trunk_parameters((3, 4, 6, 3), 64) == counts["targets"]["han"]["backbone"]["params"]


def test_parameters_of_a_trunk_are_those_of_the_network():
    config = load_config(MINI)
    blocks, width, dimension = read_trunk(config.teacher.architecture)
    backbone = ClipBackbone(config.teacher.architecture)
    assert count_trunk_parameters(blocks, width) == sum(part.numel() for part in backbone.parameters())
    assert dimension == config.teacher.architecture["embed_dim"]


@pytest.mark.parametrize("name", CLIP_RESNETS)
def test_resnets_are_those_of_open_clip(name):
    settings = get_architecture(name)
    blocks, width, dimension = CLIP_RESNETS[name]
    assert (list(blocks), width) == (list(settings["vision_cfg"]["layers"]), settings["vision_cfg"]["width"])
    assert dimension == settings["embed_dim"]


def test_names_with_an_ending_or_unknown_ones_are_read_as_a_resnet():
    assert read_trunk("RN50-quickgelu") == read_trunk("RN50") == read_trunk("my own")


def test_images_are_the_official_ones_the_worlds_or_the_first_few(paper):
    assert count_images(paper)["coco", "train"] == 118287
    assert count_images(load_config(MINI))["pc59", "val"] == 40
    smoke = load_config([*PAPER, Path("config/smoke.yaml")])
    assert set(count_images(smoke).values()) == {4}


def test_sizes_of_the_papers_profile_are_those_that_were_measured(paper):
    needs = get_needs(paper)
    # A checkpoint of Han et al. with SGD's moments: 376 MB; COCO's regions: 5.4 GB; CLIP RN50: 408 MB.
    assert estimate_checkpoint(paper, "han", count_trunk_parameters((3, 4, 6, 3), 64)) == pytest.approx(376e6, rel=0.1)
    assert needs["region embeddings"].size == pytest.approx(5.4e9, rel=0.05)
    assert needs["teacher"].size == pytest.approx(408e6, rel=0.05)
    assert 3e9 < needs["checkpoints"].size < 20e9
    coco = estimate_data(paper, count_images(paper))["coco", "train"]
    assert coco.files == 2 * 118287
    assert estimate_world(paper) is None


def test_unfinished_trainings_take_more_where_many_run_at_once(paper):
    one, many = (get_needs(paper, at_once)["checkpoints of unfinished trainings"].size for at_once in (1, 17))
    assert many == 17 * one


def test_mini_world_is_small():
    config = load_config(MINI)
    total = sum(need.size for need in get_needs(config).values()) + estimate_world(config).size
    assert 0.1e9 < total < 2e9
