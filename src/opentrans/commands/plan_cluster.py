"""``plan-cluster``: the GPU jobs of a profile with their steps and GPU-hours, before anything is submitted."""

import argparse
from pathlib import Path

HELP = "list the GPU jobs of a profile: how many, GPUs and steps of each, GPU-hours, also by table"
GROUP = "maintenance"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--seconds",
        nargs="*",
        default=[],
        metavar="JOB=SECONDS",
        help="seconds of one step where you have measured them, for example train=0.6; otherwise 1",
    )


def run(args: argparse.Namespace) -> None:
    """Print two Markdown tables: by kind of job for the profile's tables, and by table for all there are."""
    from tabulate import tabulate

    from opentrans.costs.workload import Job, group_jobs, plan_jobs
    from opentrans.doctor.sizes import count_images
    from opentrans.runs.table import read_experiments

    config = args.config
    seconds = dict(parse_seconds(entry) for entry in args.seconds)
    experiments = read_experiments(Path(config.experiments), config)
    images = count_images(config)

    def get_hours(job: Job) -> float:
        return job.get_gpu_hours(seconds.get(job.kind.split()[0], 1.0))

    jobs = plan_jobs(config, experiments, config.tables, images)
    rows: list[list[object]] = []
    for work in group_jobs(jobs):
        hours = work.get_gpu_hours(seconds.get(work.name.split()[0], 1.0))
        rows.append([work.name, work.jobs, work.gpus, work.steps, hours])
    rows.append(["all", len(jobs), None, None, sum(map(get_hours, jobs))])
    headers = ["job", "jobs", "GPUs of each", "steps of each", "GPU-hours"]
    print(tabulate(rows, headers, tablefmt="github", floatfmt=".0f", intfmt=","))

    # Tables share runs: what a table adds is what those before it do not make.
    made = set[Job]()
    tables: list[list[object]] = []
    for number in sorted({row.table for row in experiments}):
        needed = set(plan_jobs(config, experiments, [number], images))
        added = needed - made
        made |= needed
        tables.append([number, len(needed), sum(map(get_hours, needed)), len(added), sum(map(get_hours, added))])
    tables.append(["all", None, None, len(made), sum(map(get_hours, made))])
    print()
    headers = ["table", "jobs", "GPU-hours", "jobs it adds", "GPU-hours it adds"]
    print(tabulate(tables, headers, tablefmt="github", floatfmt=".0f", intfmt=","))


def parse_seconds(entry: str) -> tuple[str, float]:
    """A ``JOB=SECONDS`` pair."""
    from opentrans.errors import UserError

    name, _, value = entry.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise UserError(f"--seconds {entry}", "is not JOB=SECONDS", "write for example train=0.6") from None
