import contextlib
import io
import logging
import math

import numpy as np
import powerlaw
import pytest
import torch
from scipy.stats import pareto

from opentrans.freezing.spectra import MIN_EIGENVALUES, compute_spectrum, estimate_alphas, fit_tail


def make_weight(values, slices, seed, outputs=None):
    """A convolution whose pooled spectrum is exactly `values`: each slice is U diag(sigma) V^T, over sqrt(1/2)."""
    generator = np.random.default_rng([seed])
    side = len(values) // slices
    outputs = outputs or side
    matrices = []
    for part in np.array_split(values, slices):
        left = np.linalg.qr(generator.normal(size=(outputs, side)))[0]
        right = np.linalg.qr(generator.normal(size=(side, side)))[0]
        matrices.append(left @ np.diag(np.sqrt(part)) @ right.T / math.sqrt(0.5))
    kernel = round(slices**0.5)
    return torch.tensor(np.stack(matrices, -1).reshape(outputs, side, kernel, kernel), dtype=torch.float32)


def draw_values(alpha, count, seed):
    """Deterministic quantiles of a power law with density exponent `alpha`, x_min = 1, in random order."""
    ranks = (np.arange(count) + 0.5) / count
    return np.random.default_rng([seed]).permutation(pareto.ppf(ranks, alpha - 1))


def reference_released(values):
    """The released estimator, written out candidate by candidate in plain Python."""
    values = sorted(values)
    counts, edges = np.histogram(np.log10(values), 100)
    peak = 10 ** edges[int(np.argmax(counts))]
    return reference_fit(values, math.log10(0.95 * peak), 1.5 * peak)


def reference_fit(values, lowest, highest):
    values, best = sorted(values), None
    for start, xmin in enumerate(values[:-1]):
        if xmin < lowest or xmin > highest:
            continue
        tail = values[start:]
        alpha = 1 + len(tail) / sum(math.log(x / xmin) for x in tail)
        gaps = [abs(1 - (x / xmin) ** (1 - alpha) - rank / len(tail)) for rank, x in enumerate(tail)]
        if best is None or max(gaps) < best[2]:
            best = (alpha, xmin, max(gaps), len(tail))
    return best


def test_the_spectrum_pools_squared_singular_values_of_scaled_slices():
    values = np.arange(1.0, 37.0)
    weight = make_weight(values, slices=9, seed=0, outputs=6)
    assert compute_spectrum(weight) == pytest.approx(values, rel=1e-4)


@pytest.mark.parametrize("alpha", [2.0, 3.0, 4.0])
@pytest.mark.parametrize("estimator", ["released", "weightwatcher"])
def test_a_power_law_spectrum_gives_its_exponent(alpha, estimator):
    weight = make_weight(draw_values(alpha, 900, 1), slices=9, seed=2)
    found = estimate_alphas({"layer": weight}, estimator)[0]
    assert found.alpha == pytest.approx(alpha, rel=0.06)
    assert found.fit_quality < 0.05
    assert found.eigenvalues == 900


@pytest.mark.parametrize("seed", range(4))
def test_the_released_estimator_agrees_with_a_plain_loop(seed):
    values = np.sort(np.random.default_rng([seed]).lognormal(0, 1 + seed / 2, 300))
    assert fit_tail(values) == pytest.approx(reference_released(values), rel=1e-9)


def test_alpha_is_the_maximum_likelihood_fit_of_the_tail():
    values = np.sort(np.random.default_rng([5]).lognormal(0, 1, 400))
    alpha, xmin, distance, tail = fit_tail(values)
    with contextlib.redirect_stdout(io.StringIO()):
        reference = powerlaw.Fit(values, xmin=xmin, verbose=False).power_law
    assert alpha == pytest.approx(reference.alpha, rel=1e-6)
    assert alpha == pytest.approx(1 + pareto.fit(values[values >= xmin], floc=0, fscale=xmin)[0], rel=1e-3)
    assert distance <= reference.D + 1 / tail


@pytest.mark.parametrize("seed", range(3))
def test_weightwatcher_searches_xmin_over_all_eigenvalues(seed):
    values = np.random.default_rng([seed]).lognormal(0, 1, 120)
    found = estimate_alphas({"layer": make_weight(values, slices=1, seed=4)}, "weightwatcher")[0]
    alpha, _, distance, tail = reference_fit(values, -math.inf, math.inf)
    assert found.alpha == pytest.approx(alpha, rel=1e-3)
    assert found.fit_quality == pytest.approx(distance, rel=1e-3)
    assert found.tail == tail


@pytest.mark.parametrize("estimator", ["released", "weightwatcher"])
def test_layers_come_back_in_order_and_small_ones_say_why_they_have_no_fit(estimator):
    torch.manual_seed(0)
    shapes = {"a": (16, 8, 3, 3), "small": (7, 20, 1, 1), "b": (32, 16, 1, 1), "zero": (16, 16, 3, 3)}
    weights = {name: torch.randn(shape) for name, shape in shapes.items()}
    weights["zero"].zero_()
    found = {spectrum.layer: spectrum for spectrum in estimate_alphas(weights, estimator)}
    assert list(found) == list(shapes)
    assert [found[name].shape for name in found] == list(shapes.values())
    assert all(math.isfinite(found[name].alpha) for name in ("a", "b"))
    assert math.isnan(found["small"].alpha)
    assert f"7 eigenvalues, at least {MIN_EIGENVALUES}" in found["small"].note
    assert math.isnan(found["zero"].alpha)
    assert found["zero"].note.startswith("no fit")


def test_estimating_leaves_the_weights_and_the_logging_alone(capfd):
    weight = torch.randn(16, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    before, handlers, level = weight.clone(), list(logging.getLogger().handlers), logging.getLogger().level
    estimate_alphas({"layer": weight}, "weightwatcher")
    assert torch.equal(weight, before)
    assert logging.getLogger().handlers == handlers
    assert logging.getLogger().level == level
    assert "".join(capfd.readouterr()) == ""


def test_nothing_to_fit_is_an_empty_list():
    assert estimate_alphas({}, "weightwatcher") == []


def test_an_unknown_estimator_is_refused():
    with pytest.raises(ValueError, match="nonsense"):
        estimate_alphas({}, "nonsense")
