import pandas as pd
import pytest

from opentrans.reporting.alpha_measures import measure_alphas
from opentrans.reporting.tidy import read_alpha_traces

RUN = {"target": "han", "subnetwork": "dense", "freeze": "none", "seed": 0}


def make_trace(**layers):
    """Alpha of each layer at iterations 0, 50 and 100, in the order of the network."""
    return pd.DataFrame(
        RUN | {"iteration": step, "layer": layer, "alpha": alphas[number]}
        for number, step in enumerate((0, 50, 100))
        for layer, alphas in layers.items()
    )


def get_values(measures):
    return {name: list(frame["value"]) for name, frame in measures.items()}


def test_changes_of_alpha_are_worked_by_hand_for_four_layers():
    trace = make_trace(a=(1.5, 9, 1.6), b=(2.0, 9, 1.8), c=(3.0, 9, 2.0), d=(4.0, 9, 4.4))
    values = get_values(measure_alphas(trace))
    assert values["deep_alpha_change"] == [pytest.approx((-1.0 + 0.4) / 2)]
    assert values["alpha_depth_gap"] == [pytest.approx((1.0 + 0.4) / 2 - (0.1 + 0.2) / 2)]
    assert values["alpha_below_2"] == [25.0]
    assert values["alpha_change"] == [pytest.approx(100 * (1.9 / 2.5 - 1))]


def test_the_middle_layer_is_early_and_layers_without_a_fit_are_left_out():
    nan = float("nan")
    trace = make_trace(a=(1.0, 1, 2.0), b=(5.0, 5, nan), c=(1.0, 1, 4.0), d=(nan, 3, 3.0), e=(1.0, 1, 1.5))
    values = get_values(measure_alphas(trace))
    assert values["deep_alpha_change"] == [0.5]
    assert values["alpha_depth_gap"] == [0.5 - 2.0]
    assert values["alpha_below_2"] == [100.0]


def test_each_run_has_its_own_values_and_no_trace_gives_none():
    trace = make_trace(a=(1.0, 1, 2.0), b=(3.0, 3, 3.5))
    both = pd.concat([trace, trace.assign(seed=1, alpha=2 * trace["alpha"])])
    assert list(measure_alphas(both)["deep_alpha_change"]["value"]) == [0.5, 1.0]
    assert all(frame.empty for frame in measure_alphas(read_alpha_traces([])).values())
