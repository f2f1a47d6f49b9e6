"""``plot-predictions``: Figures 5 and 8."""

import argparse

from opentrans.commands._arguments import add_dataset, add_files, add_output_dir

HELP = "show images of a benchmark, their ground truth and each target's prediction (Figures 5 and 8)"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    where = "in folders {target}/{subnetwork}/{freeze}/seed{n}/"
    add_dataset(parser, "prepared benchmark")
    add_files(parser, "--predictions", f"predictions (predict-benchmark) {where}", required=True)
    add_output_dir(parser, "figure5 and figure8 as SVG and PNG")


def run(args: argparse.Namespace) -> None:
    """The first half of the images is Figure 5, the second Figure 8."""
    from opentrans.data.prepared import PreparedDataset
    from opentrans.reporting.figures.qualitative import plot_images
    from opentrans.reporting.figures.write import write_figures
    from opentrans.reporting.images import Predictions, select_images

    dataset = PreparedDataset.open(args.dataset)
    predictions = [Predictions.read(path) for path in args.predictions]
    positions = select_images(dataset, args.config.figures.images)
    half = -(-len(positions) // 2)
    figures = {
        "figure5": plot_images(dataset, positions[:half], predictions),
        "figure8": plot_images(dataset, positions[half:], predictions),
    }
    write_figures(args.output_dir, figures)
