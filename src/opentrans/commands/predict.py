"""``predict``: segment any image with any words."""

import argparse
import sys
from pathlib import Path

from opentrans.errors import UserError

HELP = "segment any image with any words"
GROUP = "use"
EXAMPLE = 'opentrans predict photo.jpg --classes "dog|puppy, grass" --run RUN'
OWN_CONFIG = True  # the run's, unless one is given


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="images, or folders of images")
    words = 'what to look for: "dog|puppy, cat, grass" (| separates synonyms), or @FILE with a class on each line'
    parser.add_argument("--classes", required=True, help=words)
    example = "folder of a run, such as results/mini/training/han/dense/none/seed0"
    parser.add_argument("--run", type=Path, required=True, help=example)
    parser.add_argument("--output-dir", type=Path, default=Path("predictions"), help="default: predictions")
    parser.add_argument("--alpha", type=float, default=0.5, help="how much colour covers the image, 0 to 1")
    parser.add_argument("--short-side", type=int, help="of the image at test, in pixels; default: the run's")
    devices = ("auto", "cpu", "cuda")
    parser.add_argument("--device", choices=devices, default="auto", help="default: a GPU if there is one")


def run(args: argparse.Namespace) -> None:
    """Check everything that is quick to check, then load the run and segment."""
    from opentrans.prediction.images import find_images, read_image
    from opentrans.prediction.words import parse_classes
    from opentrans.runs.find import find_run

    if not 0 <= args.alpha <= 1:
        raise UserError("--alpha", f"{args.alpha} is not between 0 and 1", "take for example 0.5")
    if args.short_side is not None and args.short_side < 1:
        raise UserError("--short-side", f"{args.short_side} is no size", "give pixels, for example 512")
    vocabulary = parse_classes(args.classes)
    images = find_images(args.images)
    found = find_run(args.run, args.config)

    if len(vocabulary) == 1:
        print("with a single class every pixel is of that class; name what else is there too", file=sys.stderr)
    if found.config.teacher.pretraining is not None:
        print("the CLIP of this run has seen generated images only: of a photograph it knows nothing", file=sys.stderr)

    # An image that cannot be read is named before anything slow begins.
    for path in images.values():
        read_image(path)

    from tabulate import tabulate

    from opentrans.prediction.segment import load_segmenter
    from opentrans.prediction.writing import write_prediction

    segment = load_segmenter(found, vocabulary, args.short_side, args.device)
    for name, path in images.items():
        image = read_image(path)
        shares = write_prediction(args.output_dir, name, image, segment(image), vocabulary, args.alpha)
        rows = [[title, f"{share:.1%}"] for title, share in shares.items()]
        print(f"{path} -> {args.output_dir / name}_{{overlay,labels,legend}}.png")
        print(tabulate(rows, ["class", "area"], disable_numparse=True, colalign=("left", "right")), end="\n\n")
