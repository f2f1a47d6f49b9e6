"""``verify``: whether results still are what their provenance records say."""

import argparse
import sys
from pathlib import Path

HELP = "check results and their inputs against their hashes"
GROUP = "use"
EXAMPLE = "opentrans verify results/mini"
NEEDS_CONFIG = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("results", type=Path, metavar="RESULTS", help="folder of results, for example results/mini")


def run(args: argparse.Namespace) -> None:
    """Print a line for each thing that differs; a file that differs is an error, other code or versions are not."""
    from opentrans.errors import UserError
    from opentrans.runs.provenance import verify
    from opentrans.system.files import require_folder

    records: list[Path] = []
    findings = verify(require_folder(args.results, "give the folder of results"), records.append)
    for finding in findings:
        kind = "differs" if finding.fatal else "note"
        print(f"{kind}: {finding.where}: {finding.problem}")
    fatal = sum(finding.fatal for finding in findings)
    if fatal:
        raise UserError(args.results, f"{fatal} files differ from {len(records)} records", "make them again")
    print(f"{len(records)} records, all files match", file=sys.stderr)
