import statistics
from dataclasses import replace

import pandas as pd
import pytest

from builders import write_costs, write_evaluation
from opentrans.errors import UserError
from opentrans.reporting.results import (
    COLUMNS,
    COST_METRICS,
    collect_measures,
    collect_results,
    count_iterations,
    read_results,
    write_results,
)
from opentrans.reporting.tables import Sources, build_table, read_paper, to_latex, write_caption, write_table
from opentrans.runs.table import RunId


@pytest.fixture
def make_sources(make_files, paper_path):
    def make(seeds):
        evaluations, costs = make_files(seeds)
        return Sources(
            collect_results(evaluations), collect_measures(COST_METRICS, costs, "count"), read_paper(paper_path), seeds
        )

    return make


def get_row(table, label):
    return table.set_index("Method").loc[label]


def test_one_seed_is_shown_as_a_number_beside_the_papers(make_sources, experiments):
    row = get_row(build_table(1, experiments, make_sources([0])), "Ours (Han et al.)")
    assert (row["coco (%)"], row["coco paper"]) == ("35.0", "42.5")
    assert (row["pc459 (%)"], row["pc459 paper"]) == ("41.0", "6.4")
    assert (row["mean (%)"], row["mean paper"]) == ("38.0", f"{(42.5 + 31.7 + 15.8 + 2.6 + 64.6 + 35.1 + 6.4) / 7:.1f}")
    assert (row["Params (M)"], row["Params paper (M)"]) == ("2", "22.9")
    assert (row["FLOPs (G)"], row["FLOPs paper (G)"]) == ("3", "173.3")


def test_three_seeds_are_shown_as_mean_and_standard_deviation(make_sources, experiments):
    row = get_row(build_table(1, experiments, make_sources([0, 1, 2])), "Ours (Han et al.)")
    assert statistics.stdev([35, 36, 37]) == 1
    assert row["coco (%)"] == "36.0 ± 1.0"
    assert row["mean (%)"] == "39.0 ± 1.0"
    assert row["Params (M)"] == "2 ± 0"


def test_equal_values_have_no_spread_of_rounding(make_sources, experiments):
    sources = make_sources([0, 1, 2])
    parameters = {"params": sources.measures["params"].assign(value=764_100.3)}
    table = build_table(1, experiments, Sources(sources.results, parameters, sources.paper, [0, 1, 2]))
    assert get_row(table, "Ours (Han et al.)")["Params (k)"] == "764.1 ± 0"


def test_a_table_of_which_the_paper_has_nothing_has_no_column_for_it(make_sources, experiments):
    sources = make_sources([0])
    renamed = [replace(row, row=f"Other {row.row}") for row in experiments if row.table == 8]
    table = build_table(8, renamed, sources)
    assert list(table["Method"]) == [row.row for row in renamed]
    assert not [name for name in table.columns if "paper" in name]
    assert {"coco (%)", "mean (%)", "Training iterations"} <= set(table.columns)


def test_seeds_that_are_not_configured_are_left_out(make_sources, experiments):
    sources = make_sources([0, 1, 2])
    one = Sources(sources.results, sources.measures, sources.paper, [2])
    assert get_row(build_table(1, experiments, one), "Ours (Han et al.)")["coco (%)"] == "37.0"


def test_unmeasured_and_unpublished_cells_are_empty(make_sources, experiments):
    sources = make_sources([0])
    wanted = (sources.results["target"] == "han") & (sources.results["benchmark"] == "coco")
    partial = Sources(sources.results[~wanted], {}, sources.paper, [0])
    row = get_row(build_table(1, experiments, partial), "Distilled, unpruned (Han et al.)")
    assert (row["coco (%)"], row["cityscapes (%)"], row["mean (%)"]) == ("", "40.0", "")
    assert (row["coco paper"], row["Params (M)"], row["Params paper (M)"]) == ("", "", "")
    row = get_row(build_table(1, experiments, sources), "DeeplabV3")
    assert (row["ade847 paper"], row["mean paper"]) == ("", "")


def test_training_flops_take_a_smaller_unit_where_they_are_few(make_sources, experiments):
    sources = make_sources([0])
    row = get_row(build_table(2, experiments, sources), "Han et al. + alpha")
    assert (row["Training FLOPs (T)"], row["Training FLOPs paper (P)"]) == ("5", "159.6")
    large = {"training_flops": sources.measures["training_flops"].assign(value=181.4e15)}
    row = get_row(build_table(2, experiments, Sources(sources.results, large, sources.paper, [0])), "Han et al.")
    assert (row["Training FLOPs (P)"], row["Training FLOPs paper (P)"]) == ("181.4", "181.4")


def test_table_4_shows_training_flops_only(make_sources, experiments):
    table = build_table(4, experiments, make_sources([0]))
    assert list(table.columns) == ["Method", "Training FLOPs (T)", "Training FLOPs paper (P)"]
    assert list(table["Training FLOPs paper (P)"]) == ["181.4", "159.6", "122.2"]


def test_a_table_without_rows_is_refused(make_sources, experiments):
    with pytest.raises(UserError, match="table 11: the experiment table has no row"):
        build_table(11, experiments, make_sources([0]))


def test_literature_rows_are_quoted_and_nothing_is_claimed_as_measured(make_sources, experiments):
    table = build_table(3, experiments, make_sources([0]))
    row = get_row(table, "OpenSeg (R-101, COCO Panoptic) (quoted)")
    assert (row["coco (%)"], row["coco paper"], row["ade150 paper"]) == ("", "36.9", "15.3")
    assert list(table["Method"])[-3:] == ["Ours (Han et al.)", "Ours (DeeplabV3)", "Ours (FC-CLIP)"]
    assert get_row(table, "Ours (FC-CLIP)")["pas20 paper"] == "87.3"
    assert sum("(quoted)" in name for name in table["Method"]) == 12


def test_table_8_adds_the_iterations_of_search_and_training(experiments, make_sources):
    sources = make_sources([0])
    rounds = pd.DataFrame({"subnetwork": "ours", "seed": 0, "round": [1, 2], "iterations": [9, 18], "density": 0.1})
    keys = {"target": "han", "subnetwork": "ours", "freeze": "none", "seed": 0}
    logs = pd.DataFrame([keys | {"iteration": 50}, keys | {"iteration": 100}])
    measures = {"training_iterations": count_iterations(rounds, logs)}
    table = build_table(8, experiments, Sources(sources.results, measures, sources.paper, [0]))
    row = get_row(table, "Pruning (distillation only) + segmentation fine-tuning")
    assert (row["Training iterations"], row["Training iterations paper"]) == ("118", "95000")
    assert get_row(table, "Pruning (distillation + segmentation loss)")["Training iterations"] == ""


def test_table_9_shows_similarity_beside_the_papers(experiments, make_sources):
    sources = make_sources([0, 1])
    frame = pd.DataFrame({"target": "deeplabv3", "subnetwork": "ours", "freeze": "none", "seed": [0, 1]})
    measures = {"cka_vs_clip": frame.assign(value=[0.5, 0.7])}
    table = build_table(9, experiments, Sources(sources.results, measures, sources.paper, [0, 1]))
    assert list(table.columns) == ["Method", "CKA to CLIP", "CKA to CLIP paper"]
    row = get_row(table, "Sparse DeeplabV3 (Ours)")
    assert (row["CKA to CLIP"], row["CKA to CLIP paper"]) == ("0.6 ± 0.1414", "0.512")


def test_latex_is_escaped_and_balanced():
    table = pd.DataFrame({"Method": ["a_b & c"], "coco (%)": ["36.0 ± 1.0"]})
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


def test_tables_are_the_same_bytes_twice(tmp_path, make_sources, experiments):
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_table(folder, 1, build_table(1, experiments, make_sources([0, 1, 2])), "Caption.")
        contents.append([(folder / f"table1{suffix}").read_bytes() for suffix in (".csv", ".md", ".tex")])
    assert contents[0] == contents[1]
    assert contents[0][1].decode().startswith("Caption.\n\n| Method")


def test_results_are_sorted_with_fixed_decimals_and_come_back(tmp_path, make_files):
    evaluations, _ = make_files([1, 0])
    for name, order in (("a", evaluations), ("b", evaluations[::-1])):
        write_results(tmp_path / name, collect_results(order))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    first = (tmp_path / "a").read_text().splitlines()[:2]
    assert first[0] == ",".join(COLUMNS)
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
        collect_measures(COST_METRICS, [one], "count")
    with pytest.raises(UserError, match=r"column seed, .* is missing"):
        read_results(paper_path)
    with pytest.raises(UserError, match="no such file"):
        read_results(tmp_path / "absent.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(UserError, match="not readable as CSV"):
        read_results(tmp_path / "empty.csv")
    (tmp_path / "paper.csv").write_text("table\n")
    with pytest.raises(UserError, match="column row, target, metric, value is missing"):
        read_paper(tmp_path / "paper.csv")
    with pytest.raises(UserError, match="no such file"):
        read_paper(tmp_path / "absent.csv")
