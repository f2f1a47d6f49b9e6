"""``count-costs``: Params, FLOPs and Training FLOPs of one run."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from opentrans.commands._arguments import add_output, add_run_id, get_run_id
from opentrans.errors import UserError

if TYPE_CHECKING:
    from opentrans.config import Config

HELP = "count Params, FLOPs and Training FLOPs of a run from a profile, densities and a freeze plan"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_run_id(parser)
    parser.add_argument("--profile", type=Path, required=True, help="profile of the target (profile-target)")
    parser.add_argument("--densities", type=Path, required=True, help="layers.csv of the subnetwork")
    parser.add_argument("--plan", type=Path, help="freeze plan; not with a recipe of method none")
    add_output(parser, "costs: JSON")


def run(args: argparse.Namespace) -> None:
    """Read the three files, count, write."""
    from opentrans.costs.counting import get_phases, inference_costs, overall_density, training_flops
    from opentrans.costs.tables import read_densities, read_profile, require_layers
    from opentrans.freezing.plan import FreezePlan
    from opentrans.runs.table import get_named
    from opentrans.system.files import write_json

    config: Config = args.config
    training = get_named(config.targets, args.target, "--target").training
    layers, densities = read_profile(args.profile), read_densities(args.densities)
    require_layers(set(densities), layers, args.densities)

    recipe = get_named(config.freezing, args.freeze, "--freeze")
    if (recipe.method == "none") != (args.plan is None):
        problem = "takes no plan" if recipe.method == "none" else "needs a plan"
        raise UserError("--plan", f"freeze recipe {args.freeze} {problem}", "give --plan exactly where layers freeze")
    frozen = set() if args.plan is None else set(FreezePlan.read(args.plan).frozen)
    require_layers(frozen, layers, args.plan)

    phases = get_phases(training.iterations, training.warmup_iterations, training.batch_size, frozen)
    counted = {
        "image_size": list(config.costs.image_size),
        "crop_size": training.crop_size,
        "density": overall_density(densities),
        "frozen_layers": len(frozen),
        "training_flops": training_flops(layers, densities, phases),
        **inference_costs(layers, densities),
    }
    write_json(args.output, get_run_id(args) | counted)
