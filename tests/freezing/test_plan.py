import math

import pytest
import torch

from opentrans.config import FreezeRecipe
from opentrans.errors import UserError
from opentrans.freezing.fits import LayerSpectrum
from opentrans.freezing.plan import FreezePlan, make_plan
from opentrans.freezing.select import select_convolutions

ALPHAS = [3.0, 2.0, math.nan, 5.0, 2.0, 4.0]


def spectra(alphas=ALPHAS):
    return [
        LayerSpectrum(f"layer{n}", (n + 1, 2, 3, 3), 18, alpha, 0.5, 0.1, 9, "no fit" if math.isnan(alpha) else "")
        for n, alpha in enumerate(alphas)
    ]


def frozen(seed=0, alphas=ALPHAS, **recipe):
    return make_plan(FreezeRecipe(**({"method": "alpha"} | recipe)), spectra(alphas), seed).frozen


def test_bottom_freezes_the_smallest_alphas_of_the_fitted_half():
    assert frozen() == ["layer1", "layer4"]


def test_top_freezes_the_largest():
    assert frozen(order="top") == ["layer3", "layer5"]


def test_half_are_the_layers_strictly_below_the_median():
    for count in (6, 7):
        alphas = [float(value) for value in torch.randperm(count, generator=torch.Generator().manual_seed(count)) + 2]
        median = sorted(alphas)[count // 2] if count % 2 else sum(sorted(alphas)[count // 2 - 1 : count // 2 + 1]) / 2
        assert frozen(alphas=alphas) == [f"layer{n}" for n, alpha in enumerate(alphas) if alpha < median]


def test_of_equal_alphas_the_earlier_layer_is_frozen():
    assert frozen(ratio=0.2) == ["layer1"]
    assert frozen(ratio=0.4, order="top", alphas=[2.0, 3.0, 3.0, 3.0, 1.0]) == ["layer1", "layer2"]


@pytest.mark.parametrize(("ratio", "count"), [(0, 0), (0.25, 1), (0.5, 2), (0.75, 3), (0.8, 4), (1, 5)])
def test_the_count_is_the_floor_of_the_ratio_of_fitted_layers(ratio, count):
    assert len(frozen(ratio=ratio)) == count
    assert len(frozen(ratio=ratio, method="random")) == count


def test_a_ratio_is_a_decimal_not_a_binary_fraction():
    assert len(frozen(ratio=0.29, alphas=[float(n) for n in range(100)])) == 29


def test_random_draws_by_seed_among_fitted_layers():
    draws = [tuple(frozen(seed, method="random")) for seed in range(30)]
    assert draws == [tuple(frozen(seed, method="random")) for seed in range(30)]
    assert len(set(draws)) > 3
    assert "layer2" not in {name for draw in draws for name in draw}


def test_none_freezes_nothing():
    assert frozen(method="none") == []


def test_a_layer_without_fit_is_never_frozen_and_says_why():
    plan = make_plan(FreezeRecipe(method="alpha", ratio=1), spectra(), 0)
    assert not plan.rows[2].frozen
    assert plan.rows[2].note == "no fit"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "plan.csv"
    make_plan(FreezeRecipe(method="alpha"), spectra(), 0).write(path)
    return path


def test_a_plan_survives_the_round_trip(path):
    plan = FreezePlan.read(path)
    assert plan.frozen == ["layer1", "layer4"]
    assert [row.shape for row in plan.rows] == [spectrum.shape for spectrum in spectra()]
    assert [row.alpha for row in plan.rows] == pytest.approx(ALPHAS, nan_ok=True)
    again = path.with_name("again.csv")
    plan.write(again)
    assert again.read_bytes() == path.read_bytes()
    assert path.read_text().splitlines()[1:4] == [
        "layer0,1x2x3x3,18,3,0.1,0.5,false,",
        "layer1,2x2x3x3,36,2,0.1,0.5,true,",
        "layer2,3x2x3x3,54,,0.1,0.5,false,no fit",
    ]


def test_an_edited_plan_is_read_as_edited(path):
    path.write_text(path.read_text().replace("0.5,false,\n", "0.5, Yes ,mine\n", 1))
    plan = FreezePlan.read(path)
    assert plan.frozen == ["layer0", "layer1", "layer4"]
    assert plan.rows[0].note == "mine"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("true", "perhaps", "row 3: frozen: 'perhaps'"),
        ("18,3,", "18,three,", "row 2: alpha: 'three'"),
        ("1x2x3x3", "18", "row 2: shape: '18'"),
        ("1x2x3x3", "1x2xax3", "row 2: shape"),
        (",18,", ",19,", "row 2: weights: 19 does not fit shape 1x2x3x3"),
        (",18,", ",,", "row 2: weights: ''"),
        ("layer0", "", "row 2: layer"),
        ("layer1", "layer0", "layer layer0 is listed twice"),
        ("frozen", "cold", "column frozen is missing"),
    ],
)
def test_a_wrong_field_is_named_with_file_and_row(path, old, new, words):
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=words) as error:
        FreezePlan.read(path)
    assert str(path) in str(error.value)


def test_a_row_that_is_cut_short_is_a_user_error(path):
    path.write_text(path.read_text()[: path.read_text().index(",true")])
    with pytest.raises(UserError, match="row 2: has not the 8 cells"):
        FreezePlan.read(path)


def test_convolutions_are_found_under_the_prefix_in_network_order():
    conv = torch.zeros(1, 1, 1, 1)
    names = ["layer1.10.conv1.weight", "layer1.9.conv1.weight", "conv1.weight"]
    tensors = {f"model.backbone.{name}": conv for name in names}
    tensors |= {"model.head.weight": conv, "model.backbone.bn1.weight": torch.zeros(3)}
    assert list(select_convolutions(tensors, "model.backbone.", "file")) == names[::-1]
    with pytest.raises(UserError, match=r"file: no convolution's name starts with 'nothing\.'"):
        select_convolutions(tensors, "nothing.", "file")
