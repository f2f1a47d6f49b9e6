"""Arguments that several commands share, each said once."""

import argparse
from pathlib import Path

from opentrans.errors import UserError


def add_target(parser: argparse.ArgumentParser) -> None:
    """``--target``: a name in the configuration."""
    parser.add_argument("--target", required=True, help="target's name in the configuration")


def add_run_id(parser: argparse.ArgumentParser) -> None:
    """The names of a training run: ``--target``, ``--subnetwork``, ``--freeze``, ``--seed``."""
    add_target(parser)
    parser.add_argument("--subnetwork", required=True, help="subnetwork's name; written into the result")
    parser.add_argument("--freeze", required=True, help="freeze recipe's name; written into the result")
    parser.add_argument("--seed", type=int, required=True, help="seed of the run; written into the result")


def add_seed(parser: argparse.ArgumentParser, setting: str) -> None:
    """``--seed`` in place of a setting of the configuration."""
    parser.add_argument("--seed", type=int, help=f"seed (default: {setting} of the configuration)")


def get_run_id(args: argparse.Namespace) -> dict[str, object]:
    """What `add_run_id` read, as it is written into results."""
    return {name: getattr(args, name) for name in ("target", "subnetwork", "freeze", "seed")}


def add_run(parser: argparse.ArgumentParser) -> None:
    """A finished run by its files: ``--run``, ``--teacher``, ``--train-text``."""
    parser.add_argument("--run", type=Path, required=True, help="checkpoint of the run (last iteration)")
    add_teacher(parser)
    add_train_text(parser)


def add_teacher(parser: argparse.ArgumentParser) -> None:
    """``--teacher``."""
    parser.add_argument("--teacher", type=Path, required=True, help="teacher (safetensors)")


def add_train_text(parser: argparse.ArgumentParser) -> None:
    """``--train-text``."""
    parser.add_argument("--train-text", type=Path, required=True, help="embeddings of the training vocabulary")


def add_dataset(parser: argparse.ArgumentParser, kind: str) -> None:
    """``--dataset``: the folder of a prepared data set; `kind` says of which."""
    parser.add_argument("--dataset", type=Path, required=True, help=f"folder of the {kind}")


def add_regions(parser: argparse.ArgumentParser) -> None:
    """``--regions``."""
    parser.add_argument("--regions", type=Path, required=True, help="the teacher's embeddings of its regions")


def add_recipe(parser: argparse.ArgumentParser, section: str) -> None:
    """``--recipe``: a name in a section of the configuration."""
    parser.add_argument("--recipe", required=True, help=f"name under `{section}` in the configuration")


def add_fit(parser: argparse.ArgumentParser) -> None:
    """How alpha is fitted: ``--before-mask``, ``--estimator``."""
    before = "subnetwork whose removed weights are put back before the fit (paper, Fig. 6)"
    parser.add_argument("--before-mask", type=Path, help=before)
    add_estimator(parser)


def add_estimator(parser: argparse.ArgumentParser) -> None:
    """``--estimator``."""
    choices = ("weightwatcher", "released")
    parser.add_argument("--estimator", choices=choices, default="weightwatcher", help="default: %(default)s")


def add_files(parser: argparse.ArgumentParser, option: str, what: str, required: bool = False) -> None:
    """Any number of files (at least one if `required`)."""
    nargs = "+" if required else "*"
    parser.add_argument(option, type=Path, nargs=nargs, required=required, default=[], help=what)


def add_costs(parser: argparse.ArgumentParser) -> None:
    """``--costs``."""
    add_files(parser, "--costs", "costs JSON files (count-costs)")


def add_cka(parser: argparse.ArgumentParser) -> None:
    """``--cka``."""
    add_files(parser, "--cka", "similarities (compare-backbones)")


def add_experiments(parser: argparse.ArgumentParser) -> None:
    """``--experiments``."""
    parser.add_argument("--experiments", type=Path, required=True, help="experiment table")


def add_paper(parser: argparse.ArgumentParser) -> None:
    """``--paper``."""
    parser.add_argument("--paper", type=Path, required=True, help="the paper's values")


def add_results(parser: argparse.ArgumentParser) -> None:
    """``--results``."""
    parser.add_argument("--results", type=Path, required=True, help="results.csv (collect-results)")


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """``--output``: one file or folder."""
    parser.add_argument("--output", type=Path, required=True, help=what)


def add_output_dir(parser: argparse.ArgumentParser, what: str) -> None:
    """``--output-dir``: a folder that receives several files."""
    parser.add_argument("--output-dir", type=Path, required=True, help=f"receives {what}")


def parse_pairs(option: str, pairs: list[str]) -> dict[str, Path]:
    """Read ``NAME=PATH`` arguments.

    Raises:
        UserError: a pair has another form.
    """
    wrong = [pair for pair in pairs if not all(pair.partition("="))]
    if wrong:
        raise UserError(option, f"{wrong[0]!r} is not NAME=PATH", "write for example coco=prepared/coco/val")
    return {name: Path(path) for name, _, path in (pair.partition("=") for pair in pairs)}
