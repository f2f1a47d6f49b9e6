import subprocess
import sys

import pandas as pd
import pytest

from builders import ROOT
from opentrans.errors import UserError
from opentrans.runs.table import FIELDS, RunId, get_named, read_experiments, runs_of

HEADER = ",".join(FIELDS)
GOOD = "1,Row,han,ours,none,coco,yes"


def write_table(folder, *lines, header=HEADER):
    path = folder / "table.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_the_shipped_table_names_every_row_of_the_papers_tables(experiments):
    paper = pd.read_csv(ROOT / "config/paper_results.csv")
    for table in (1, 2, 4):
        part = paper[paper["table"] == table]
        published = {tuple(row) for row in part[["row", "target", "subnetwork", "freeze"]].to_numpy()}
        ours = {(row.row, row.target, row.subnetwork, row.freeze) for row in experiments if row.table == table}
        assert published <= ours
        assert {subnetwork for _, _, subnetwork, _ in ours - published} <= {"distilled"}


def test_each_target_has_its_unpruned_control(experiments):
    controls = {row.target for row in experiments if row.table == 1 and row.subnetwork == "distilled"}
    assert controls == {"han", "deeplabv3", "fcclip"}


@pytest.mark.workflow
def test_the_workflow_can_read_the_table_without_heavy_imports():
    code = "import sys, opentrans.runs.table; print({'torch', 'pandas', 'pydantic', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,Row,sam,ours,none,all,yes", "line 2, column target: 'sam' is none of han"),
        ("1,Row,han,lottery,none,all,yes", "line 2, column subnetwork: 'lottery'"),
        ("1,Row,han,ours,half,all,yes", "line 2, column freeze: 'half'"),
        ("1,Row,han,ours,none,coco lvis,yes", "line 2, column benchmarks: 'lvis'"),
        ("1,Row,han,ours,none,,yes", "line 2, column benchmarks: ''"),
        ("1,Row,han,ours,none,all,maybe", "line 2, column evaluate: 'maybe'"),
        ("one,Row,han,ours,none,all,yes", "line 2, column table: 'one'"),
        ("1,,han,ours,none,all,yes", "line 2, column row: ''"),
        ("1,Row,han", "row 1: has not the 7 cells of the header"),
    ],
)
def test_a_wrong_cell_is_named_by_file_row_and_column(tmp_path, config, line, message):
    with pytest.raises(UserError, match=message) as error:
        read_experiments(write_table(tmp_path, line), config)
    assert "table.csv" in str(error.value)


def test_repeated_labels_missing_columns_and_empty_tables_are_refused(tmp_path, config):
    with pytest.raises(UserError, match="line 3, column row: 'Row' occurs twice in table 1"):
        read_experiments(write_table(tmp_path, GOOD, GOOD), config)
    with pytest.raises(UserError, match="column target, subnetwork"):
        read_experiments(write_table(tmp_path, GOOD, header="table,row,freeze,benchmarks,evaluate"), config)
    with pytest.raises(UserError, match="holds no experiment"):
        read_experiments(write_table(tmp_path), config)


def test_benchmarks_are_in_the_configurations_order(tmp_path, config):
    (row,) = read_experiments(write_table(tmp_path, "1,Row,han,ours,none,pas20 coco,yes"), config)
    assert row.benchmarks == ("coco", "pas20")
    (row,) = read_experiments(write_table(tmp_path, "1,Row,han,ours,none,all,yes"), config)
    assert row.benchmarks == tuple(config.benchmarks)


def test_rows_that_mean_the_same_run_share_it(tmp_path, config):
    lines = ["1,A,han,dense,none,coco,yes", "2,B,han,dense,none,pc59 coco,yes", "4,C,han,ours,none,all,no"]
    experiments = read_experiments(write_table(tmp_path, *lines), config)
    dense, ours = RunId("han", "dense", "none", 0), RunId("han", "ours", "none", 0)
    assert runs_of(experiments, (1, 2, 4), [0]) == [dense, ours]
    assert runs_of(experiments, (1, 2, 4), [0], evaluated_only=True) == [dense]
    assert runs_of(experiments, (1,), [0, 1]) == [dense, RunId("han", "dense", "none", 1)]


def test_an_unknown_name_lists_what_there_is():
    assert get_named({"a": 1}, "a", "--target") == 1
    with pytest.raises(UserError, match="--target: 'c' is none of a, b"):
        get_named({"a": 1, "b": 2}, "c", "--target")
