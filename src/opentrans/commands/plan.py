"""``plan``: a freeze plan for any torch model."""

import argparse
from pathlib import Path

from opentrans.commands._arguments import add_estimator, add_output

HELP = "make a freeze plan for any torch model"
GROUP = "use"
EXAMPLE = "opentrans plan --model torchvision.models:resnet50 --output plan.csv"
NEEDS_CONFIG = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    factory = "what makes it: torchvision.models:resnet50"
    parser.add_argument("--model", required=True, metavar="MODULE:FACTORY", help=factory)
    parser.add_argument("--weights", type=Path, help="state dict to load into it (safetensors, or a torch file)")
    parser.add_argument("--prefix", default="", help="only the part of the model there; a name or pattern (*.visual)")
    kinds = ["conv", "linear"]
    parser.add_argument("--layers", nargs="+", choices=kinds, default=kinds, help="kinds (default: both)")

    parser.add_argument("--method", choices=("alpha", "random"), default="alpha", help="default: %(default)s")
    order = "freeze the layers of smallest alpha (paper) or of largest"
    parser.add_argument("--order", choices=("bottom", "top"), default="bottom", help=order)
    parser.add_argument("--ratio", type=float, default=0.5, help="share of the fitted layers (default: %(default)s)")
    add_estimator(parser)
    parser.add_argument("--seed", type=int, default=0, help="draws the layers of a random plan (default: %(default)s)")
    add_output(parser, "the freeze plan (CSV)")


def run(args: argparse.Namespace) -> None:
    """Build the model, fit its layers, write the plan."""
    from opentrans.config import FreezeRecipe
    from opentrans.errors import UserError
    from opentrans.freezing.planning import plan_model
    from opentrans.integrations.named_model import build_model, load_weights

    if not 0 <= args.ratio <= 1:
        raise UserError(f"--ratio {args.ratio}", "is not a share", "give a number from 0 to 1")
    model = build_model(args.model)
    if args.weights:
        load_weights(model, args.weights)
    recipe = FreezeRecipe(method=args.method, order=args.order, ratio=args.ratio, estimator=args.estimator)
    plan = plan_model(model, recipe, args.seed, args.prefix, tuple(args.layers))
    plan.write(args.output)
    print(f"{args.output}: {len(plan.frozen)} of {len(plan.rows)} layers frozen")
