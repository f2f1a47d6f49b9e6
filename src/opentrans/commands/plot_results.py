"""``plot-results``: quality of the evaluated runs, against subnetworks, FLOPs and density."""

import argparse

from opentrans.commands._arguments import add_costs, add_output_dir, add_paper, add_results

HELP = "plot mIoU by subnetwork (Table 1), against FLOPs (Figure 1) and against density"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_results(parser)
    add_costs(parser)
    add_paper(parser)
    add_output_dir(parser, "four figures as SVG and PNG")


def run(args: argparse.Namespace) -> None:
    """Plot and write ``table1_mean``, ``table1_benchmarks``, ``figure1`` and ``miou_density``."""
    from opentrans.reporting.figures.costs import find_sweep, join_points, plot_density, plot_flops, read_paper_points
    from opentrans.reporting.figures.table1 import plot_benchmarks, plot_mean
    from opentrans.reporting.figures.write import write_figures
    from opentrans.reporting.results import read_results
    from opentrans.reporting.tables import read_paper
    from opentrans.reporting.tidy import read_costs

    results, costs = read_results(args.results), read_costs(args.costs)
    settings = args.config.figures
    benchmarks = list(args.config.benchmarks)
    on_one = join_points(results, costs, [settings.benchmark])
    on_all = join_points(results, costs, benchmarks)
    figures = {
        "table1_mean": plot_mean(results),
        "table1_benchmarks": plot_benchmarks(results),
        "figure1": plot_flops(
            on_one, read_paper_points(read_paper(args.paper), settings.benchmark), settings.benchmark
        ),
        "miou_density": plot_density(on_all, find_sweep(args.config.subnetworks), len(benchmarks)),
    }
    write_figures(args.output_dir, figures)
