"""What the claims about alpha need of its traces: one number a run."""

import pandas as pd

from opentrans.reporting.results import Measures, measure_alpha_change
from opentrans.reporting.tidy import RUN_KEYS

# Below it a layer counts as over-trained (supplement, 7.3, after Martin and Mahoney).
OVER_TRAINED = 2.0


def measure_alphas(alphas: pd.DataFrame) -> Measures:
    """The metrics of claims about alpha from `read_alpha_traces`, by run.

    ``alpha_change``: change of the median over layers, first to last traced iteration, percent. ``deep_alpha_change``:
    mean change of alpha over the deeper half of the layers. ``alpha_depth_gap``: mean absolute change over the deeper
    half minus that over the earlier half. ``alpha_below_2``: percent of the layers whose alpha is below 2 at the first
    iteration. Layers without a fit at either end are left out.
    """
    changes = _measure_changes(alphas)
    layers = changes.groupby(RUN_KEYS)

    # The trace lists the layers in the order of the network.
    deep = changes[layers.cumcount() >= layers["first"].transform("size") / 2]
    early = changes.drop(index=deep.index)
    moved_deep, moved_early = (
        part["change"].abs().groupby([part[key] for key in RUN_KEYS]).mean() for part in (deep, early)
    )
    below = (changes["first"] < OVER_TRAINED).groupby([changes[key] for key in RUN_KEYS]).mean()

    return {
        "alpha_change": measure_alpha_change(alphas),
        "deep_alpha_change": deep.groupby(RUN_KEYS)["change"].mean().reset_index(name="value"),
        "alpha_depth_gap": (moved_deep - moved_early).reset_index(name="value"),
        "alpha_below_2": (100 * below).reset_index(name="value"),
    }


def _measure_changes(alphas: pd.DataFrame) -> pd.DataFrame:
    """Alpha of each layer at the first traced iteration (`first`) and how much it changes until the last (`change`)."""
    iterations = alphas.groupby(RUN_KEYS)["iteration"]
    keys = [*RUN_KEYS, "layer"]
    first = alphas[alphas["iteration"] == iterations.transform("min")]
    last = alphas[alphas["iteration"] == iterations.transform("max")]

    joined = first[[*keys, "alpha"]].merge(last[[*keys, "alpha"]], on=keys, suffixes=("_first", "_last")).dropna()
    change = joined["alpha_last"] - joined["alpha_first"]
    return joined[keys].assign(first=joined["alpha_first"], change=change).reset_index(drop=True)
