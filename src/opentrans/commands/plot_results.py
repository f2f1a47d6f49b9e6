"""``plot-results``: quality of the evaluated runs, against subnetworks, FLOPs and density."""

import argparse
from typing import TYPE_CHECKING

from opentrans.commands._arguments import add_costs, add_experiments, add_output_dir, add_paper, add_results

if TYPE_CHECKING:
    from opentrans.config import Config

HELP = "plot mIoU by subnetwork (Table 1), against FLOPs (Figure 1) and against density"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_results(parser)
    add_costs(parser)
    add_experiments(parser)
    add_paper(parser)
    add_output_dir(parser, "four figures as SVG and PNG")


def run(args: argparse.Namespace) -> None:
    """Plot and write ``table1_mean``, ``table1_benchmarks``, ``figure1`` and ``miou_density``."""
    from opentrans.reporting.figures.costs import find_sweep, join_points, list_paper_points, plot_density, plot_flops
    from opentrans.reporting.figures.table1 import plot_benchmarks, plot_mean
    from opentrans.reporting.figures.write import write_figures
    from opentrans.reporting.results import read_results
    from opentrans.reporting.tidy import read_costs
    from opentrans.runs.paper import read_paper
    from opentrans.runs.table import read_experiments

    config: Config = args.config
    results, costs = read_results(args.results), read_costs(args.costs)
    shown, benchmarks = config.figures.benchmark, list(config.benchmarks)
    on_one, on_all = (join_points(results, costs, names) for names in ([shown], benchmarks))
    paper = list_paper_points(read_paper(args.paper), read_experiments(args.experiments, config), shown)

    figures = {
        "table1_mean": plot_mean(results),
        "table1_benchmarks": plot_benchmarks(results),
        "figure1": plot_flops(on_one, paper, shown),
        "miou_density": plot_density(on_all, find_sweep(config.subnetworks), len(benchmarks)),
    }
    write_figures(args.output_dir, figures)
