"""``doctor``: what stands in the way of a run on this machine, before anything is started."""

import argparse
import sys

HELP = "see what stands in the way of a run on this machine"
GROUP = "use"
EXAMPLE = "opentrans doctor --config config/paper.yaml"
HAS_PROVENANCE = False  # it writes no result
EXIT_PROBLEM = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    network = "also ask whether the teacher's weights can be downloaded"
    parser.add_argument("--network", action="store_true", help=network)


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
