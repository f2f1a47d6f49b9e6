"""``data check``: which downloads the configuration needs, what is there, and what to do about the rest."""

import argparse
import sys
from pathlib import Path

HELP = "check the downloads that the configuration needs"
GROUP = "use"
EXAMPLE = "opentrans data check --config config/paper.yaml"
EXIT_MISSING = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="tell what is there, what is missing and what to do")
    check.add_argument("--config", type=Path, nargs="+", default=argparse.SUPPRESS, help="as before the action")
    check.add_argument("--deep", action="store_true", help="decode every image and label map too (hours for COCO)")
    check.add_argument("--workers", type=int, default=0, help="processes of --deep; default: threads.prepare")


def run(args: argparse.Namespace) -> None:
    """Print a table; exit status 1 if something is missing or wrong."""
    from tabulate import tabulate

    from opentrans.data.check import check_downloads

    findings = check_downloads(args.config, args.deep, args.workers or args.config.threads.prepare)
    rows = [[f.dataset, f.split, f.images, f.classes, f.state] for f in findings]
    print(tabulate(rows, ["data set", "split", "images", "classes", "state"], tablefmt="simple", missingval="-"))
    failed = [finding for finding in findings if finding.problem]
    for finding in failed:
        print(f"\n{finding.dataset} {finding.split}: {finding.problem}")
        if finding.missing:
            print(f"  missing: {', '.join(finding.missing)}")
        print(f"  to do: {finding.remedy}")
    whole = len(findings) - len(failed)
    print(f"\n{whole} of {len(findings)} are there; docs/data.md says where each one comes from")
    if failed:
        sys.exit(EXIT_MISSING)
