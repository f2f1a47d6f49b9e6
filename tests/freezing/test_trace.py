import argparse
import csv
from pathlib import Path

import pytest
import torch

from opentrans.commands import trace_alphas
from opentrans.config import load_config
from opentrans.errors import UserError
from opentrans.spectra import estimate_alphas
from opentrans.tensors import save_tensors


@pytest.fixture
def files(tmp_path):
    """A subnetwork and a checkpoint with the same two convolutions; one of them is too small for a fit."""
    generator = torch.Generator().manual_seed(0)
    weights = {"a.weight": torch.randn(16, 12, 3, 3, generator=generator), "b.weight": torch.randn(2, 2, 1, 1)}
    save_tensors(tmp_path / "subnetwork.safetensors", {f"weight.{name}": value for name, value in weights.items()})
    later = {f"model.backbone.{name}": value**3 for name, value in weights.items()}
    save_tensors(tmp_path / "checkpoint.safetensors", {**later, "model.head.weight": torch.ones(4, 4, 1, 1)})
    return tmp_path, weights


def trace(folder, *words):
    parser = argparse.ArgumentParser()
    trace_alphas.add_arguments(parser)
    args = parser.parse_args(["--weights", *words, "--estimator", "released", "--output", str(folder / "alphas.csv")])
    args.config = load_config([Path(__file__).parents[2] / "config/config.yaml"])
    trace_alphas.run(args)
    return list(csv.DictReader((folder / "alphas.csv").open()))


def test_a_trace_has_a_row_for_each_iteration_and_layer_of_the_backbone(files):
    folder, weights = files
    rows = trace(folder, f"100={folder / 'checkpoint.safetensors'}", f"0={folder / 'subnetwork.safetensors'}")
    assert [(row["iteration"], row["layer"]) for row in rows] == [
        ("0", "a.weight"), ("0", "b.weight"), ("100", "a.weight"), ("100", "b.weight"),
    ]  # fmt: skip
    expected = [
        estimate_alphas({"a.weight": w}, "released")[0].alpha for w in (weights["a.weight"], weights["a.weight"] ** 3)
    ]
    assert [float(rows[0]["alpha"]), float(rows[2]["alpha"])] == pytest.approx(expected, rel=1e-5)
    assert expected[0] != expected[1]
    assert rows[1]["alpha"] == rows[3]["alpha"] == ""


def test_wrong_words_and_files_are_named(files):
    folder, _ = files
    path = folder / "subnetwork.safetensors"
    for words, message in (
        ([str(path)], "is not ITERATION=FILE"),
        ([f"0={path}", f"0={path}"], "names an iteration twice"),
    ):
        with pytest.raises(UserError, match=message):
            trace(folder, *words)
    save_tensors(folder / "other.safetensors", {"x": torch.ones(3)})
    with pytest.raises(UserError, match="no convolution's name starts with"):
        trace(folder, f"0={folder / 'other.safetensors'}")
