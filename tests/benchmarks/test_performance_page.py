import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import page

ROOT = Path(__file__).parents[2]


def make_record(ours, theirs, goal, **more):
    sides = {"us": {"cpu_s": ours, "min_s": 9.0}, "them": {"cpu_s": theirs, "min_s": 9.0}}
    machine = {"cores": 2, "cpu": "a processor", "versions": {}}
    return {"title": "Task", "ours": "us", "peers": ["them"], "sides": sides, "goal": goal, "threads": 1,
            "machine": machine, "load": 1.0, "curve": [], **more}  # fmt: skip


@pytest.mark.parametrize(("theirs", "verdict"), [(6.0, "yes"), (3.0, "**no**")])
def test_the_table_of_goals_says_what_is_reached(theirs, verdict):
    head, *_, row = page._goals([{"task": make_record(2.0, theirs, {"speed": 2})}])
    assert head.startswith(f"{int(verdict == 'yes')} of 1 goals")
    assert row == (
        f"| Task, 1 thread: speed at least 2 times the strongest peer's | {verdict} | {theirs / 2:.2f}x | 1.0 |"
    )


def test_two_processes_are_judged_by_the_clock():
    (row,) = page._list_goals({"task": make_record(2.0, 20.0, {"speed": 2}, processes=2)})
    assert not row["reached"]
    assert row["goal"].startswith("Task, 2 processes")


@pytest.mark.parametrize(("power", "reached"), [(1, True), (1.5, False)])
def test_growth_is_the_slope_of_the_logarithms(power, reached):
    points = {str(x): make_record(0.1 * x**power, 1.0, {}, curve=["things", x], work=1) for x in (10, 20, 80)}
    (row,) = page._list_goals(points)
    assert row["value"] == f"exponent {power:.2f}"
    assert row["reached"] == reached
    (slope, steepest) = page._growth(list(points.values()), "us")["cpu_s"]
    assert slope == pytest.approx(steepest) == pytest.approx(power)


def test_a_goal_measured_while_others_used_the_machine_says_so():
    assert page._load(make_record(1, 1, {}) | {"load": 2.1}) == "2.1"
    assert page._load(make_record(1, 1, {}) | {"load": 7.0}) == "7.0 (shared machine)"


@pytest.mark.workflow
def test_the_page_is_what_the_results_give():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.page", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_plot_of_the_page_is_there():
    page = (ROOT / "docs/performance.md").read_text()
    for name in re.findall(r"!\[.*?\]\((.*?)\)", page):
        assert (ROOT / "docs" / name).is_file(), name


def test_every_measurement_names_its_hardware_and_versions():
    for path in (ROOT / "benchmarks/results").glob("*.json"):
        for name, record in json.loads(path.read_text()).items():
            machine = record["machine"]
            assert machine["cpu"], (path.name, name)
            assert machine["cores"] >= 1, (path.name, name)
            assert machine["versions"]["torch"], (path.name, name)
