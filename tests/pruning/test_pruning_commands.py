import argparse
import csv

import pytest
import torch

from opentrans.commands import find_subnetwork, plan_freeze
from opentrans.config import parse_config
from opentrans.errors import UserError
from opentrans.freezing.plan import FreezePlan
from opentrans.models.backbone import get_convolutions
from opentrans.pruning.subnetwork import Subnetwork


@pytest.fixture
def config(recipe):
    small = recipe().model_dump()
    return parse_config(
        {
            "profile": "test",
            "seeds": [0],
            "device": "cpu",
            "threads": {"subnetwork": 1},
            "data": {"raw_root": "raw"},
            "benchmarks": ["coco"],
            "teacher": {"architecture": "RN50", "pretrained": "openai", "templates": ["{}"]},
            "subnetworks": {
                "ours": small,
                "matched": small | {"method": "random", "layout": "per_layer", "match": "ours"},
            },
            "freezing": {"alpha": {"method": "alpha", "estimator": "released"}},
            "targets": {},
        },
        "test",
    )


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def call(verb, config, **values):
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    words = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    verb.run(argparse.Namespace(config=config, **vars(parser.parse_args(words))))


@pytest.fixture
def inputs(teacher, text, prepared, regions, tmp_path):
    teacher.save(tmp_path / "teacher.safetensors")
    text.save(tmp_path / "text.safetensors")
    regions.save(tmp_path / "regions.safetensors")
    names = {name: tmp_path / f"{name}.safetensors" for name in ("teacher", "text", "regions")}
    return {"seed": 3, "dataset": prepared, **names}


def outputs(folder):
    folder.mkdir()
    return {"output": folder / "one.safetensors", "log": folder / "rounds.csv", "layers": folder / "layers.csv"}


def test_find_subnetwork_writes_the_same_bytes_twice_and_a_matching_random_mask(config, inputs, tmp_path, backbone):
    first, again, random = (outputs(tmp_path / name) for name in ("first", "again", "random"))
    for files in (first, again):
        call(find_subnetwork, config, recipe="ours", **inputs, **files)
    assert all(first[name].read_bytes() == again[name].read_bytes() for name in first)
    with first["log"].open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[-1]["density"]) == pytest.approx(0.2, abs=1e-4)
    assert "layer1.0.conv1.weight" in rows[0]
    call(find_subnetwork, config, recipe="matched", match=first["output"], **inputs, **random)
    assert random["layers"].read_bytes() == first["layers"].read_bytes()
    found = Subnetwork.load(random["output"])
    found.apply_to(backbone)
    assert found.metadata["method"] == "random"


def test_plan_freeze_plans_every_convolution_of_a_subnetwork(config, inputs, tmp_path, backbone):
    files = outputs(tmp_path / "first")
    call(find_subnetwork, config, recipe="ours", **inputs, **files)
    call(plan_freeze, config, recipe="alpha", seed=0, weights=files["output"], output=tmp_path / "plan.csv")
    plan = FreezePlan.read(tmp_path / "plan.csv")
    assert {row.layer: row.shape for row in plan.rows} == {
        name: tuple(weight.shape) for name, weight in get_convolutions(backbone).items()
    }
    fitted = [row for row in plan.rows if row.alpha > 0]
    assert len(plan.frozen) == len(fitted) // 2 > 0


def test_an_unknown_recipe_is_refused_by_name(config, inputs, tmp_path):
    with pytest.raises(UserError, match="take one of ours, matched"):
        call(find_subnetwork, config, recipe="other", **inputs, **outputs(tmp_path / "first"))
    with pytest.raises(UserError, match="take one of alpha"):
        call(plan_freeze, config, recipe="other", seed=0, weights="x", output=tmp_path / "plan.csv")
