"""Command ``make-world``: the embedded mini world in the official layouts."""

import argparse
from pathlib import Path

HELP = "write the mini world (images, labels, captions) in the official layouts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--output", type=Path, required=True, help="folder to write (replaced if it holds a world)")


def run(args: argparse.Namespace) -> None:
    """Make the world."""
    from opentrans.errors import UserError
    from opentrans.world.make import make_world

    if args.config.world is None:
        raise UserError("config: world", "this configuration describes no mini world", "use config/mini.yaml")
    make_world(args.config.world, args.output)
