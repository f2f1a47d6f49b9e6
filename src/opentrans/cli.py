"""``opentrans COMMAND``: every step of the workflow, each of which also works alone.

``opentrans COMMAND ... --then COMMAND ...`` runs one after another in one process, which imports torch once.

A command is a module of `opentrans.commands` with ``HELP``, a ``GROUP`` of `GROUPS`, ``add_arguments(parser)`` and
``run(args)``; those that people use themselves have an ``EXAMPLE``. Only the command that is called gets imported, so
that short jobs do not pay for torch. A command that works outside a project says ``NEEDS_CONFIG = False``.
"""

import argparse
import difflib
import importlib
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from opentrans import __version__
from opentrans.errors import UserError, explain
from opentrans.runs.code_digest import list_commands
from opentrans.system.files import forget_written
from opentrans.system.signals import INTERRUPTED_STATUS, Interrupted, catch_signals

DEFAULT_CONFIG = Path("config/config.yaml")
SPINS = "10000"
USER_ERROR_STATUS = 2
THEN = "--then"
GROUPS = {"use": "Use", "workflow": "Steps of the workflow", "maintenance": "Maintenance"}
_WIDTH, _COLUMN = 80, 23  # of the help: all of it, and where a command's description begins


def import_command(command: str) -> ModuleType:
    """The module behind a command."""
    return importlib.import_module(f"opentrans.commands.{command.replace('-', '_')}")


def build_parser(command: str) -> argparse.ArgumentParser:
    """The parser of one command's arguments."""
    module = import_command(command)
    parser = argparse.ArgumentParser(prog=f"opentrans {command}", description=module.HELP)
    default = None if getattr(module, "OWN_CONFIG", False) else [DEFAULT_CONFIG]
    files = "YAML files, later ones override earlier ones"
    parser.add_argument("--config", type=Path, nargs="+", default=default, help=files)
    module.add_arguments(parser)
    parser.set_defaults(command=command)
    return parser


def format_help() -> str:
    """All commands, grouped by what a person wants; the first screen shows those that people use themselves."""
    lines = ["usage: opentrans COMMAND ...", "       opentrans COMMAND --help", "       opentrans --version"]
    modules = {command: import_command(command) for command in list_commands()}
    for group, title in GROUPS.items():
        lines += ["", f"{title}:"]
        for command, module in modules.items():
            if group == module.GROUP:
                lines += _describe_command(command, module)
    return "\n".join(lines) + "\n"


def _describe_command(command: str, module: ModuleType) -> list[str]:
    """Name and description, side by side; below them the example, which is one line to copy."""
    indent = " " * _COLUMN
    lines = textwrap.wrap(module.HELP, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    lines[0] = f"  {command}".ljust(_COLUMN) + lines[0].lstrip()
    return [*lines, f"      {module.EXAMPLE}"] if hasattr(module, "EXAMPLE") else lines


def spare_waiting_threads() -> None:
    """Let OpenMP threads spin for microseconds, not milliseconds, before they sleep; read when torch is loaded.

    Two threads lose nothing on an idle machine. Where another program runs, the default made the mini world's teacher
    seven times slower than one thread: the one that waits takes the core that the other one needs.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; without one, print what there is.

    Returns:
        The exit status: 0, 2 after a `UserError` (one line on standard error), 75 after a signal.
    """
    spare_waiting_threads()
    words = list(sys.argv[1:] if arguments is None else arguments)

    for part in split_commands(words):
        status = _run_alone(part)
        if status:
            return status
    return 0


def split_commands(words: Sequence[str]) -> list[list[str]]:
    """The command lines that ``--then`` separates; without any, the one there is."""
    commands: list[list[str]] = [[]]
    for word in words:
        if word == THEN:
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


def _run_alone(words: Sequence[str]) -> int:
    """Run one command; its exit status."""
    command = words[0] if words else "--help"

    try:
        if command in ("--help", "-h"):
            print(format_help(), end="")
        elif command == "--version":
            print(__version__)
        else:
            check_command(command)
            with catch_signals():
                run_command(build_parser(command).parse_args(words[1:]))

    except Interrupted as end:
        print(f"opentrans {command}: {end}", file=sys.stderr)
        return INTERRUPTED_STATUS
    except UserError as error:
        print(f"opentrans {command}: {error}", file=sys.stderr)
        return USER_ERROR_STATUS
    except BrokenPipeError:  # the reader of our output has gone: not an error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def check_command(command: str) -> None:
    """Refuse what is no command with a `UserError` that names the nearest ones."""
    commands = list_commands()
    if command not in commands:
        nearest = difflib.get_close_matches(command, commands)
        remedy = f"did you mean {' or '.join(nearest)}?" if nearest else "opentrans --help lists all"
        raise UserError(command, "no such command", remedy)


def run_command(args: argparse.Namespace) -> None:
    """Run the command and record where its results come from; what the machine does to it is a `UserError` too."""
    from opentrans.config import list_config_files, load_config

    command = import_command(args.command)
    forget_written()
    try:
        files = args.config
        needs_config = getattr(command, "NEEDS_CONFIG", True) and files is not None
        args.config = load_config(files) if needs_config else None
        command.run(args)
        if args.config and getattr(command, "HAS_PROVENANCE", True):
            from opentrans.runs.provenance import write_provenance

            write_provenance(args.command, vars(args), args.config, list_config_files(files))
    except BrokenPipeError:
        raise
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        raise known from error
