import itertools

import pandas as pd
import pytest

SCORES = {"dense": 40.0, "ours": 35.0, "random": 20.0}
TARGETS = ("han", "deeplabv3")
SEEDS = (0, 1)


def _label_of(artist):
    """What a reader sees: None for matplotlib's own names of unlabelled artists."""
    label = str(artist.get_label())
    return None if label.startswith("_") else label


@pytest.fixture
def label_of():
    return _label_of


@pytest.fixture
def results():
    """mIoU = score of the subnetwork + 5 for DeepLabV3 + seed + 10 on coco; nothing frozen."""
    rows = [
        {
            "target": target,
            "subnetwork": subnetwork,
            "freeze": "none",
            "seed": seed,
            "benchmark": benchmark,
            "miou": score + 5 * (target == "deeplabv3") + seed + 10 * (benchmark == "coco"),
        }
        for target, (subnetwork, score), seed, benchmark in itertools.product(
            TARGETS, SCORES.items(), SEEDS, ("pc59", "coco")
        )
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def costs():
    """FLOPs of 80 M for dense backbones, else 45 M; density 1 or 0.1."""
    rows = [
        {
            "target": target,
            "subnetwork": subnetwork,
            "freeze": "none",
            "seed": seed,
            "flops": 80e6 if subnetwork == "dense" else 45e6,
            "density": 1.0 if subnetwork == "dense" else 0.1,
        }
        for target, subnetwork, seed in itertools.product(TARGETS, SCORES, SEEDS)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def alphas():
    """Three layers whose alpha is 2, 3 and 7 at first and grows by 0.01 an iteration; in `ours` by 1 more."""
    rows = [
        {
            "target": target,
            "subnetwork": subnetwork,
            "freeze": "none",
            "seed": seed,
            "iteration": iteration,
            "layer": layer,
            "alpha": start + (subnetwork == "ours") + 0.01 * iteration,
        }
        for target, subnetwork, seed, iteration, (layer, start) in itertools.product(
            TARGETS, ("dense", "ours"), SEEDS, (0, 50, 100), {"c.weight": 2, "a.weight": 3, "b.weight": 7}.items()
        )
    ]
    return pd.DataFrame(rows)
