import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from opentrans.cli import main
from opentrans.config import load_config
from opentrans.doctor import diagnose as doctor
from opentrans.doctor.checks import Check, attempt, fault, fine
from opentrans.doctor.diagnose import MachineFacts, diagnose, judge_space, look_around
from opentrans.doctor.disk import FileSystem
from opentrans.doctor.graphics import Gpu, TorchBuild
from opentrans.doctor.inputs import TeacherWeights
from opentrans.doctor.sizes import DiskNeed
from opentrans.doctor.slurm import NodeKind
from opentrans.doctor.software import Environment
from opentrans.errors import UserError

GIB = 2**30
CARD = Gpu("Quadro RTX 5000", 16 * GIB, 16 * GIB, (7, 5), "580.65.06")
OLD_DRIVER = (replace(CARD, driver="535.104.05"),) * 8
SERVER = MachineFacts(
    python=(3, 11, 9),
    environment=Environment("virtual"),
    torch=TorchBuild("2.15.0+cu132", "13.2", 8, ("sm_75", "sm_80")),
    gpus=(CARD,) * 8,
    cores=64,
    shared_memory=8 * GIB,
)
LOGIN = replace(SERVER, gpus=(), torch=replace(SERVER.torch, visible=0), slurm=True)


@pytest.fixture(scope="module")
def paper():
    return load_config([Path("config/config.yaml"), Path("config/paper.yaml")])


@pytest.fixture(autouse=True)
def _no_open_clip(monkeypatch):
    """The teacher's weights have tests of their own; open_clip takes seconds to load."""
    monkeypatch.setattr(doctor, "find_teacher", lambda *_: TeacherWeights("random"))


def get_report(config, machine):
    """Topic -> levels of its checks; what depends on this machine's disk and data is left out."""
    report = {}
    for check in diagnose(config, machine):
        if check.topic not in ("data", "teacher", "disk", "inodes"):
            report.setdefault(check.topic, []).append(check.level)
    return report


def get_faults(config, machine):
    return {topic for topic, levels in get_report(config, machine).items() if set(levels) != {"ok"}}


def test_server_of_eight_cards_of_16_gb_suits_the_papers_run(paper):
    assert get_faults(paper, SERVER) == set()


@pytest.mark.parametrize(
    ("change", "topics"),
    [
        ({"gpus": (), "torch": replace(SERVER.torch, visible=0)}, {"GPUs"}),
        (
            {"gpus": (replace(CARD, driver="535.104.05"),) * 8, "torch": replace(SERVER.torch, visible=0)},
            {"driver", "torch"},
        ),
        ({"torch": replace(SERVER.torch, cuda=None, visible=0, architectures=())}, {"torch"}),
        ({"gpus": (replace(CARD, capability=(7, 0)),) * 8}, {"GPUs"}),
        ({"torch": replace(SERVER.torch, visible=2), "visible": "0,1"}, {"torch"}),
        ({"torch": None}, {"torch"}),
        ({"cores": 16}, {"CPU cores"}),
        ({"shared_memory": 64_000_000}, {"/dev/shm"}),
        ({"python": (3, 10, 0)}, {"Python"}),
        ({"environment": Environment("conda", {"torch": ("2.13.0", "2.15.0")})}, {"environment"}),
        ({"missing": {"": ["torch"]}}, {"packages"}),
    ],
)
def test_what_is_wrong_with_a_machine_is_told_and_nothing_else(paper, change, topics):
    assert get_faults(paper, replace(SERVER, **change)) == topics


def test_login_node_is_not_judged_by_its_own_hardware(paper):
    nodes = (NodeKind("gpu", True, None, 64, 500_000, 8),)
    report = get_report(paper, replace(LOGIN, nodes=nodes))
    assert report["hardware"] == ["ok"]
    assert report["SLURM"] == ["ok", "ok"]
    assert "GPUs" not in report


def test_partition_of_a_day_is_a_problem_for_the_papers_run(paper):
    nodes = (NodeKind("gpu", True, 1440, 64, 500_000, 8),)
    assert get_report(paper, replace(LOGIN, nodes=nodes))["SLURM"] == ["ok", "problem"]


def test_job_on_a_node_is_judged_by_the_nodes_hardware(paper):
    report = get_report(paper, replace(SERVER, slurm=True, in_job=True, cores=8))
    assert report["CPU cores"] == ["warning"]


def test_file_systems_are_judged_together_only_where_they_are_one():
    data, results = (FileSystem(Path(name), number, int(1e9), None) for number, name in enumerate(("data", "results")))
    need = [DiskNeed("x", 8e8, 1)]
    assert [check.topic for check in judge_space((data, need), (results, need), (0, 0))] == ["disk", "inodes"] * 2
    one = list(judge_space((data, need), (replace(results, device=0), need), (0, 0)))
    assert [check.level for check in one] == ["problem", "ok"]


def test_experiment_table_that_is_wrong_does_not_end_the_look_at_the_rest(paper, tmp_path):
    wrong = paper.model_copy(update={"experiments": str(tmp_path / "absent.csv")})
    report = get_report(wrong, SERVER)
    assert report["plan"] == ["problem"]
    assert report["GPUs"] == ["ok"]


def raise_error(error):
    raise error


def test_check_that_breaks_does_not_end_the_report():
    (check,) = attempt("GPUs", lambda: raise_error(ZeroDivisionError("odd machine")))
    assert (check.level, check.text) == ("warning", "could not be checked (ZeroDivisionError: odd machine)")
    (check,) = attempt("plan", lambda: raise_error(UserError("table", "is wrong", "mend it")))
    assert check == fault("plan", "table: is wrong", "mend it")


def test_lines_are_aligned_and_of_bounded_width():
    text = Check("problem", "disk", "word " * 40, "set CONDA_OVERRIDE_CUDA " * 8).format()
    lines = text.splitlines()
    assert all(len(line) <= 110 for line in lines)
    assert lines[0].startswith("problem  disk           word")
    assert all(line.startswith(" " * 24) for line in lines[1:])
    assert fine("Python", "3.11").format() == "ok       Python         3.11"


def test_mini_profile_is_fit_to_run_on_this_machine(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^ok +torch +2\.", out, re.MULTILINE)
    assert re.search(r"^ok +data ", out, re.MULTILINE)
    assert "\nprofile mini: problems 0" in out


def test_missing_data_are_a_problem_and_the_exit_status_is_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "find_torch", lambda: SERVER.torch)
    overlay = tmp_path / "own.yaml"
    overlay.write_text(yaml.safe_dump({"profile": "own", "data": {"raw_root": str(tmp_path / "absent")}}))
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--config", "config/config.yaml", str(overlay)])
    assert end.value.code == 1
    assert re.search(r"^problem +data ", capsys.readouterr().out, re.MULTILINE)


def test_machine_with_pretended_programs_is_read(tmp_path, monkeypatch):
    programs = {
        "nvidia-smi": "echo 'Tesla T4, 15360, 15000, 7.5, 580.65.06'",
        "sinfo": "echo 'gpu*|1-00:00:00|32|380000|gpu:t4:4|up'",
        "sbatch": "true",
        "conda": "true",
    }
    for name, line in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(doctor, "find_torch", lambda: None)
    machine = look_around()
    assert machine.gpus == (Gpu("Tesla T4", 15360 * 2**20, 15000 * 2**20, (7, 5), "580.65.06"),)
    assert machine.nodes == (NodeKind("gpu", True, 1440, 32, 380_000, 4),)
    assert machine.conda.program
    assert machine.slurm
