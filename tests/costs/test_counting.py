import pytest

from opentrans.costs.counting import (
    Density,
    LayerCost,
    Phase,
    get_phases,
    inference_costs,
    overall_density,
    training_cost,
    training_flops,
)

LAYERS = [
    LayerCost("a", "backbone", "convolution", 100, 1000, 500, True),
    LayerCost("b", "backbone", "convolution", 300, 2000, 700, True),
    LayerCost("backbone (other)", "backbone", "other", 10, 50, 30, True),
    LayerCost("head", "head", "other", 1000, 10000, 0, True),
]
HALF = {"a": Density(100, 90), "b": Density(300, 110)}


@pytest.mark.parametrize(
    ("density", "frozen", "expected"), [(1, False, 3), (1, True, 2), (0.1, False, 0.1 + 1.1), (0.1, True, 0.1 + 1)]
)
def test_the_four_cases_of_the_supplement(density, frozen, expected):
    assert training_cost(density, frozen) == pytest.approx(expected)


def test_training_flops_of_all_layers_are_three_forward_passes():
    assert training_flops(LAYERS, {}, [Phase(10)]) == 10 * 3 * (500 + 700 + 30)


def test_frozen_layers_cost_three_in_the_warm_up_and_two_afterwards():
    expected = 4 * 3 * 1230 + 6 * (2 * 500 + 3 * 700 + 3 * 30)
    assert training_flops(LAYERS, {}, [Phase(4), Phase(6, {"a"})]) == expected


def test_subnetwork_with_freezing_uses_each_layers_density():
    warmup = 1.9 * 500 + (0.9 * 500) + (110 / 300 * 2 + 1) * 700 + 3 * 30
    later = (0.9 + 1) * 500 + (110 / 300 * 2 + 1) * 700 + 3 * 30
    phases = [Phase(4), Phase(6, {"a"})]
    assert training_flops(LAYERS, HALF, phases) == pytest.approx(4 * warmup + 6 * later)


def test_a_backbone_that_is_never_trained_costs_its_forward_pass():
    layers = [LayerCost("a", "backbone", "convolution", 100, 1000, 500, False)]
    assert training_flops(layers, {"a": Density(100, 10)}, [Phase(7)]) == pytest.approx(7 * 0.1 * 500)


def test_phases_split_the_iterations_at_the_end_of_the_warm_up():
    assert get_phases(50_000, 10_000, 28, {"a"}) == [Phase(280_000), Phase(1_120_000, {"a"})]
    assert get_phases(5, 10, 2, {"a"}) == [Phase(10), Phase(0, {"a"})]


def test_overall_density_weighs_layers_by_their_weights():
    assert overall_density(HALF) == 0.5
    assert overall_density({}) == 1


def test_inference_costs_of_a_dense_run_are_the_totals():
    totals = {"params": 1410, "flops": 13050, "params_per_layer": 1410, "flops_per_layer": 13050}
    assert inference_costs(LAYERS, {}) == totals


def test_saved_flops_are_the_papers_share_or_each_layers_own():
    costs = inference_costs(LAYERS, HALF)
    assert costs["params"] == 1410 - 0.5 * 410
    assert costs["flops"] == 13050 - 0.5 * 3050
    assert costs["params_per_layer"] == 1410 - 200
    assert costs["flops_per_layer"] == pytest.approx(13050 - 0.1 * 1000 - 190 / 300 * 2000)


def test_the_papers_savings_at_10_percent_density():
    trunk = [LayerCost("w", "backbone", "convolution", 23_527_264, 105_085_747_200, 0, True)]
    costs = inference_costs(trunk, {"w": Density(10, 1)})
    assert (23_527_264 - costs["params"]) / 1e6 == pytest.approx(21.2, abs=0.05)
    assert (105_085_747_200 - costs["flops"]) / 1e9 == pytest.approx(94.6, abs=0.05)
