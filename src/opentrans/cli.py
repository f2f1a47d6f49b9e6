"""``python -m opentrans COMMAND``: every step of the workflow, each of which also works alone.

A command is a module of `opentrans.commands` with ``HELP``, ``add_arguments(parser)`` and ``run(args)``. Only the
command that is called gets imported, so that ``--help`` and short jobs do not pay for torch. A command that works
outside a project says ``NEEDS_CONFIG = False``.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import opentrans
from opentrans import __version__
from opentrans.config import list_config_files, load_config
from opentrans.errors import UserError, explain
from opentrans.runs.code_digest import list_commands
from opentrans.system.files import forget_written
from opentrans.system.signals import INTERRUPTED_STATUS, Interrupted, catch_signals

DEFAULT_CONFIG = Path("config/config.yaml")
SPINS = "10000"
USER_ERROR_STATUS = 2


def import_command(command: str) -> ModuleType:
    """The module behind a command."""
    return importlib.import_module(f"opentrans.commands.{command.replace('-', '_')}")


def build_parser(commands: Sequence[str]) -> argparse.ArgumentParser:
    """A parser that knows the arguments of `commands`."""
    parser = argparse.ArgumentParser(prog="opentrans", description=opentrans.__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in commands:
        module = import_command(command)
        subparser = subparsers.add_parser(command, help=module.HELP, description=module.HELP)
        default = None if getattr(module, "OWN_CONFIG", False) else [DEFAULT_CONFIG]
        subparser.add_argument(
            "--config", type=Path, nargs="+", default=default, help="YAML files, later ones laid over earlier"
        )
        module.add_arguments(subparser)
    return parser


def spare_waiting_threads() -> None:
    """Let OpenMP threads spin for microseconds, not milliseconds, before they sleep; read when torch is loaded.

    Two threads lose nothing on an idle machine. Where another program runs, the default made the mini world's teacher
    seven times slower than one thread: the one that waits takes the core that the other one needs.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a `UserError` becomes one line on standard error and exit status 2, a signal 75."""
    spare_waiting_threads()
    words = list(sys.argv[1:] if arguments is None else arguments)
    wanted = [command for command in list_commands() if words[:1] == [command]]
    args = build_parser(wanted or list_commands()).parse_args(words)
    try:
        with catch_signals():
            run(args)
    except Interrupted as end:
        print(f"opentrans {args.command}: {end}", file=sys.stderr)
        return INTERRUPTED_STATUS
    except UserError as error:
        print(f"opentrans {args.command}: {error}", file=sys.stderr)
        return USER_ERROR_STATUS
    except BrokenPipeError:  # the reader of our output has gone: not an error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def run(args: argparse.Namespace) -> None:
    """Run the command and record where its results come from; what the machine does to it is a `UserError` too."""
    command = import_command(args.command)
    forget_written()
    try:
        files = args.config
        needed = getattr(command, "NEEDS_CONFIG", True) and files is not None
        args.config = load_config(files) if needed else None
        command.run(args)
        if args.config and getattr(command, "HAS_PROVENANCE", True):
            from opentrans.runs.provenance import write_provenance

            write_provenance(args, list_config_files(files))
    except BrokenPipeError:
        raise
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        raise known from error
