import io
import statistics
from dataclasses import replace

import pandas as pd
import pytest

from builders import write_costs, write_evaluation
from opentrans.errors import UserError
from opentrans.reporting import tables
from opentrans.reporting.cells import Cell, Column, Table, summarize
from opentrans.reporting.evidence import Evidence
from opentrans.reporting.render import to_csv, to_latex
from opentrans.reporting.results import (
    RESULT_FIELDS,
    collect_results,
    count_iterations,
    describe_pruning,
    read_measures,
    read_results,
    write_results,
)
from opentrans.reporting.tables import write_caption, write_notes, write_table
from opentrans.runs.paper import read_paper
from opentrans.runs.table import RunId


@pytest.fixture
def make_evidence(make_files, paper_path):
    def make(seeds):
        evaluations, costs = make_files(seeds)
        return Evidence(collect_results(evaluations), read_measures(costs, []), read_paper(paper_path), seeds)

    return make


def build_table(number, experiments, evidence):
    """The table as somebody reads its CSV."""
    text = to_csv(tables.build_table(number, experiments, evidence))
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)


def get_row(table, label):
    return table.set_index("Method").loc[label]


def test_one_seed_is_shown_as_a_number_beside_the_papers(make_evidence, experiments):
    row = get_row(build_table(1, experiments, make_evidence([0])), "Ours (Han et al.)")
    assert (row["coco (%)"], row["coco paper"]) == ("35.0", "42.5")
    assert (row["pc459 (%)"], row["pc459 paper"]) == ("41.0", "6.4")
    assert (row["mean (%)"], row["mean paper"]) == ("38.0", f"{(42.5 + 31.7 + 15.8 + 2.6 + 64.6 + 35.1 + 6.4) / 7:.1f}")
    assert (row["Params (M)"], row["Params paper (M)"]) == ("2", "22.9")
    assert (row["FLOPs (G)"], row["FLOPs paper (G)"]) == ("3", "173.3")


def test_three_seeds_are_shown_as_mean_and_standard_deviation(make_evidence, experiments):
    row = get_row(build_table(1, experiments, make_evidence([0, 1, 2])), "Ours (Han et al.)")
    assert statistics.stdev([35, 36, 37]) == 1
    assert row["coco (%)"] == "36.0 ± 1.0"
    assert row["mean (%)"] == "39.0 ± 1.0"
    assert row["Params (M)"] == "2 ± 0"


def test_equal_values_have_no_spread_of_rounding(make_evidence, experiments):
    evidence = make_evidence([0, 1, 2])
    parameters = {"params": evidence.measures["params"].assign(value=764_100.3)}
    table = build_table(1, experiments, Evidence(evidence.results, parameters, evidence.paper, [0, 1, 2]))
    assert get_row(table, "Ours (Han et al.)")["Params (k)"] == "764.1 ± 0"


def test_a_table_of_which_the_paper_has_nothing_has_no_column_for_it(make_evidence, experiments):
    evidence = make_evidence([0])
    renamed = [replace(row, id=f"own_{row.id}") for row in experiments if row.table == 8]
    table = build_table(8, renamed, evidence)
    assert list(table["Method"]) == [row.row for row in renamed]
    assert not [name for name in table.columns if "paper" in name]
    assert {"coco (%)", "mean (%)", "Training iterations"} <= set(table.columns)


def test_seeds_that_are_not_configured_are_left_out(make_evidence, experiments):
    evidence = make_evidence([0, 1, 2])
    one = Evidence(evidence.results, evidence.measures, evidence.paper, [2])
    assert get_row(build_table(1, experiments, one), "Ours (Han et al.)")["coco (%)"] == "37.0"


def test_unmeasured_and_unpublished_cells_are_empty(make_evidence, experiments):
    evidence = make_evidence([0])
    wanted = (evidence.results["target"] == "han") & (evidence.results["benchmark"] == "coco")
    partial = Evidence(evidence.results[~wanted], {}, evidence.paper, [0])
    row = get_row(build_table(1, experiments, partial), "Random, distilled as long (Han et al.)")
    assert (row["coco (%)"], row["cityscapes (%)"], row["mean (%)"]) == ("", "31.0", "")
    assert (row["coco paper"], row["Params (M)"], row["Params paper (M)"]) == ("", "", "")
    row = get_row(build_table(1, experiments, evidence), "DeeplabV3")
    assert (row["ade847 paper"], row["mean paper"]) == ("", "")


def test_training_flops_take_a_smaller_unit_where_they_are_few(make_evidence, experiments):
    evidence = make_evidence([0])
    row = get_row(build_table(2, experiments, evidence), "Han et al. + alpha")
    assert (row["Training FLOPs (T)"], row["Training FLOPs paper (P)"]) == ("5", "159.6")
    large = {"training_flops": evidence.measures["training_flops"].assign(value=181.4e15)}
    row = get_row(build_table(2, experiments, Evidence(evidence.results, large, evidence.paper, [0])), "Han et al.")
    assert (row["Training FLOPs (P)"], row["Training FLOPs paper (P)"]) == ("181.4", "181.4")


def test_table_4_shows_training_flops_only(make_evidence, experiments):
    table = build_table(4, experiments, make_evidence([0]))
    assert list(table.columns) == ["Method", "Training FLOPs (T)", "Training FLOPs paper (P)"]
    assert list(table["Training FLOPs paper (P)"]) == ["181.4", "159.6", "122.2"]


def test_a_table_without_rows_is_refused(make_evidence, experiments):
    with pytest.raises(UserError, match="table 11: the experiment table has no row"):
        build_table(11, experiments, make_evidence([0]))


def test_literature_rows_are_quoted_and_nothing_is_claimed_as_measured(make_evidence, experiments):
    table = build_table(3, experiments, make_evidence([0]))
    row = get_row(table, "OpenSeg (R-101, COCO Panoptic) (quoted)")
    assert (row["coco (%)"], row["coco paper"], row["ade150 paper"]) == ("", "36.9", "15.3")
    ours = ["Ours (Han et al.)", "Ours (DeeplabV3)", "Ours (FC-CLIP)", "Subnetwork, nothing frozen (FC-CLIP)"]
    assert list(table["Method"])[-4:] == ours
    assert get_row(table, "Ours (FC-CLIP)")["pas20 paper"] == "87.3"
    assert sum("(quoted)" in name for name in table["Method"]) == 12


def test_a_row_that_is_not_the_papers_experiment_is_marked_and_explained(make_evidence, experiments):
    methods = list(build_table(1, experiments, make_evidence([0]))["Method"])
    assert "FC-CLIP †" in methods
    assert "Han et al." in methods
    text = write_notes(1, experiments)
    assert text.startswith("† Not the paper's experiment. ")
    for row in experiments:
        if row.table == 1 and row.note:
            assert f"{row.row} †" in methods
            assert row.row in text
            assert row.note in text
    assert write_notes(2, experiments) == ""


def test_table_8_adds_the_iterations_of_search_and_training(experiments, make_evidence):
    evidence = make_evidence([0])
    searched = {"subnetwork": "ours", "seed": 0, "round": [1, 2], "iterations": [9, 18], "density": [0.4, 0.16]}
    dense = {"subnetwork": "joint", "seed": 0, "round": [0], "iterations": [0], "density": [1.0]}
    rounds = pd.concat([pd.DataFrame(searched), pd.DataFrame(dense)])
    keys = {"target": "han", "subnetwork": "ours", "freeze": "none", "seed": 0}
    joint = keys | {"subnetwork": "joint"}
    logs = [keys | {"iteration": 50}, keys | {"iteration": 100}]
    logs += [joint | {"iteration": 20 * number, "density": 0.8**number} for number in (1, 2, 3)]
    logs = pd.DataFrame([*logs, joint | {"iteration": 70, "density": 0.8**3}])
    measures = {"training_iterations": count_iterations(rounds, logs)} | describe_pruning(rounds, logs)
    table = build_table(8, experiments, Evidence(evidence.results, measures, evidence.paper, [0]))
    row = get_row(table, "Pruning (distillation only) + segmentation fine-tuning")
    assert (row["Training iterations"], row["Training iterations paper"]) == ("118", "95000")
    assert (row["Rounds"], row["Density"]) == ("2", "0.16")
    # Pruned while it trained: its own log says how far.
    row = get_row(table, "Pruning (distillation + segmentation loss)")
    assert (row["Training iterations"], row["Rounds"], row["Density"]) == ("70", "3", "0.512")


def test_table_9_shows_similarity_beside_the_papers(experiments, make_evidence):
    evidence = make_evidence([0, 1])
    frame = pd.DataFrame({"target": "deeplabv3", "subnetwork": "ours", "freeze": "none", "seed": [0, 1]})
    measures = {"cka_vs_clip": frame.assign(value=[0.5, 0.7])}
    table = build_table(9, experiments, Evidence(evidence.results, measures, evidence.paper, [0, 1]))
    assert list(table.columns) == ["Method", "CKA to CLIP", "CKA to CLIP paper"]
    row = get_row(table, "Sparse DeeplabV3 (Ours)")
    assert (row["CKA to CLIP"], row["CKA to CLIP paper"]) == ("0.6 ± 0.1414", "0.512")


def test_latex_is_escaped_and_balanced():
    table = Table([Column("Method", ["a_b & c"]), Column("coco", [Cell(36.0, 1.0, None, "%")], ".1f", ".1f")])
    text = to_latex(table, "in % of a_b ± c", "tab:x")
    assert r"a\_b \& c & 36.0 $\pm$ 1.0 \\" in text
    assert r"\caption{in \% of a\_b $\pm$ c}" in text
    assert r"coco (\%)" in text
    assert [text.count(rf"\{word}rule") for word in ("top", "mid", "bottom")] == [1, 1, 1]
    assert text.count("{") == text.count("}")
    assert text.count(r"\begin") == text.count(r"\end") == 2


def test_captions_name_profile_seeds_and_what_cannot_be_compared():
    mini = write_caption(1, "mini", [0, 1, 2], "present")
    assert "profile mini" in mini
    assert "3 seeds" in mini
    assert "not comparable with the paper's" in mini
    assert "not comparable" not in write_caption(1, "paper", [0], "present")


def test_tables_are_the_same_bytes_twice(tmp_path, make_evidence, experiments):
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_table(folder, 1, tables.build_table(1, experiments, make_evidence([0, 1, 2])), "Caption.")
        contents.append([(folder / f"table1{suffix}").read_bytes() for suffix in (".csv", ".md", ".tex", ".html")])
    assert contents[0] == contents[1]
    assert contents[0][1].decode().startswith("Caption.\n\n| Method")


def test_results_are_sorted_with_fixed_decimals_and_come_back(tmp_path, make_files):
    evaluations, _ = make_files([1, 0])
    for name, order in (("a", evaluations), ("b", evaluations[::-1])):
        write_results(tmp_path / name, collect_results(order))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    first = (tmp_path / "a").read_text().splitlines()[:2]
    assert first[0] == ",".join(RESULT_FIELDS)
    assert first[1] == "deeplabv3,dense,none,0,ade150,present,42.0000,42.0000,41.0000,60,plain"
    assert len(read_results(tmp_path / "a")) == len(evaluations)


def test_wrong_files_are_named(tmp_path, paper_path):
    run = RunId("han", "ours", "none", 0)
    one = write_evaluation(tmp_path / "one.json", run, "coco", 1.0)
    two = write_evaluation(tmp_path / "two.json", run, "coco", 2.0)
    with pytest.raises(UserError, match=r"two\.json: the same run and benchmark as .*one\.json"):
        collect_results([one, two])
    costs = write_costs(tmp_path / "costs.json", run)
    with pytest.raises(UserError, match=r"costs\.json: field .*protocol"):
        collect_results([costs])
    with pytest.raises(UserError, match=r"one\.json: field params is missing"):
        read_measures([one], [])
    with pytest.raises(UserError, match=r"column target, .* is missing"):
        read_results(paper_path)
    with pytest.raises(UserError, match="no such file"):
        read_results(tmp_path / "absent.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(UserError, match="not readable as CSV"):
        read_results(tmp_path / "empty.csv")


def test_a_cell_is_a_number_of_one_seed_and_mean_and_deviation_of_several():
    assert summarize([]) == Cell()
    assert summarize([2.0], 3.0, "%") == Cell(2.0, None, 3.0, "%")
    assert summarize([1.0, 2.0, 3.0]) == Cell(2.0, 1.0)
    assert summarize([0.1, 0.1, 0.1]) == Cell(0.1, 0.0)
