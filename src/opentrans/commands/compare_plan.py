"""``compare-plan``: does a trunk's alpha choose the layers that the authors' code froze?"""

import argparse
from pathlib import Path

from opentrans.commands._arguments import add_teacher

HELP = "fit alpha to a teacher's trunk and compare the frozen half with the list in the authors' code"
GROUP = "maintenance"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_teacher(parser)
    parser.add_argument(
        "--released",
        type=Path,
        default=Path("config/released_frozen.csv"),
        help="the list of frozen layers (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    """Fit by each estimator, freeze the smallest half, count."""
    import torch

    from opentrans.clip.backbone import ClipBackbone, get_convolutions
    from opentrans.clip.weights import ClipWeights
    from opentrans.config import FreezeRecipe
    from opentrans.costs.released import read_released_frozen
    from opentrans.errors import UserError
    from opentrans.freezing.plan import make_plan
    from opentrans.freezing.spectra import estimate_alphas

    torch.set_num_threads(args.config.threads.run)
    released = set(read_released_frozen(args.released))
    trunk = ClipBackbone.of_teacher(ClipWeights.load(args.teacher))
    weights = {name: layer.detach() for name, layer in get_convolutions(trunk).items()}

    unknown = sorted(released - weights.keys())
    if unknown:
        raise UserError(args.teacher, f"has no layer {unknown[0]}", "the list is of CLIP's RN50: give its teacher")

    for estimator in ("weightwatcher", "released"):
        plan = make_plan(FreezeRecipe(method="alpha"), estimate_alphas(weights, estimator), 0)
        agreeing = len(released & {*plan.frozen})
        expected = len(released) * len(plan.frozen) / len(weights)
        print(
            f"{estimator}: freezes {agreeing} of the list's {len(released)} layers"
            f" ({len(plan.frozen)} of {len(weights)} frozen; {expected:.1f} by chance)"
        )
        print(f"  only here: {_join({*plan.frozen} - released)}")
        print(f"  only in the list: {_join(released - {*plan.frozen})}")


def _join(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
