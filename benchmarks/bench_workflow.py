"""The main job as a new user's second command runs it: how long, and how much of it is not the jobs' own time.

A clone of the last commit is run by the environment that runs this file, so nothing is set up within the time.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from opentrans.config import load_config
from opentrans.reporting.jobs import RuleCost, read_costs_of_jobs

ROOT = Path(__file__).parent.parent
MINUTES, OVERHEAD = 6, 0.2
IMPORTS = ("opentrans.cli", "torch", "opentrans.models.deeplabv3", "opentrans.models.mask2former")
REPEATS = 3


def run_workflow(folder: Path) -> float:
    """Seconds that Snakemake takes in the clone `folder`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PATH": path}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "snakemake", "--cores", "all"], cwd=folder, env=environment,
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    return time.perf_counter() - start


def sum_core_seconds(costs: list[RuleCost], teacher_threads: int) -> float:
    """Seconds of the jobs, times the cores that they reserve: one, but the teacher's training."""
    return sum(cost.wall * (teacher_threads if cost.rule == "train_teacher" else 1) for cost in costs)


def bench_main_job(record: Callable[..., None]) -> None:
    """`make results` after set-up, and the same command when everything is there."""
    cores = len(os.sched_getaffinity(0))
    threads = load_config([ROOT / "config/mini.yaml"]).threads
    assert threads.run == threads.subnetwork == threads.prepare == 1

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "clone"
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        seconds, again = run_workflow(folder), run_workflow(folder)
        costs = read_costs_of_jobs(folder / "results/mini/benchmarks")

    share = sum_core_seconds(costs, threads.teacher) / (cores * seconds)
    rows = [
        {"rule": cost.rule, "jobs": cost.jobs, "seconds": f"{cost.wall:.1f}", "CPU seconds": f"{cost.cpu:.1f}",
         "largest, MB": f"{cost.memory:.0f}"} for cost in costs
    ]  # fmt: skip

    goals = [
        {"goal": f"`make results` after set-up, {cores} cores: at most {MINUTES} minutes",
         "reached": seconds <= 60 * MINUTES, "value": f"{seconds:.0f} s"},
        {"goal": f"Share of the cores' time that is not the jobs': below {OVERHEAD:.0%}",
         "reached": 1 - share < OVERHEAD, "value": f"{1 - share:.1%}"},
    ]  # fmt: skip
    facts = {"wall clock": f"{seconds:.0f} s", "the same command again": f"{again:.1f} s"}
    record("main job", {"title": "Jobs of the mini world's run", "rows": rows, "goals": goals, "facts": facts})


def bench_imports(record: Callable[..., None]) -> None:
    """Processor time until a module is there, in a process of its own; the fastest of a few."""
    rows = []
    for module in IMPORTS:
        times = []
        for _ in range(REPEATS):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True, cwd=ROOT)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        rows.append({"module": module, "CPU seconds": f"{min(times):.2f}"})
    record("imports", {"title": "What a job pays before it begins", "rows": rows})
