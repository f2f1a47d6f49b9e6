"""``record-settings``: everything the results depend on, in one file that DVC compares key by key."""

import argparse

from opentrans.commands._arguments import add_output

HELP = "write the merged configuration, the runs it asks for and a digest of every command's sources"
GROUP = "maintenance"
HAS_PROVENANCE = False  # its output is no result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--profile", help="refuse a configuration that names another profile")
    add_output(parser, "settings.json")


def run(args: argparse.Namespace) -> None:
    """Check the configuration against its experiment table and write what they come to."""
    from opentrans.errors import UserError
    from opentrans.runs.fingerprint import describe_settings
    from opentrans.system.files import write_json

    if args.profile not in (None, args.config.profile):
        problem = f"is {args.config.profile!r}, but {args.profile!r} is asked for"
        raise UserError("configuration: profile", problem, f"write `profile: {args.profile}` into the overlay")
    write_json(args.output, describe_settings(args.config))
