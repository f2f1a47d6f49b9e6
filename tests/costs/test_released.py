import pytest

from builders import ROOT, build_teacher
from opentrans.cli import main
from opentrans.clip.backbone import ClipBackbone
from opentrans.clip.pretraining import make_teacher
from opentrans.clip.teacher import get_architecture
from opentrans.costs.layer_costs import count_backbone, count_convolutions
from opentrans.costs.released import Schedule, count_released, read_released_frozen
from opentrans.errors import UserError

LIST = ROOT / "config/released_frozen.csv"
PETA = 1e15
# Supplement 6.1: batches of 28, frozen after 10,000 of 50,000 iterations.
SCHEDULE = Schedule(28 * 10_000, 28 * 40_000)


@pytest.fixture(scope="module")
def trunk():
    return ClipBackbone(get_architecture("RN50"))


@pytest.fixture(scope="module")
def costs(trunk):
    macs = count_convolutions(trunk, 512, 512)
    return count_released(
        macs, count_backbone(trunk, 512, 512), read_released_frozen(LIST), SCHEDULE, 0.1, 181.4 * PETA
    )


def test_the_list_gives_the_papers_training_flops(costs):
    """Tables 2 and 4: alpha saves 21.8 P, alpha* 9.1 P, both together leave 122.2 P."""
    assert costs.alpha_saves / PETA == pytest.approx(21.8, abs=0.1)
    assert costs.alpha_pruned / PETA == pytest.approx(122.2, abs=0.1)
    assert [round(saved / PETA, 1) for saved in costs.alpha_top_saves.values()] == [9.4, 9.1, 9.0]


def test_the_list_is_half_of_the_trunk_by_layers_and_more_by_cost(trunk):
    macs, frozen = count_convolutions(trunk, 512, 512), read_released_frozen(LIST)
    assert (len(frozen), len(set(frozen)), len(macs)) == (27, 27, 55)
    assert sum(macs[name] for name in frozen) / sum(macs.values()) == pytest.approx(0.691, abs=5e-4)


def test_costs_of_a_small_trunk_by_hand():
    # 10 images before, 20 after; layers of 3, 5 and 7, the first one frozen; full = 30 x (3 x 15 + a head of 2).
    costs = count_released({"a": 3, "b": 5, "c": 7}, 15, ["a"], Schedule(10, 20), 0.5, 30 * 47.0)
    assert costs.alpha_saves == 20 * 3
    assert costs.alpha_top_saves == {5: 20 * 7, 7: 20 * 5}
    # Frozen subnetwork s + 1, trained subnetwork s + 1 + s, with s = 0.5.
    assert costs.alpha_pruned == 10 * 47 + 20 * (1.5 * 3 + 2 * 12 + 2)


def test_a_list_of_another_trunk_is_refused():
    with pytest.raises(UserError, match=r"released_frozen\.csv: x is no convolution"):
        count_released({"a": 3}, 3, ["x"], SCHEDULE, 0.1, 1.0)


def test_a_plan_of_true_size_is_compared_with_the_list(tmp_path, capsys):
    """OpenAI's weights cannot be had here; initial ones of the same shape agree about as chance does."""
    make_teacher(get_architecture("RN50"), 0).save(tmp_path / "teacher.safetensors")
    words = ["--config", ROOT / "config/mini.yaml", "--teacher", tmp_path / "teacher.safetensors", "--released", LIST]
    assert main(["compare-plan", *map(str, words)]) == 0
    out = capsys.readouterr().out
    assert out.count("of the list's 27 layers (27 of 55 frozen; 13.3 by chance)") == 2
    first = next(line for line in out.splitlines() if line.startswith("  only in the list: "))
    missing = first.removeprefix("  only in the list: ").split(", ")
    assert f"weightwatcher: freezes {27 - len(missing)} of" in out


def test_a_trunk_that_is_no_rn50_is_refused(tmp_path, capsys):
    build_teacher().save(tmp_path / "teacher.safetensors")
    words = ["--config", ROOT / "config/mini.yaml", "--teacher", tmp_path / "teacher.safetensors", "--released", LIST]
    assert main(["compare-plan", *map(str, words)]) == 2
    assert "the list is of CLIP's RN50" in capsys.readouterr().err
