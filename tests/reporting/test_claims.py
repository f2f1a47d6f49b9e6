import itertools

import pandas as pd
import pytest
from scipy.stats import binom

from opentrans.errors import UserError
from opentrans.reporting.cells import Tally
from opentrans.reporting.claims import (
    CLAIM_FIELDS,
    build_claims_table,
    find_pairs,
    find_paper_effects,
    judge,
    judge_claim,
    read_claims,
)
from opentrans.reporting.evidence import Evidence
from opentrans.reporting.render import to_csv
from opentrans.reporting.results import measure_alpha_change
from opentrans.runs.paper import read_paper
from opentrans.system.files import read_csv

LEFT, RIGHT = "t1_han_ours", "t1_han_random"


@pytest.fixture
def make_claim(tmp_path, experiments):
    def make(relation="greater", metric="miou", left=LEFT, right=RIGHT, benchmarks="all"):
        path = tmp_path / "claims.csv"
        path.write_text(",".join(CLAIM_FIELDS) + f"\nname,text,{left},{right},{metric},{benchmarks},{relation}\n")
        return read_claims(path, experiments)[0]

    return make


@pytest.fixture
def make_evidence(config, paper_path):
    def make(difference, seeds=(0, 1, 2)):
        """Ours minus random is `difference(benchmark's number, seed)`."""
        rows = []
        for (number, benchmark), seed in itertools.product(enumerate(config.benchmarks), seeds):
            keys = {"target": "han", "freeze": "none", "seed": seed, "benchmark": benchmark}
            rows.append(keys | {"subnetwork": "random", "miou": 20.0})
            rows.append(keys | {"subnetwork": "ours", "miou": 20.0 + difference(number, seed)})
        columns = ["target", "subnetwork", "freeze", "seed", "benchmark", "miou"]
        return Evidence(pd.DataFrame(rows, columns=columns), {}, read_paper(paper_path), list(seeds))

    return make


def verdict(claim, evidence):
    return judge(claim, find_pairs(claim, evidence))[0]


@pytest.mark.parametrize(
    ("relation", "difference", "expected"),
    [
        ("greater", lambda number, seed: 1.0, "holds"),
        ("greater", lambda number, seed: -1.0, "does not hold"),
        ("greater", lambda number, seed: (-1) ** (number + seed) * (1 + 0.1 * number) + 0.02, "not decided"),
        ("not less", lambda number, seed: 0.0, "holds"),
        ("not less", lambda number, seed: 1.0, "holds"),
        ("not less", lambda number, seed: -1.0, "does not hold"),
        ("not less", lambda number, seed: -((-1) ** (number + seed)) * (1 + 0.1 * number) - 0.02, "not decided"),
        ("greater everywhere", lambda number, seed: 1.0, "holds"),
        ("greater everywhere", lambda number, seed: -1.0 if number == 3 else 5.0, "does not hold"),
        ("greater", lambda number, seed: -1.0 if number == 3 else 5.0, "holds"),
        ("less", lambda number, seed: -1.0, "holds"),
        ("less", lambda number, seed: 1.0, "does not hold"),
    ],
)
def test_the_verdict_flips_with_the_results(make_claim, make_evidence, relation, difference, expected):
    assert verdict(make_claim(relation), make_evidence(difference)) == expected


def test_p_of_an_unanimous_comparison_is_that_of_the_sign_test(make_claim, make_evidence):
    """Differences of one sign and distinct size: the signed-rank statistic is extreme, p = 2^-n."""
    claim = make_claim()
    pairs = find_pairs(claim, make_evidence(lambda number, seed: 1 + number + 0.1 * seed))
    assert judge(claim, pairs)[1] == pytest.approx(binom.pmf(0, 21, 0.5))


def test_one_pair_decides_nothing(make_claim, make_evidence):
    claim = make_claim(benchmarks="pc59")
    assert verdict(claim, make_evidence(lambda number, seed: 9.0, seeds=(0,))) == "not decided"
    assert verdict(claim, make_evidence(lambda number, seed: 9.0, seeds=())) == "not decided"


def test_counts_are_exact_and_compared_in_percent(make_claim, make_evidence):
    claim = make_claim("less", "params", "t1_han_ours", "t1_han_dense", "")
    keys = {"target": "han", "freeze": "none", "seed": 0}
    frame = pd.DataFrame([keys | {"subnetwork": "ours", "value": 25.0}, keys | {"subnetwork": "dense", "value": 100.0}])
    found = make_evidence(lambda number, seed: 0.0)
    evidence = Evidence(found.results, {"params": frame}, found.paper, [0])
    assert list(find_pairs(claim, evidence)["effect"]) == [-75.0]
    assert verdict(claim, evidence) == "holds"
    swapped = Evidence(found.results, {"params": frame.assign(value=[100.0, 25.0])}, found.paper, [0])
    assert verdict(claim, swapped) == "does not hold"


def test_the_papers_own_evidence_comes_from_its_table(make_claim, make_evidence):
    evidence = make_evidence(lambda number, seed: 0.0)
    effects = find_paper_effects(make_claim(), evidence)
    assert len(effects) == 7
    assert effects.mean() == pytest.approx((198.7 - 180.6) / 7)  # sums of the two printed rows
    saved = find_paper_effects(make_claim("less", "params", "t1_han_ours", "t1_han_dense", ""), evidence)
    assert list(saved) == [pytest.approx(100 * (22.9 / 44.1 - 1))]


def test_every_claim_of_the_table_has_evidence_in_the_paper(experiments, paper_path, make_evidence):
    claims = read_claims(paper_path.with_name("claims.csv"), experiments)
    evidence = make_evidence(lambda number, seed: 1.0)
    judged = {claim.name: judge_claim(claim, evidence) for claim in claims}
    quoted_nowhere = [name for name, row in judged.items() if row.effect.paper is None]
    assert quoted_nowhere == ["alpha stays stable in fine-tuning"]  # the paper draws it in a figure
    assert {row.verdict for row in judged.values()} <= {"holds", "does not hold", "not decided"}
    assert judged["subnetwork beats random"].pairs == Tally(21, 21)
    assert judged["text guidance beats vision guidance"].verdict == "not decided"


def test_claims_are_shown_with_signs_tallies_and_empty_cells(make_claim, make_evidence):
    evidence = make_evidence(lambda number, seed: 1.0 + seed)
    rows = [judge_claim(make_claim(relation), evidence) for relation in ("greater", "stable")]
    unknown = judge_claim(make_claim(benchmarks="none"), evidence)
    header, greater, _, empty = to_csv(build_claims_table([*rows, unknown])).splitlines()
    assert header == "claim,text,relation,unit,paper effect,paper pairs,effect,spread over seeds,pairs,seeds,p,verdict"
    assert greater.startswith("name,text,greater,points of mIoU,+2.59,7 of 7,+2,1,21 of 21,3,")
    assert empty == "name,text,greater,points of mIoU,,,,,,0,,not decided"


@pytest.mark.parametrize(("change", "expected"), [(5.0, "holds"), (-30.0, "does not hold")])
def test_stability_is_judged_by_the_change_of_the_median_alpha(make_claim, make_evidence, change, expected):
    claim = make_claim("stable", "alpha_change", "t2_han_full", "t2_han_full", "")
    keys = {"target": "han", "subnetwork": "dense", "freeze": "none", "seed": 0}
    ends = ((100, 3 * (1 + change / 100)), (0, 3.0))
    alphas = pd.DataFrame([keys | {"iteration": step, "layer": "a", "alpha": alpha} for step, alpha in ends])
    found = make_evidence(lambda number, seed: 0.0)
    evidence = Evidence(found.results, {"alpha_change": measure_alpha_change(alphas)}, found.paper, [0])
    assert list(find_pairs(claim, evidence)["effect"]) == [pytest.approx(change)]
    assert verdict(claim, evidence) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": "t1_nobody"}, "line 2, column left: no experiment has the id 't1_nobody'; take an id of"),
        ({"relation": "nicer"}, "line 2, column relation: 'nicer'"),
        ({"metric": "beauty"}, "line 2, column metric: 'beauty'"),
    ],
)
def test_a_wrong_line_is_named(make_claim, change, message):
    with pytest.raises(UserError, match=message):
        make_claim(**change)


def test_lines_of_one_claim_agree(tmp_path, experiments, paper_path):
    line = read_csv(paper_path.with_name("claims.csv"), CLAIM_FIELDS)[0]
    text = ",".join(CLAIM_FIELDS) + "".join(
        f'\nname,"",{line["left"]},{line["right"]},miou,all,{relation}' for relation in ("greater", "less")
    )
    (tmp_path / "claims.csv").write_text(text)
    with pytest.raises(UserError, match="line 3, column claim: relation or metric differ"):
        read_claims(tmp_path / "claims.csv", experiments)
