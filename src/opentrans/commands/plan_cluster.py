"""``plan-cluster``: the GPU jobs of a profile with their steps and GPU-hours, before anything is submitted."""

import argparse
from pathlib import Path

HELP = "list the GPU jobs of a profile: how many, GPUs and steps of each, GPU-hours"
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
    """Print a Markdown table."""
    from tabulate import tabulate

    from opentrans.costs.workload import plan_work
    from opentrans.data.downloads import DOWNLOADS
    from opentrans.runs.table import read_experiments

    seconds = dict(parse_seconds(entry) for entry in args.seconds)
    experiments = read_experiments(Path(args.config.experiments), args.config)
    images = {
        (name, split): download.counts[split][0] for name, download in DOWNLOADS.items() for split in download.counts
    }
    work = plan_work(args.config, experiments, images)
    hours = [each.get_gpu_hours(seconds.get(each.name.split()[0], 1.0)) for each in work]
    rows = [[each.name, each.jobs, each.gpus, each.steps, hour] for each, hour in zip(work, hours, strict=True)]
    rows.append(["all", sum(each.jobs for each in work), None, None, sum(hours)])
    headers = ["job", "jobs", "GPUs of each", "steps of each", "GPU-hours"]
    print(tabulate(rows, headers, tablefmt="github", floatfmt=".0f", intfmt=","))


def parse_seconds(entry: str) -> tuple[str, float]:
    """A ``JOB=SECONDS`` pair."""
    from opentrans.errors import UserError

    name, _, value = entry.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise UserError(f"--seconds {entry}", "is not JOB=SECONDS", "write for example train=0.6") from None
