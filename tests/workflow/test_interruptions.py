"""The whole graph, killed in its trainings and started again, ends with an uninterrupted one's bytes; its records."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opentrans.runs.provenance import FIELDS, SUFFIX, read_record, verify
from opentrans.system.files import HASH_SUFFIX

pytestmark = pytest.mark.workflow

NO_RESULTS = ("logs", "benchmarks", "config")  # what Snakemake and the set-up write: no command's output
ROOT = Path(__file__).parents[2]
RUN = "training/han/dense/alpha_bottom50/seed0"
STAGES = {
    "search": "subnetworks/ours/seed0/subnetwork",
    "warm-up": "warm_ups/han/dense/seed0/checkpoint",
    "fine-tuning": f"{RUN}/checkpoint",
}
COMPARED = [*(path.rsplit("/", 1)[0] for path in STAGES.values()), "freeze_plans/han/dense/alpha_bottom50/seed0"]


@pytest.fixture
def unfinished_graph(finished, tmp_path):
    """The finished graph without one search, one warm-up, the plan and the run that follow it."""
    folder = tmp_path / "project"
    shutil.copytree(finished.folder, folder, symlinks=True)
    for name in COMPARED:
        shutil.rmtree(folder / "results/tiny" / name)
    return type(finished)(folder)


def start(project, stage):
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow/Snakefile", "--cores", "1"]
    command += ["--directory", project.folder, "--configfile", project.folder / "tiny.yaml", "--rerun-incomplete"]
    command += [f"results/tiny/{STAGES[stage]}.safetensors"]
    environment = os.environ | {"HOME": str(project.folder)}
    return subprocess.Popen(
        [str(word) for word in command],
        cwd=project.folder,
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def wait_for_state(project, stage, process):
    """Wait until a training has saved a state that it can go on from."""
    folder = project.results / f"{STAGES[stage]}.unfinished"
    end = time.monotonic() + 240
    while time.monotonic() < end and process.poll() is None:
        if any(folder.glob("0*.safetensors")):
            return
        time.sleep(0.002)
    raise AssertionError(process.stdout.read().decode() + project.logs())


def find_job(folder):
    """The process that trains below `folder`."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"opentrans" in words and (entry / "cwd").readlink() == folder.resolve():
                return int(entry.name)
        except OSError:
            continue
    return None


def kill_graph(project, stage):
    process = start(project, stage)
    wait_for_state(project, stage, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    project.snakemake("--unlock")


def test_a_graph_killed_in_every_training_ends_with_the_same_bytes(unfinished_graph, finished):
    project = unfinished_graph
    kill_graph(project, "search")
    process = start(project, "warm-up")
    wait_for_state(project, "warm-up", process)
    job = find_job(project.folder)
    assert job is not None
    os.kill(job, signal.SIGTERM)
    output = process.communicate()[0].decode()
    assert process.returncode != 0, output
    assert "interrupted by SIGTERM" in project.logs()
    assert any((project.results / f"{STAGES['warm-up']}.unfinished").glob("0*.safetensors"))
    kill_graph(project, "fine-tuning")
    # By name: Snakemake does not remake a file whose descendants are all there.
    project.snakemake("--rerun-incomplete", "all", *(f"results/tiny/{path}.safetensors" for path in STAGES.values()))
    for folder in COMPARED:
        names = sorted(path.name for path in (finished.results / folder).iterdir())
        assert sorted(path.name for path in (project.results / folder).iterdir()) == names
        for name in names:
            same = (project.results / folder / name).read_bytes() == (finished.results / folder / name).read_bytes()
            assert same, f"{folder}/{name}"
    for table in sorted((finished.results / "tables").rglob("*.csv")):
        assert (project.results / table.relative_to(finished.results)).read_bytes() == table.read_bytes()


def test_a_second_workflow_in_the_same_folder_is_refused(unfinished_graph):
    first = start(unfinished_graph, "search")
    try:
        wait_for_state(unfinished_graph, "search", first)
        os.killpg(first.pid, signal.SIGSTOP)  # or it may be through before the second one looks
        second = unfinished_graph.snakemake(check=False)
        assert second.returncode != 0
        assert "lock" in (second.stdout + second.stderr).casefold()
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


def test_a_dry_run_with_other_settings_leaves_a_running_workflow_alone(finished):
    before = {path: path.read_bytes() for path in (finished.results / "config").iterdir()}
    (finished.folder / "other.yaml").write_text("costs: {image_size: [128, 64]}")
    finished.snakemake("--configfile", finished.folder / "tiny.yaml", finished.folder / "other.yaml", "-n")
    after = {path: path.read_bytes() for path in (finished.results / "config").iterdir()}
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1


def test_the_results_of_the_graph_verify(finished):
    result = subprocess.run(
        [sys.executable, "-m", "opentrans", "verify", finished.results], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "all files match" in result.stderr


@pytest.fixture
def records(finished):
    return {path: read_record(path) for path in sorted(finished.results.rglob(f"*{SUFFIX}"))}


def test_every_file_of_the_results_is_named_by_a_record(finished, records):
    named = {(path.parent / name).resolve() for path, content in records.items() for name in content["outputs"]}
    found = {path.resolve() for path in finished.results.rglob("*") if path.is_file()}
    for path in sorted(found - named):
        inside = path.relative_to(finished.results.resolve())
        assert inside.parts[0] in NO_RESULTS or path.name.endswith((SUFFIX, HASH_SUFFIX)), inside


def test_every_record_is_full(finished, records):
    assert len({content["command"] for content in records.values()}) >= 15
    for path, content in records.items():
        assert set(FIELDS) <= content.keys()
        assert re.fullmatch("[0-9a-f]{16}", content["code"]), path
        assert re.fullmatch("[0-9a-f]{64}", content["configuration_sha256"]), path
        assert {"opentrans", "Python", "torch", "numpy"} <= content["versions"].keys()
        assert {"processor", "memory", "system"} <= content["hardware"].keys()
        assert content["outputs"]
        assert all(re.fullmatch("[0-9a-f]{64}", value) for value in content["inputs"].values())
        assert any(name.endswith(".yaml") for name in content["inputs"]), path  # the configuration at least
        if content["command"] in ("train", "find-subnetwork"):
            assert content["seed"] == 0
            assert len(content["inputs"]) >= 5


def test_a_change_of_any_kind_of_result_is_found(finished, records, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished.folder, copy, symlinks=True)
    changed = {}
    for path, content in records.items():
        for name in content["outputs"]:
            changed.setdefault((content["command"], name.rsplit(".", 1)[-1]), path.parent / name)
    for path in changed.values():
        spoilt = copy / path.resolve().relative_to(finished.folder.resolve())
        spoilt.write_bytes(spoilt.read_bytes() + b" ")
    problems = [finding.problem for finding in verify(copy / finished.results.relative_to(finished.folder))]
    for (command, _), path in changed.items():
        assert any(path.name in problem and "changed since" in problem for problem in problems), (command, path)
