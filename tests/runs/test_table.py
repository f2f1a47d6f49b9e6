import subprocess
import sys

import pytest

from builders import ROOT
from opentrans.config import read_config_file
from opentrans.errors import UserError
from opentrans.runs.paper import read_paper
from opentrans.runs.table import EXPERIMENT_FIELDS, RunId, get_named, read_experiments, runs_of

HEADER = ",".join(EXPERIMENT_FIELDS)
GOOD = "a,1,Row,han,ours,none,coco,yes"


PAPER = ROOT / "config/paper_results.csv"


@pytest.fixture(scope="module")
def paper():
    return read_paper(PAPER)


def write_table(folder, *lines, header=HEADER):
    path = folder / "table.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_every_row_of_the_papers_tables_is_an_experiment_of_that_label(experiments, paper):
    ours = {row.id: (row.table, row.row) for row in experiments if not row.id.startswith("own_")}
    papers = {row.id: (row.table, row.label) for row in paper.values() if not row.from_literature}
    assert ours == papers
    assert {table for table, _ in ours.values()} == set(range(1, 11))


def test_what_is_not_in_the_paper_is_marked_as_our_own(experiments, paper):
    own = {row.id for row in experiments if row.id.startswith("own_")}
    controls = ("distilled", "random_distilled", "random_distilled_layers")
    wanted = {f"own_{target}_{name}" for target in ("han", "deeplabv3", "fcclip") for name in controls}
    recipes = ("vgkd", "tgkd_t1000", "tgkd_t100", "tgkd_p30_t1000", "tgkd_p50_t1000")
    assert own == wanted | {"own_fcclip_trained_ours"} | {f"own_deeplabv3_{name}" for name in recipes}
    assert not own & paper.keys()


def test_literature_is_quoted_in_table_3_and_never_an_experiment(experiments, paper):
    literature = [row for row in paper.values() if row.from_literature]
    assert {row.table for row in literature} == {3}
    assert not {row.id for row in literature} & {row.id for row in experiments}


def test_an_id_says_which_table_its_row_is_of(experiments, paper):
    for row in [*paper.values(), *experiments]:
        assert row.id.startswith((f"t{row.table}_", "own_")), row.id


def test_the_papers_values_cover_what_its_rows_are_evaluated_on(experiments, paper):
    """Except ADE-847 of DeepLabV3, which the paper leaves out."""
    for row in experiments:
        if row.evaluate and row.id in paper:
            missing = set(row.benchmarks) - paper[row.id].values.keys()
            assert missing <= ({"ade847"} if row.target == "deeplabv3" else set()), row.id


@pytest.mark.parametrize("control", ["distilled", "random_distilled", "random_distilled_layers"])
def test_each_target_has_its_controls(experiments, control):
    controls = {row.target for row in experiments if row.table == 1 and row.subnetwork == control}
    assert controls == {"han", "deeplabv3", "fcclip"}


@pytest.mark.workflow
def test_the_workflow_can_read_the_table_without_heavy_imports():
    code = "import sys, opentrans.runs.table; print({'torch', 'pandas', 'pydantic', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,1,Row,sam,ours,none,all,yes", "line 2, column target: 'sam' is none of han"),
        ("a,1,Row,han,lottery,none,all,yes", "line 2, column subnetwork: 'lottery'"),
        ("a,1,Row,han,ours,half,all,yes", "line 2, column freeze: 'half'"),
        ("a,1,Row,han,ours,none,coco lvis,yes", "line 2, column benchmarks: 'lvis'"),
        ("a,1,Row,han,ours,none,,yes", "line 2, column benchmarks: ''"),
        ("a,1,Row,han,ours,none,all,maybe", "line 2, column evaluate: 'maybe'"),
        ("a,one,Row,han,ours,none,all,yes", "line 2, column table: 'one'"),
        ("a,1,,han,ours,none,all,yes", "line 2, column row: ''"),
        ("a,1,Row,han", "row 1: has not the 8 cells of the header"),
    ],
)
def test_a_wrong_cell_is_named_by_file_row_and_column(tmp_path, config, line, message):
    with pytest.raises(UserError, match=message) as error:
        read_experiments(write_table(tmp_path, line), config)
    assert "table.csv" in str(error.value)


def test_repeated_labels_missing_columns_and_empty_tables_are_refused(tmp_path, config):
    with pytest.raises(UserError, match="line 3, column row: 'Row' occurs twice in table 1"):
        read_experiments(write_table(tmp_path, GOOD, GOOD.replace("a,", "b,")), config)
    with pytest.raises(UserError, match="line 3, column id: 'a' occurs twice; give each row an id of its own"):
        read_experiments(write_table(tmp_path, GOOD, GOOD.replace("Row", "Other")), config)
    with pytest.raises(UserError, match="column id, target, subnetwork is missing"):
        read_experiments(write_table(tmp_path, GOOD, header="table,row,freeze,benchmarks,evaluate"), config)
    with pytest.raises(UserError, match="holds no experiment"):
        read_experiments(write_table(tmp_path), config)


def test_benchmarks_are_in_the_configurations_order(tmp_path, config):
    (row,) = read_experiments(write_table(tmp_path, "a,1,Row,han,ours,none,pas20 coco,yes"), config)
    assert row.benchmarks == ("coco", "pas20")
    (row,) = read_experiments(write_table(tmp_path, "a,1,Row,han,ours,none,all,yes"), config)
    assert row.benchmarks == tuple(config.benchmarks)


def test_rows_that_mean_the_same_run_share_it(tmp_path, config):
    lines = ["a,1,A,han,dense,none,coco,yes", "b,2,B,han,dense,none,pc59 coco,yes", "c,4,C,han,ours,none,all,no"]
    experiments = read_experiments(write_table(tmp_path, *lines), config)
    dense, ours = RunId("han", "dense", "none", 0), RunId("han", "ours", "none", 0)
    assert runs_of(experiments, (1, 2, 4), [0]) == [dense, ours]
    assert runs_of(experiments, (1, 2, 4), [0], evaluated_only=True) == [dense]
    assert runs_of(experiments, (1,), [0, 1]) == [dense, RunId("han", "dense", "none", 1)]


def test_an_unknown_name_lists_what_there_is():
    assert get_named({"a": 1}, "a", "--target") == 1
    with pytest.raises(UserError, match="--target: 'c' is none of a, b"):
        get_named({"a": 1, "b": 2}, "c", "--target")


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_what_a_shipped_profile_skips_is_in_the_table(path, experiments):
    """A table of one's own may lack what `base.yaml` skips, so that nothing else would notice a wrong name."""
    skipped = read_config_file(path).get("skip", [])
    assert len(set(skipped)) == len(skipped)
    assert set(skipped) <= {row.id for row in experiments}
