import argparse
import csv
import subprocess
import sys

import pytest
import torch

from opentrans.clip.backbone import get_convolutions
from opentrans.commands import find_subnetwork, fit_alphas, plan_freeze
from opentrans.config import parse_config
from opentrans.errors import UserError
from opentrans.freezing.fits import read_fits
from opentrans.freezing.plan import FreezePlan
from opentrans.freezing.spectra import estimate_alphas
from opentrans.pruning.subnetwork import REMOVED, Subnetwork
from opentrans.system.tensors import load_tensors, save_tensors


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


def call(command, config, **values):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    command.run(argparse.Namespace(config=config, **vars(parser.parse_args(words))))


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


def test_find_subnetwork_writes_the_same_bytes_and_a_matching_mask(config, inputs, tmp_path, backbone):
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


@pytest.fixture
def found(config, inputs, tmp_path):
    """A pruned subnetwork's file."""
    files = outputs(tmp_path / "first")
    call(find_subnetwork, config, recipe="ours", **inputs, **files)
    return files["output"]


def fit(config, weights, folder, **options):
    call(fit_alphas, config, weights=weights, estimator="released", output=folder / "alphas.csv", **options)
    return {spectrum.layer: spectrum for spectrum in read_fits(folder / "alphas.csv")}


def test_plan_freeze_plans_every_convolution_of_a_subnetwork(config, found, tmp_path, backbone):
    fitted = fit(config, found, tmp_path)
    assert {layer: spectrum.shape for layer, spectrum in fitted.items()} == {
        name: tuple(weight.shape) for name, weight in get_convolutions(backbone).items()
    }
    call(plan_freeze, config, recipe="alpha", seed=0, alphas=tmp_path / "alphas.csv", output=tmp_path / "plan.csv")
    plan = FreezePlan.read(tmp_path / "plan.csv")
    assert {row.layer: row.shape for row in plan.rows} == {layer: s.shape for layer, s in fitted.items()}
    assert len(plan.frozen) == sum(spectrum.alpha > 0 for spectrum in fitted.values()) // 2 > 0


def test_alpha_is_fitted_to_the_weights_before_the_mask(config, found, tmp_path):
    subnetwork = Subnetwork.load(found)
    masked, before = fit(config, found, tmp_path), fit(config, found, tmp_path, **{"before-mask": found})
    name = "layer4.0.conv2.weight"
    whole = subnetwork.weights[name].clone()
    whole[~subnetwork.masks[name]] = subnetwork.removed[name]
    assert before[name] == estimate_alphas({name: whole}, "released")[0]
    # As text: a field that is nan equals nothing.
    assert str(masked[name]) == str(estimate_alphas({name: subnetwork.weights[name]}, "released")[0])
    assert masked[name].alpha != pytest.approx(before[name].alpha, rel=1e-3)
    assert masked["conv1.weight"] == before["conv1.weight"]  # never pruned


def test_fits_after_a_warm_up_are_of_trained_and_of_removed_weights(config, found, tmp_path):
    subnetwork, name = Subnetwork.load(found), "layer4.0.conv2.weight"
    trained = {f"model.backbone.{key}": 2 * value for key, value in subnetwork.weights.items()}
    save_tensors(tmp_path / "checkpoint.safetensors", trained)
    options = {"prefix": "model.backbone.", "before-mask": found}
    fitted = fit(config, tmp_path / "checkpoint.safetensors", tmp_path, **options)
    whole = 2 * subnetwork.weights[name]
    whole[~subnetwork.masks[name]] = subnetwork.removed[name]
    assert fitted[name] == estimate_alphas({name: whole}, "released")[0]


def test_a_subnetwork_without_removed_weights_is_refused_with_the_way_out(config, found, tmp_path):
    tensors, metadata = load_tensors(found, "")
    kept = {name: value for name, value in tensors.items() if not name.startswith(REMOVED)}
    save_tensors(tmp_path / "old.safetensors", kept, metadata)
    with pytest.raises(UserError, match=r"does not hold the weights that were removed.*masked"):
        fit(config, tmp_path / "old.safetensors", tmp_path, **{"before-mask": tmp_path / "old.safetensors"})


@pytest.mark.parametrize(("old", "new", "field"), [("4x3x3x3", "4x3", "weights"), (",108,", ",many,", "weights")])
def test_a_damaged_table_of_fits_names_row_and_field(config, found, tmp_path, old, new, field):
    fit(config, found, tmp_path)
    path = tmp_path / "alphas.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=rf"alphas\.csv: row 2: {field}"):
        call(plan_freeze, config, recipe="alpha", seed=0, alphas=path, output=tmp_path / "plan.csv")


@pytest.mark.workflow
def test_planning_needs_neither_torch_nor_weightwatcher(config, found, tmp_path):
    fit(config, found, tmp_path)
    (tmp_path / "config.yaml").write_text(config.model_dump_json())
    words = ["plan-freeze", "--config", "config.yaml", "--recipe", "alpha", "--seed", "0", "--alphas", "alphas.csv"]
    code = (
        "import sys; from opentrans.cli import main; status = main(sys.argv[1:]);"
        "print(status, sorted({'torch', 'weightwatcher', 'pandas', 'safetensors'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *words, "--output", "plan.csv"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "0 []", result.stderr
    assert FreezePlan.read(tmp_path / "plan.csv").frozen


def test_an_unknown_recipe_is_refused_by_name(config, inputs, tmp_path):
    with pytest.raises(UserError, match="--recipe: 'other' is none of ours, matched"):
        call(find_subnetwork, config, recipe="other", **inputs, **outputs(tmp_path / "first"))
    with pytest.raises(UserError, match="is none of alpha"):
        call(plan_freeze, config, recipe="other", seed=0, alphas="x", output=tmp_path / "plan.csv")
