"""``count-costs``: Params, FLOPs and Training FLOPs of one run."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from opentrans.errors import UserError

if TYPE_CHECKING:
    from opentrans.config import Config

HELP = "count Params, FLOPs and Training FLOPs of a run from a profile, densities and a freeze plan"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--target", required=True, help="target's name in the configuration")
    parser.add_argument("--subnetwork", required=True, help="subnetwork's name; written into the result")
    parser.add_argument("--freeze", required=True, help="freeze recipe's name")
    parser.add_argument("--seed", type=int, required=True, help="seed of the run; written into the result")
    parser.add_argument("--profile", type=Path, required=True, help="profile of the target (profile-target)")
    parser.add_argument("--densities", type=Path, required=True, help="layers.csv of the subnetwork")
    parser.add_argument("--plan", type=Path, help="freeze plan; not with a recipe of method none")
    parser.add_argument("--output", type=Path, required=True, help="costs: JSON")


def run(args: argparse.Namespace) -> None:
    """Read the three files, count, write."""
    from opentrans.costs.counting import get_phases, inference_costs, overall_density, training_flops
    from opentrans.costs.tables import read_densities, read_profile, require_layers
    from opentrans.runs.table import get_named
    from opentrans.system.files import write_json

    config: Config = args.config
    training = get_named(config.targets, args.target, "--target").training
    layers, densities = read_profile(args.profile), read_densities(args.densities)
    require_layers(set(densities), layers, args.densities)
    frozen = get_frozen(config, args)
    require_layers(frozen, layers, args.plan)
    phases = get_phases(training.iterations, training.warmup_iterations, training.batch_size, frozen)
    identity = {name: getattr(args, name) for name in ("target", "subnetwork", "freeze", "seed")}
    counted = {
        "image_size": list(config.costs.image_size),
        "crop_size": training.crop_size,
        "density": overall_density(densities),
        "frozen_layers": len(frozen),
        "training_flops": training_flops(layers, densities, phases),
        **inference_costs(layers, densities),
    }
    write_json(args.output, {**identity, **counted})


def get_frozen(config: "Config", args: argparse.Namespace) -> set[str]:
    """The layers frozen after the warm-up; a recipe that freezes needs a plan, one that does not takes none."""
    from opentrans.freezing.plan import FreezePlan
    from opentrans.runs.table import get_named

    recipe = get_named(config.freezing, args.freeze, "--freeze")
    if (recipe.method == "none") != (args.plan is None):
        problem = "takes no plan" if recipe.method == "none" else "needs a plan"
        raise UserError("--plan", f"freeze recipe {args.freeze} {problem}", "give --plan exactly where layers freeze")
    return set() if args.plan is None else set(FreezePlan.read(args.plan).frozen)
