import os
import subprocess
import sys

import pytest

from opentrans import __version__
from opentrans.cli import SPINS, main, spare_waiting_threads
from opentrans.runs.code_digest import list_commands

EXPECTED = {
    "make-world", "prepare", "train-teacher", "import-teacher", "embed-vocabularies", "embed-regions",
    "find-subnetwork", "fit-alphas", "plan-freeze", "plan", "train", "evaluate", "profile-target", "count-costs",
    "compare-backbones", "data", "predict", "collect-results", "make-tables", "schema", "update-readme",
    "plot-results", "plot-subnetworks", "plot-training", "plot-alphas", "plot-predictions",
    "predict-benchmark", "make-report", "trace-alphas", "doctor",
}  # fmt: skip


def test_every_step_of_the_workflow_is_a_command():
    assert set(list_commands()) >= EXPECTED


@pytest.mark.parametrize("command", sorted(EXPECTED))
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert "--config" in capsys.readouterr().out


def test_bad_input_is_one_line_and_status_2(tmp_path, capsys):
    status = main(["schema", "--config", str(tmp_path / "none.yaml"), "--output", str(tmp_path / "schema.json")])
    error = capsys.readouterr().err
    assert status == 2
    assert error.count("\n") == 1
    assert "none.yaml" in error
    assert list(tmp_path.iterdir()) == []


def test_the_module_and_the_installed_command_answer():
    result = subprocess.run(
        [sys.executable, "-m", "opentrans", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == __version__


def test_help_does_not_import_torch():
    code = "import sys, opentrans.cli as cli; cli.build_parser(cli.list_commands()); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("given", "spins"), [({}, SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)]
)
def test_waiting_threads_sleep_soon_unless_the_user_says_otherwise(monkeypatch, given, spins):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    spare_waiting_threads()
    assert os.environ.get("GOMP_SPINCOUNT") == spins
