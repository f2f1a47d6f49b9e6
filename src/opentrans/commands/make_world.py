"""Command ``make-world``: the embedded mini world in the official layouts."""

import argparse

from opentrans.commands._arguments import add_output, add_seed

HELP = "write the mini world (images, labels, captions) in the official layouts"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_seed(parser, "world.seed")
    add_output(parser, "folder to write (replaced if it holds a world)")


def run(args: argparse.Namespace) -> None:
    """Make the world."""
    from opentrans.errors import UserError
    from opentrans.world.make import make_world

    if args.config.world is None:
        raise UserError("config: world", "this configuration describes no mini world", "use config/mini.yaml")
    world = args.config.world if args.seed is None else args.config.world.model_copy(update={"seed": args.seed})
    make_world(world, args.output)
