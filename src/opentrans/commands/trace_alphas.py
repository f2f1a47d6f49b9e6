"""``trace-alphas``: alpha of every backbone layer at several iterations of a run (Figures 6, 7 and 9)."""

import argparse
from pathlib import Path

from opentrans.errors import UserError

HELP = "fit alpha to every backbone layer at several iterations of a run"
FIELDS = ("iteration", "layer", "alpha", "fit_quality")
# How checkpoints and subnetworks name the weights of a backbone.
PREFIXES = ("model.backbone.", "weight.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line of the verb."""
    files = "subnetwork or checkpoint at an iteration"
    parser.add_argument("--weights", nargs="+", required=True, metavar="ITERATION=FILE", help=files)
    parser.add_argument("--estimator", choices=("weightwatcher", "released"), default="weightwatcher")
    parser.add_argument(
        "--output", type=Path, required=True, help="the trace (CSV): iteration, layer, alpha, fit_quality"
    )


def run(args: argparse.Namespace) -> None:
    """Fit each file, write one row an iteration and layer; alpha is empty where no fit is possible."""
    import torch

    from opentrans.files import write_csv
    from opentrans.spectra import estimate_alphas

    torch.set_num_threads(args.config.threads.run)
    rows = [
        {"iteration": iteration, "layer": fit.layer, "alpha": _show(fit.alpha), "fit_quality": _show(fit.fit_quality)}
        for iteration, path in sorted(parse_weights(args.weights).items())
        for fit in estimate_alphas(read_convolutions(path), args.estimator)
    ]
    write_csv(args.output, FIELDS, rows)


def parse_weights(words: list[str]) -> dict[int, Path]:
    """Read ``ITERATION=FILE`` arguments; a word without both, or an iteration given twice, is a `UserError`."""
    found: dict[int, Path] = {}
    for word in words:
        iteration, _, path = word.partition("=")
        if not (iteration.isdecimal() and path) or int(iteration) in found:
            problem = "names an iteration twice" if iteration.isdecimal() and path else "is not ITERATION=FILE"
            raise UserError("--weights", f"{word!r} {problem}", "write for example 0=subnetwork.safetensors")
        found[int(iteration)] = Path(path)
    return found


def read_convolutions(path: Path) -> dict:
    """The backbone's convolutions of a checkpoint or a subnetwork, in network order."""
    from opentrans.freezing.weights import select_convolutions
    from opentrans.tensors import load_tensors

    tensors, _ = load_tensors(path, "train or find it again")
    fitting = [prefix for prefix in PREFIXES if any(name.startswith(prefix) for name in tensors)]
    return select_convolutions(tensors, (fitting or PREFIXES)[0], path)


def _show(value: float) -> str:
    return "" if value != value else f"{value:.6g}"
