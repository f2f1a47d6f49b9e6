import itertools

import pandas as pd
import pytest

from opentrans.errors import UserError
from opentrans.reporting.alpha_measures import measure_alphas
from opentrans.reporting.cells import Tally
from opentrans.reporting.claims import CLAIM_FIELDS, read_claims
from opentrans.reporting.effects import find_effects, find_paper_effects
from opentrans.reporting.evidence import Evidence
from opentrans.reporting.judging import RULE, build_claims_table, judge_claims
from opentrans.reporting.render import to_csv
from opentrans.runs.paper import read_paper
from opentrans.system.files import read_csv

LINE = {
    "claim": "name",
    "text": "text",
    "family": "P",
    "relation": "greater",
    "metric": "miou",
    "benchmarks": "all",
    "left": "t1_han_ours",
    "right": "t1_han_random",
}
SAVED = {"family": "", "relation": "less in every seed", "metric": "params", "benchmarks": "", "right": "t1_han_dense"}
HAN = {"target": "han", "freeze": "none"}


@pytest.fixture
def read_lines(tmp_path, experiments):
    """Claims of lines that differ from `LINE` by what is given."""

    def read(*changes):
        path = tmp_path / "claims.csv"
        lines = [LINE | change for change in changes]
        pd.DataFrame(lines, columns=CLAIM_FIELDS).to_csv(path, index=False)
        return read_claims(path, experiments)

    return read


@pytest.fixture
def make_evidence(config, paper_path):
    def make(difference, seeds=(0, 1, 2), measures=None):
        """Ours minus random is `difference(benchmark's number, seed)`."""
        rows = []
        for (number, benchmark), seed in itertools.product(enumerate(config.benchmarks), seeds):
            keys = HAN | {"seed": seed, "benchmark": benchmark}
            rows.append(keys | {"subnetwork": "random", "miou": 20.0})
            rows.append(keys | {"subnetwork": "ours", "miou": 20.0 + difference(number, seed)})
        columns = ["target", "subnetwork", "freeze", "seed", "benchmark", "miou"]
        return Evidence(pd.DataFrame(rows, columns=columns), measures or {}, read_paper(paper_path), list(seeds))

    return make


@pytest.fixture
def real_claims(experiments, paper_path):
    return read_claims(paper_path.with_name("claims.csv"), experiments)


def judge(claims, evidence):
    (judged,) = judge_claims(claims, evidence)
    return judged


def test_the_seed_is_the_unit_and_benchmarks_only_describe(read_lines, make_evidence):
    """Seven benchmarks that say the same thing once a seed are three numbers, not twenty-one."""
    evidence = make_evidence(lambda number, seed: 1.0 + seed + 10 * (number - 3))
    judged = judge(read_lines({}), evidence)
    assert list(find_effects(judged.claim, evidence).by_seed) == pytest.approx([1.0, 2.0, 3.0])
    assert (judged.effect, judged.seeds, judged.cases) == (pytest.approx(2.0), 3, Tally(4, 7))
    assert judged.decision.p == pytest.approx(0.0741799)  # of t = 2 sqrt(3) with 2 degrees of freedom
    assert judged.verdict == "not decided"


def test_several_lines_are_averaged_with_one_weight_each(read_lines, make_evidence):
    """A line of one benchmark weighs as much as a line of two."""
    evidence = make_evidence(lambda number, seed: {0: 4.0, 1: 0.0, 2: 2.0}.get(number, 99.0) + seed)
    (claim,) = read_lines({"benchmarks": "coco"}, {"benchmarks": "cityscapes ade150"})
    found = find_effects(claim, evidence)
    assert list(found.by_seed) == [2.5, 3.5, 4.5]
    assert list(found.cases) == [5.0, 1.0, 3.0]


def test_an_interaction_is_a_difference_of_differences(read_lines, make_evidence):
    """Of the same pair on other benchmarks: (cityscapes, ade150) - coco, seed by seed."""
    second = {"minus_left": "t1_han_ours", "minus_right": "t1_han_random", "minus_benchmarks": "coco"}
    (claim,) = read_lines({"relation": "interaction", "benchmarks": "cityscapes ade150"} | second)
    evidence = make_evidence(lambda number, seed: [5.0 + seed, 6.0 + 3 * seed, 8.0 + seed][min(number, 2)])
    found = find_effects(claim, evidence)
    assert list(found.by_seed) == [2.0, 3.0, 4.0]
    assert list(found.cases) == [3.0, 3.0]
    paper = find_paper_effects(claim, evidence)
    assert paper.mean == pytest.approx(((31.7 - 28.7) + (15.8 - 13.2)) / 2 - (42.5 - 37.4))


def test_an_interaction_of_equal_benchmarks_compares_each_with_its_own(read_lines, make_evidence):
    second = {"minus_left": "t1_han_random", "minus_right": "t1_han_ours", "minus_benchmarks": "all"}
    (claim,) = read_lines({"relation": "interaction"} | second)
    found = find_effects(claim, make_evidence(lambda number, seed: float(number)))
    assert list(found.cases) == [2.0 * number for number in range(7)]


def test_the_paper_effect_may_be_of_another_row(read_lines, make_evidence):
    changed = {"right": "t1_han_dense", "paper_right": "t1_han_random"}
    paper = find_paper_effects(read_lines(changed)[0], make_evidence(lambda number, seed: 0.0))
    assert paper.mean == pytest.approx((198.7 - 180.6) / 7)  # sums of the two printed rows
    saved = find_paper_effects(read_lines(SAVED)[0], make_evidence(lambda number, seed: 0.0))
    assert saved.mean == pytest.approx(100 * (22.9 / 44.1 - 1))


def test_one_seed_never_gives_a_verdict(read_lines, make_evidence):
    judged = judge(read_lines({}), make_evidence(lambda number, seed: 9.0, seeds=[4]))
    assert (judged.verdict, judged.note, judged.effect, judged.seeds) == ("not decided", "one seed", 9.0, 1)
    assert (judged.interval, judged.decision, judged.detectable) == (None, None, None)


def test_a_missing_value_is_named_and_nothing_is_judged(read_lines, make_evidence):
    whole = make_evidence(lambda number, seed: 5.0 + 0.1 * seed)
    lost = whole.results.drop(index=whole.results.index[-1])
    evidence = Evidence(lost, {}, whole.paper, whole.seeds)
    judged = judge(read_lines({}), evidence)
    assert (judged.verdict, judged.note) == ("not decided", "t1_han_ours has no pc459 of seed 2")
    assert (judged.effect, judged.cases, judged.seeds) == (None, Tally(0, 0), 0)

    absent = judge(read_lines({"right": "t1_fcclip_dense", "benchmarks": "coco"}), whole)
    assert absent.note == "t1_fcclip_dense has no coco"
    unknown = Evidence(whole.results.assign(miou=float("nan")), {}, whole.paper, whole.seeds)
    assert judge(read_lines({}), unknown).note.endswith("(and 1 more)")


def test_a_claim_that_was_not_measured_still_counts_in_its_family(read_lines, make_evidence):
    evidence = make_evidence(lambda number, seed: 5.0 + seed)
    alone = judge(read_lines({}), evidence)
    missing = {"claim": "other", "right": "t1_fcclip_dense"}
    together = judge_claims(read_lines({}, missing), evidence)
    assert together[0].decision.adjusted == pytest.approx(2 * alone.decision.p)
    assert together[1].decision is None
    apart = judge_claims(read_lines({}, missing | {"family": "S"}), evidence)
    assert apart[0].decision == alone.decision


def test_a_claim_that_was_not_planned_is_no_member_of_its_family(read_lines, make_evidence):
    evidence = make_evidence(lambda number, seed: 5.0 + seed)
    claims = read_lines({}, {"claim": "other", "right": "t1_fcclip_dense"})
    first, other = judge_claims(claims, evidence, ["t1_fcclip_dense"])
    assert first.decision.adjusted == first.decision.p
    assert (other.decision, other.note) == (None, "this profile leaves out t1_fcclip_dense")
    # Its runs may be there nevertheless, made for another row.
    assert judge_claims(claims[:1], evidence, ["t1_han_random"])[0].decision == first.decision


def test_an_undecided_claim_says_what_could_have_been_found(read_lines, make_evidence):
    judged = judge(read_lines({}), make_evidence(lambda number, seed: float(seed)))
    assert judged.verdict == "not decided"
    assert judged.detectable > judged.effect
    assert judged.seeds_needed > 3
    decided = judge(read_lines({}), make_evidence(lambda number, seed: 9 + 0.1 * seed))
    assert (decided.verdict, decided.detectable, decided.seeds_needed) == ("holds", None, None)
    assert decided.note == "the paper's effect is outside the interval"


def test_equal_seeds_are_no_independent_draws(read_lines, make_evidence):
    judged = judge(read_lines({}), make_evidence(lambda number, seed: 1.0 + number))
    assert (judged.verdict, judged.interval) == ("not decided", None)
    assert judged.note == "all seeds give the same number, so they are no independent draws"


def count_params(ours, dense=(100.0, 100.0)):
    rows = [
        HAN | {"subnetwork": name, "seed": seed, "value": value}
        for name, values in (("ours", ours), ("dense", dense))
        for seed, value in enumerate(values)
    ]
    return {"params": pd.DataFrame(rows)}


@pytest.mark.parametrize(
    ("ours", "expected"),
    [((25.0, 30.0), "holds"), ((100.0, 130.0), "does not hold"), ((25.0, 130.0), "not decided")],
)
def test_counts_need_no_test_but_every_seed(read_lines, make_evidence, ours, expected):
    evidence = make_evidence(lambda number, seed: 0.0, (0, 1), count_params(ours))
    judged = judge(read_lines(SAVED), evidence)
    assert (judged.verdict, judged.decision) == (expected, None)
    assert judged.effect == pytest.approx(sum(ours) / 2 - 100)
    one = make_evidence(lambda number, seed: 0.0, (0,), count_params(ours))
    assert judge(read_lines(SAVED), one).verdict in ("holds", "does not hold")


def test_claims_about_alpha_are_said_of_one_row(read_lines, make_evidence):
    steps = [(0, 3.0, 4.0), (100, 3.3, 3.0)]
    alphas = pd.DataFrame(
        HAN | {"subnetwork": "ours", "seed": seed, "iteration": step, "layer": layer, "alpha": alpha + 0.1 * seed}
        for seed in (0, 1)
        for step, *both in steps
        for layer, alpha in zip(("a", "b"), both, strict=True)
    )
    falls = {"family": "A", "relation": "less", "metric": "deep_alpha_change", "benchmarks": "", "right": ""}
    evidence = make_evidence(lambda number, seed: 0.0, (0, 1), measure_alphas(alphas))
    judged = judge(read_lines(falls), evidence)
    assert (judged.effect, judged.paper) == (pytest.approx(-1.0), None)

    over_trained = falls | {"family": "", "relation": "greater in every seed", "metric": "alpha_below_2"}
    assert judge(read_lines(over_trained), evidence).verdict == "does not hold"
    one = make_evidence(lambda number, seed: 0.0, (0,), measure_alphas(alphas[alphas["seed"] == 0]))
    assert judge(read_lines(over_trained), one).note == "one seed"


def test_every_claim_of_the_table_has_evidence_in_the_paper(real_claims, make_evidence):
    evidence = make_evidence(lambda number, seed: 1.0 + seed)
    judged = {row.claim.name: row for row in judge_claims(real_claims, evidence)}
    elsewhere = {name for name in judged if name.endswith(" in DeepLabV3")}  # the paper's tables show another target
    assert all(judged[name].paper is None for name in elsewhere)
    drawn = {name for name, row in judged.items() if row.paper is None} - elsewhere
    assert drawn == {name for name in judged if name.startswith("alpha ") and "beats" not in name} - {
        "alpha saves more than random freezing"
    } | {"some layers are over-trained"}  # the paper draws these in Figures 6, 7 and 9
    for name, row in judged.items():
        seen_in_paper = row.paper is None or row.claim.hypothesis.agrees(row.paper)
        assert seen_in_paper, name


def test_the_papers_effects_are_those_of_its_tables(real_claims, make_evidence):
    judged = judge_claims(real_claims, make_evidence(lambda number, seed: 1.0))
    paper = {row.claim.name: row.paper for row in judged}
    assert paper["subnetwork beats random"] == pytest.approx((18.1 / 7 + 69.2 / 6 + 14.9 / 7) / 3)
    assert paper["few iterations spare COCO"] == pytest.approx(2.2 / 4 + 0.6)
    sums = {"t5000": 177.8, "t2500": 166.4, "p20": 149.7, "own t5000": 187.3, "own t1000": 188.6, "own p30": 178.0}
    fewer = (sums["t5000"] - sums["t2500"] - sums["own t5000"] + sums["own t1000"]) / 5
    larger = (sums["t5000"] - sums["p20"] - sums["own t1000"] + sums["own p30"]) / 5
    assert paper["joint pruning suffers more from fewer iterations"] == pytest.approx(fewer)
    assert paper["joint pruning suffers more from larger rounds"] == pytest.approx(larger)


def test_tested_claims_have_families_and_table_3_has_all_targets(real_claims):
    sizes = {}
    for claim in real_claims:
        sizes[claim.family] = sizes.get(claim.family, 0) + 1
    assert sizes == {"P": 8, "S": 17, "A": 3, "": 6}
    together = next(claim for claim in real_claims if claim.name == "both together keep quality")
    assert {line.contrast.left.target for line in together.comparisons} == {"han", "deeplabv3", "fcclip_trained"}
    # Both sides are the same experiment but for the freezing.
    for line in together.comparisons:
        left, right = line.contrast.left, line.contrast.right
        assert (left.target, left.subnetwork, right.freeze) == (right.target, right.subnetwork, "none")
    assert all(line.contrast.left.id.startswith("t3_") for line in together.comparisons)


def test_the_fair_control_is_what_the_subnetwork_must_beat(real_claims):
    claim = next(claim for claim in real_claims if claim.name == "subnetwork beats random")
    rights = {line.contrast.right.id for line in claim.comparisons}
    assert rights == {f"own_{target}_random_distilled" for target in ("han", "deeplabv3", "fcclip")}


def test_the_table_shows_signs_tallies_and_empty_cells(read_lines, make_evidence):
    evidence = make_evidence(lambda number, seed: 1.0 + 0.5 * seed)
    unknown = {"claim": "other", "benchmarks": "coco", "right": "t1_fcclip_dense"}
    header, known, empty = to_csv(build_claims_table(judge_claims(read_lines({}, unknown), evidence))).splitlines()
    assert header == (
        "claim,text,family,relation,margin,unit,paper effect,effect,95% from,to,p,adjusted p,seeds,cases,paper cases,"
        "verdict,detectable effect,seeds needed,note"
    )
    numbers = "+2.59,+1.5,+0.258,+2.74,0.035,0.07,3,7 of 7,7 of 7,not decided,"
    assert known.startswith(f"name,text,P,greater,,points of mIoU,{numbers}")
    nothing = "-16.2,,,,,,0,,0 of 1,not decided,,,t1_fcclip_dense has no coco"
    assert empty == f"other,text,P,greater,,points of mIoU,{nothing}"


def test_the_rule_names_every_column_that_needs_it():
    for name in ("cases", "95% from", "Adjusted p", "detectable effect", "seeds needed", "Holm"):
        assert name in RULE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": "t1_nobody"}, "line 2, column left: no experiment has the id 't1_nobody'; take an id of"),
        ({"relation": "nicer"}, "line 2, column relation: 'nicer' is unknown"),
        ({"metric": "beauty"}, "line 2, column metric: 'beauty' is unknown"),
        ({"benchmarks": "coco moon"}, "line 2, column benchmarks: 'moon' is unknown"),
        ({"benchmarks": ""}, "line 2, column benchmarks: '' is unknown"),
        ({"family": ""}, "line 2, column family: is missing"),
        (SAVED | {"family": "P"}, "line 2, column family: is of no use to the relation 'less in every seed'"),
        ({"relation": "non-inferior"}, "line 2, column margin: is missing"),
        ({"relation": "equivalent", "margin": "-1"}, "line 2, column margin: '-1' is no positive number"),
        ({"relation": "equivalent", "margin": "wide"}, "line 2, column margin: 'wide' is no number"),
        ({"margin": "1"}, "line 2, column margin: is of no use to the relation 'greater'"),
        ({"relation": "interaction"}, "line 2, column minus_left: is missing"),
        ({"minus_left": "t1_han_ours"}, "line 2, column minus_left: only interactions subtract a second pair"),
        ({"metric": "alpha_change"}, "line 2, column right: alpha_change is said of one row by itself"),
    ],
)
def test_a_wrong_line_is_named(read_lines, change, message):
    with pytest.raises(UserError, match=message):
        read_lines(change)


@pytest.mark.parametrize("change", [{"relation": "less"}, {"family": "S"}, {"metric": "cka_vs_clip"}])
def test_lines_of_one_claim_agree(read_lines, change):
    (field,) = change
    with pytest.raises(UserError, match=f"line 3, column {field}: differs from the claim's first line"):
        read_lines({}, change)


def test_the_claims_table_names_each_primary_outcome_before_the_run(paper_path):
    """Benchmarks by name, not whatever a profile fills."""
    lines = read_csv(paper_path.with_name("claims.csv"), CLAIM_FIELDS)
    assert all((line["metric"] == "miou") == bool(line["benchmarks"]) for line in lines)
    assert not [line for line in lines if "all" in line["benchmarks"].split()]
