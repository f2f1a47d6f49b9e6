"""``plot-predictions``: Figures 5 and 8."""

import argparse
from pathlib import Path

HELP = "show images of a benchmark, their ground truth and each target's prediction (Figures 5 and 8)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    where = "in folders {target}/{subnetwork}/{freeze}/seed{n}/"
    parser.add_argument("--dataset", type=Path, required=True, help="folder of the prepared benchmark")
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help=f"(predict-benchmark) {where}")
    parser.add_argument("--output-dir", type=Path, required=True, help="receives figure5 and figure8 as SVG and PNG")


def run(args: argparse.Namespace) -> None:
    """The first half of the images is Figure 5, the second Figure 8."""
    from opentrans.data.prepared import PreparedDataset
    from opentrans.reporting.figures.qualitative import plot_images
    from opentrans.reporting.figures.write import write_figures
    from opentrans.reporting.images import Predictions, select_images

    dataset = PreparedDataset.open(args.dataset)
    predictions = [Predictions.read(path) for path in args.predictions]
    places = select_images(dataset, args.config.figures.images)
    half = -(-len(places) // 2)
    figures = {
        "figure5": plot_images(dataset, places[:half], predictions),
        "figure8": plot_images(dataset, places[half:], predictions),
    }
    write_figures(args.output_dir, figures)
