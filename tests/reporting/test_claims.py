import itertools

import pandas as pd
import pytest
from scipy.stats import binom

from opentrans.errors import UserError
from opentrans.reporting.claims import (
    FIELDS,
    Evidence,
    find_pairs,
    find_paper_effects,
    judge,
    judge_claims,
    read_claims,
)
from opentrans.reporting.results import measure_alpha_change
from opentrans.reporting.tables import read_paper
from opentrans.system.files import read_csv

LEFT, RIGHT = "1:Ours (Han et al.)", "1:Random (Han et al.)"


@pytest.fixture
def make_claim(tmp_path, experiments):
    def make(relation="greater", metric="miou", left=LEFT, right=RIGHT, benchmarks="all"):
        path = tmp_path / "claims.csv"
        path.write_text(",".join(FIELDS) + f"\nname,text,{left},{right},{metric},{benchmarks},{relation}\n")
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
        return Evidence(pd.DataFrame(rows), {}, read_paper(paper_path), list(seeds))

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
    claim = make_claim("less", "params", "1:Ours (Han et al.)", "1:Han et al.", "")
    keys = {"target": "han", "freeze": "none", "seed": 0}
    frame = pd.DataFrame([keys | {"subnetwork": "ours", "value": 25.0}, keys | {"subnetwork": "dense", "value": 100.0}])
    found = make_evidence(lambda number, seed: 0.0)
    evidence = Evidence(found.results, {"params": frame}, found.paper, [0])
    assert list(find_pairs(claim, evidence)["effect"]) == [-75.0]
    assert verdict(claim, evidence) == "holds"
    swapped = Evidence(found.results, {"params": frame.assign(value=[100.0, 25.0])}, found.paper, [0])
    assert verdict(claim, swapped) == "does not hold"


def test_the_papers_own_evidence_comes_from_its_table(make_claim, paper_path):
    effects = find_paper_effects(make_claim(), read_paper(paper_path))
    assert len(effects) == 7
    assert effects.mean() == pytest.approx((198.7 - 180.6) / 7)  # sums of the two printed rows
    saved = find_paper_effects(
        make_claim("less", "params", "1:Ours (Han et al.)", "1:Han et al.", ""), read_paper(paper_path)
    )
    assert list(saved) == [pytest.approx(100 * (22.9 / 44.1 - 1))]


def test_every_claim_of_the_table_has_evidence_in_the_paper(experiments, paper_path, make_evidence):
    claims = read_claims(paper_path.with_name("claims.csv"), experiments)
    table = judge_claims(claims, make_evidence(lambda number, seed: 1.0)).set_index("claim")
    assert list(table.index[table["paper effect"] == ""]) == ["alpha stays stable in fine-tuning"]  # a figure only
    assert set(table["verdict"]) <= {"holds", "does not hold", "not decided"}
    assert table.loc["subnetwork beats random", "pairs"] == "21 of 21"
    assert table.loc["text guidance beats vision guidance", "verdict"] == "not decided"


@pytest.mark.parametrize(("change", "expected"), [(5.0, "holds"), (-30.0, "does not hold")])
def test_stability_is_judged_by_the_change_of_the_median_alpha(make_claim, make_evidence, change, expected):
    claim = make_claim("stable", "alpha_change", "2:Han et al.", "2:Han et al.", "")
    keys = {"target": "han", "subnetwork": "dense", "freeze": "none", "seed": 0}
    medians = pd.DataFrame(
        [keys | {"iteration": step, "alpha": alpha} for step, alpha in ((100, 3 * (1 + change / 100)), (0, 3.0))]
    )
    found = make_evidence(lambda number, seed: 0.0)
    evidence = Evidence(found.results, {"alpha_change": measure_alpha_change(medians)}, found.paper, [0])
    assert list(find_pairs(claim, evidence)["effect"]) == [pytest.approx(change)]
    assert verdict(claim, evidence) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": "1:Nobody"}, "line 2, column left: '1:Nobody' is unknown"),
        ({"relation": "nicer"}, "line 2, column relation: 'nicer'"),
        ({"metric": "beauty"}, "line 2, column metric: 'beauty'"),
    ],
)
def test_a_wrong_line_is_named(make_claim, change, message):
    with pytest.raises(UserError, match=message):
        make_claim(**change)


def test_lines_of_one_claim_agree(tmp_path, experiments, paper_path):
    line = read_csv(paper_path.with_name("claims.csv"), FIELDS)[0]
    text = ",".join(FIELDS) + "".join(
        f'\nname,"",{line["left"]},{line["right"]},miou,all,{relation}' for relation in ("greater", "less")
    )
    (tmp_path / "claims.csv").write_text(text)
    with pytest.raises(UserError, match="line 3, column claim: relation or metric differ"):
        read_claims(tmp_path / "claims.csv", experiments)
