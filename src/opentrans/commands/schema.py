"""The JSON schema of configuration files, from their typed definition."""

import argparse
from pathlib import Path

HELP = "write the JSON schema of the configuration (editors complete and check with it)"
GROUP = "maintenance"
HAS_PROVENANCE = False  # its output is no result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--output", type=Path, required=True)


def run(args: argparse.Namespace) -> None:
    """Write the schema."""
    from opentrans.config.schema import describe_files
    from opentrans.system.files import write_json

    write_json(args.output, describe_files())
