"""``doctor``: what stands in the way of a run on this machine, before anything is started."""

import argparse
import sys

HELP = "look before you leap: software, GPUs, disk, data, SLURM and the plan, each with a remedy"
GROUP = "use"
HAS_PROVENANCE = False  # it writes no result
EXIT_PROBLEM = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--network", action="store_true", help="also ask whether the teacher's weights can be downloaded"
    )


def run(args: argparse.Namespace) -> None:
    """Print each finding as it comes; exit status 1 on a problem."""
    from opentrans.doctor.checks import count_levels
    from opentrans.doctor.diagnose import diagnose, look_around

    checks = []
    for check in diagnose(args.config, look_around(), args.network):
        print(check.format(), flush=True)
        checks.append(check)

    counts = count_levels(checks)
    print(f"\nprofile {args.config.profile}: problems {counts['problem']}, warnings {counts['warning']}")
    if counts["problem"]:
        sys.exit(EXIT_PROBLEM)
