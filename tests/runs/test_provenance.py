import json
import shutil
from pathlib import Path

import pytest

from builders import ROOT, write_results
from opentrans import cli
from opentrans.runs.provenance import SUFFIX, verify

CONFIG = ROOT / "config/mini.yaml"


@pytest.fixture
def results(tmp_path, config, experiments):
    """A folder with a record: results.csv collected from evaluations."""
    evaluations, _ = write_results(tmp_path, config, experiments[:2], [0])
    folder = tmp_path / "results/mini"
    folder.mkdir(parents=True)
    (folder / "evaluations").mkdir()
    moved = [shutil.copy(path, folder / "evaluations") for path in evaluations]
    words = ["collect-results", "--config", CONFIG, "--evaluations", *moved, "--output", folder / "results.csv"]
    assert cli.main([str(word) for word in words]) == 0
    return folder


def call_verify(folder, capsys):
    status = cli.main(["verify", str(folder)])
    caught = capsys.readouterr()
    return status, caught.out + caught.err


def test_a_result_says_where_it_comes_from(results):
    record = json.loads((results / f"results.csv.collect-results{SUFFIX}").read_text())
    assert list(record["outputs"]) == ["results.csv"]
    configuration = {Path(name).name for name in record["inputs"] if not name.startswith("evaluations/")}
    assert configuration == {"mini.yaml", "base.yaml"}
    assert len(record["code"]) == 16
    assert len(record["configuration_sha256"]) == 64
    assert {"opentrans", "Python", "torch", "numpy"} <= set(record["versions"])
    assert "processor" in record["hardware"]
    assert "seed" in record


def test_the_same_result_has_the_same_record(results):
    record = results / f"results.csv.collect-results{SUFFIX}"
    before = record.read_bytes()
    moved = sorted((results / "evaluations").iterdir())
    words = ["collect-results", "--config", CONFIG, "--evaluations", *moved, "--output", results / "results.csv"]
    assert cli.main([str(word) for word in words]) == 0
    assert record.read_bytes() == before


def test_untouched_results_verify_also_elsewhere(results, tmp_path, capsys):
    assert call_verify(results, capsys) == (0, "1 records, all files match\n")
    record = results / f"results.csv.collect-results{SUFFIX}"
    content = json.loads(record.read_text())
    content["inputs"] = {name: value for name, value in content["inputs"].items() if "evaluations" in name}
    record.write_text(json.dumps(content))
    moved = Path(shutil.move(results, tmp_path / "moved"))
    assert call_verify(moved, capsys)[0] == 0


def test_a_changed_result_is_named(results, capsys):
    with (results / "results.csv").open("a") as stream:
        stream.write("x\n")
    status, text = call_verify(results, capsys)
    assert status == 2
    assert "results.csv changed since it was written" in text


def test_a_changed_input_is_named(results, capsys):
    path = sorted((results / "evaluations").iterdir())[0]
    path.write_text("{}")
    status, text = call_verify(results, capsys)
    assert status == 2
    assert f"input evaluations/{path.name} is not what this was made from" in text


def test_a_lost_file_is_named(results, capsys):
    (results / "results.csv").unlink()
    assert "output results.csv is gone" in call_verify(results, capsys)[1]


def test_other_code_and_versions_are_a_note(results, capsys):
    record = results / f"results.csv.collect-results{SUFFIX}"
    content = json.loads(record.read_text())
    content["code"], content["versions"]["numpy"] = "0" * 16, "1.0"
    record.write_text(json.dumps(content))
    status, text = call_verify(results, capsys)
    assert status == 0
    assert "note" in text
    assert "other code of collect-results" in text
    assert "numpy 1.0 (now" in text
    assert [finding.fatal for finding in verify(results)] == [False, False]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"command": 1}', "null", '"x"'])
def test_a_damaged_record_is_one_clear_line(results, content, capsys):
    (results / f"results.csv.collect-results{SUFFIX}").write_text(content)
    status, text = call_verify(results, capsys)
    assert status == 2
    assert text.count("\n") == 1


def test_a_folder_without_records_is_refused(tmp_path, capsys):
    assert call_verify(tmp_path, capsys)[0] == 2


def test_the_schema_gets_no_record(tmp_path):
    assert cli.main(["record-settings", "--config", str(CONFIG), "--output", str(tmp_path / "settings.json")]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]
