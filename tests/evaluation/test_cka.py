import itertools
import math

import numpy as np
import pytest
import torch

from opentrans.evaluation.cka import (
    cka_of_channels,
    cka_of_features,
    cka_of_grams,
    cka_of_one_image,
    compare_features,
    compute_gram,
    debiased_cka_of_grams,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def similarity(x, y):
    return cka_of_grams(compute_gram(x), compute_gram(y))


@pytest.fixture
def pair():
    """Two representations of 12 samples that share a part."""
    shared = draw(12, 3)
    return torch.cat([shared, draw(12, 2, seed=1)], 1), torch.cat([shared, 2 * draw(12, 4, seed=2)], 1) + 5


def test_of_one_feature_each_it_is_the_squared_correlation():
    x, y = draw(9, 1), draw(9, 1, seed=1)
    assert similarity(x, y) == pytest.approx(np.corrcoef(x.T, y.T)[0, 1] ** 2)


def test_it_weighs_the_squared_cosines_of_the_principal_components(pair):
    """The closed form by eigenvectors: sum of l_i m_j <u_i, v_j>^2 over |l| |m| (Kornblith et al.)."""
    (u, s, _), (v, t, _) = (np.linalg.svd(part - part.mean(0), full_matrices=False) for part in map(np.asarray, pair))
    first, second = s**2, t**2
    expected = (np.outer(first, second) * (u.T @ v) ** 2).sum() / (np.linalg.norm(first) * np.linalg.norm(second))
    assert similarity(*pair) == pytest.approx(expected)


def test_features_and_gram_matrices_give_the_same(pair):
    assert float(cka_of_features(*pair)) == pytest.approx(similarity(*pair))


def test_the_same_representation_has_similarity_one(pair):
    assert similarity(pair[0], pair[0]) == pytest.approx(1)
    assert 0 < similarity(*pair) < 0.99


def test_turning_scaling_and_moving_a_representation_change_nothing(pair):
    x, y = pair
    rotation = torch.linalg.qr(draw(5, 5, seed=4))[0]
    for changed in (x @ rotation, -3.7 * x, x + draw(1, 5, seed=5)):
        assert similarity(changed, y) == pytest.approx(similarity(x, y))
        assert debiased_cka_of_grams(compute_gram(changed), compute_gram(y)) == pytest.approx(
            debiased_cka_of_grams(compute_gram(x), compute_gram(y))
        )


def test_a_general_linear_map_changes_it(pair):
    x, y = pair
    assert abs(similarity(x * torch.tensor([10.0, 1, 1, 1, 1]), y) - similarity(x, y)) > 0.05


def test_the_debiased_estimate_is_the_mean_over_all_foursomes_of_samples(pair):
    k, m = (compute_gram(part[:6]) for part in pair)

    def hsic(a, b):
        places = list(itertools.permutations(range(6), 4))
        return float(sum(a[i, j] * (b[i, j] + b[q, r] - 2 * b[i, q]) for i, j, q, r in places)) / len(places)

    expected = hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))
    assert debiased_cka_of_grams(k, m) == pytest.approx(expected)


def test_debiasing_tells_few_samples_of_unrelated_features_apart():
    grams = compute_gram(draw(50, 2000)), compute_gram(draw(50, 2000, seed=1))
    assert cka_of_grams(*grams) > 0.9
    assert abs(debiased_cka_of_grams(*grams)) < 0.1


def test_channels_are_compared_one_by_one_and_constant_ones_left_out():
    x, y = draw(7, 130, 2, 3), draw(7, 130, 4, 2, seed=1)
    x[:, 3], y[:, 129] = 0.1, 0.0
    values = [similarity(x[:, c], y[:, c]) for c in range(130) if c not in (3, 129)]
    mean, constant = cka_of_channels(x.float(), y.float())
    assert constant == 2
    assert mean == pytest.approx(np.mean(values), rel=1e-4)
    assert mean != pytest.approx(similarity(x, y), rel=0.05)


def test_layers_count_alike_in_the_mean():
    first = {"res4": draw(8, 4, 2, 2), "res5": draw(8, 3, 2, 2, seed=1)}
    second = {"res4": first["res4"] * 2, "res5": draw(8, 3, 1, 1, seed=2)}
    found = compare_features(first, second)
    assert found["layers"]["res4"]["cka"] == pytest.approx(1)
    assert found["cka_vs_clip"] == pytest.approx((1 + similarity(first["res5"], second["res5"])) / 2)
    assert found["constant_channels"] == 0


def test_a_backbone_that_has_died_is_undefined_not_similar():
    dead = {"res5": torch.full((5, 2, 2, 2), 0.1)}
    found = compare_features(dead, {"res5": draw(5, 2, 2, 2)})
    assert found["cka_vs_clip"] is None
    assert found["cka_debiased"] is None
    assert found["cka_channels"] is None


def center(gram):
    n = len(gram)
    middle = np.eye(n) - np.ones((n, n)) / n
    return middle @ gram @ middle


def measure_as_released(first, second):
    """A loop over channels: rows of a map are samples; where a map does not vary the similarity counts as 1."""
    values = []
    for x, y in zip(first.double().numpy(), second.double().numpy(), strict=True):
        k, m = center(x @ x.T), center(y @ y.T)
        norms = np.sqrt((k * k).sum()) * np.sqrt((m * m).sum())
        values.append(1.0 if norms < 1e-9 else (k * m).sum() / norms)
    return np.mean(values)


def test_one_image_is_measured_as_the_released_code_does():
    x, y = draw(1, 9, 6, 5)[0], draw(1, 9, 6, 5, seed=1)[0]
    x[2], y[7] = 0.3, 0.0
    assert cka_of_one_image(x, y) == pytest.approx(measure_as_released(x, y), rel=1e-4)
    assert cka_of_one_image(x[[2]], y[[3]]) == 1.0
    fine = draw(1, 9, 12, 10, seed=2)[0]
    assert cka_of_one_image(fine, y) == pytest.approx(measure_as_released(fine[:, ::2, ::2], y), rel=1e-4)
    assert cka_of_one_image(y, fine) == pytest.approx(cka_of_one_image(fine, y))


def test_the_measure_decides_what_table_9_shows():
    first, second = {"res5": draw(5, 3, 4, 4)}, {"res5": draw(5, 3, 4, 4, seed=1)}
    usual, released = compare_features(first, second), compare_features(first, second, "released")
    assert released["cka_vs_clip"] == released["cka_released"] == usual["cka_released"]
    assert released["cka_released"] == pytest.approx(measure_as_released(first["res5"][0], second["res5"][0]), rel=1e-4)
    assert usual["cka_vs_clip"] != released["cka_vs_clip"]
