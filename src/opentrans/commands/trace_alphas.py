"""``trace-alphas``: alpha of every backbone layer at several iterations of a run (Figures 6, 7 and 9)."""

import argparse
from pathlib import Path

from opentrans.commands._arguments import add_fit, add_output

HELP = "fit alpha to every backbone layer at the traced iterations of a run"
GROUP = "workflow"
_FIELDS = ("iteration", "layer", "alpha", "fit_quality")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--run", type=Path, required=True, help="checkpoint of a traced run (train --trace-points)")
    add_fit(parser)
    add_output(parser, "the trace (CSV): iteration, layer, alpha, fit_quality")


def run(args: argparse.Namespace) -> None:
    """Fit the weights of each iteration, write one row per layer; alpha is empty where no fit is possible."""
    import torch

    from opentrans.freezing.fits import format_number
    from opentrans.freezing.select import restore_removed, select_convolutions
    from opentrans.freezing.spectra import estimate_alphas
    from opentrans.pruning.subnetwork import Subnetwork
    from opentrans.system.files import write_csv
    from opentrans.training.checkpoint import load_checkpoint
    from opentrans.training.snapshots import require_snapshots

    torch.set_num_threads(args.config.threads.run)
    subnetwork = Subnetwork.load(args.before_mask) if args.before_mask else None
    rows = []
    for iteration, tensors in require_snapshots(load_checkpoint(args.run).extra, args.run).items():
        weights = select_convolutions(tensors, "", args.run)
        if subnetwork is not None:
            weights = restore_removed(weights, subnetwork, args.before_mask)
        for fit in estimate_alphas(weights, args.estimator):
            numbers = {name: format_number(getattr(fit, name), ".6g") for name in ("alpha", "fit_quality")}
            rows.append({"iteration": iteration, "layer": fit.layer, **numbers})
    write_csv(args.output, _FIELDS, rows)
