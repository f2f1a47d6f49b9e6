"""``predict``: segment any image with any words."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from opentrans.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from opentrans.data.prepared import Vocabulary

HELP = "segment any image with any words: overlay, label map, legend"
OWN_CONFIG = True  # the run's, unless one is given


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="images, or folders of images")
    parser.add_argument(
        "--classes",
        required=True,
        help='what to look for: "dog|puppy, cat, grass" (| separates synonyms), or @FILE with a class on each line',
    )
    parser.add_argument(
        "--run",
        type=Path,
        required=True,
        help="folder of a run, such as results/mini/training/han/dense/none/seed0",
    )
    parser.add_argument("--output-dir", type=Path, default=Path("predictions"), help="default: predictions")
    parser.add_argument("--alpha", type=float, default=0.5, help="how much colour covers the image, 0 to 1")
    parser.add_argument("--short-side", type=int, help="of the image at test, in pixels; default: the run's")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is")


def run(args: argparse.Namespace) -> None:
    """Check everything that is quick to check, then load the run and segment."""
    from opentrans.prediction.images import find_images, read_image
    from opentrans.prediction.words import parse_classes
    from opentrans.runs.find import find_run

    if not 0 <= args.alpha <= 1:
        raise UserError("--alpha", f"{args.alpha} is not between 0 and 1", "take for example 0.5")
    if args.short_side is not None and args.short_side < 1:
        raise UserError("--short-side", f"{args.short_side} is no size", "give pixels, for example 512")
    vocabulary, paths, found = (
        parse_classes(args.classes),
        find_images(args.images),
        find_run(args.run, args.config),
    )
    found = dataclasses.replace(found, config=found.config.model_copy(update={"device": args.device}))
    if len(vocabulary) == 1:
        print("with a single class every pixel is of that class; name what else is there too", file=sys.stderr)
    if found.config.teacher.pretraining is not None:
        print("the CLIP of this run has seen generated images only: of a photograph it knows nothing", file=sys.stderr)
    for path in paths.values():
        read_image(path)

    from opentrans.prediction.segment import load_segmenter

    segment = load_segmenter(found, vocabulary, args.short_side)
    for name, path in paths.items():
        image = read_image(path)
        labels = segment(image)
        print(f"{path} -> {args.output_dir / name}_{{overlay,labels,legend}}.png")
        print(write_results(args.output_dir, name, image, labels, vocabulary, args.alpha), end="\n\n")


def write_results(
    folder: Path, name: str, image: "np.ndarray", labels: "np.ndarray", vocabulary: "Vocabulary", alpha: float
) -> str:
    """Write overlay, label map and legend of one image; returns the table of shares."""
    import numpy as np
    from tabulate import tabulate

    from opentrans.data.maps import encode_map
    from opentrans.data.palette import get_colours
    from opentrans.prediction.drawing import draw_legend, draw_overlay
    from opentrans.system.files import atomic_path, write_bytes, write_csv

    titles, classes = vocabulary.titles, len(vocabulary)
    pixels = np.bincount(labels.ravel(), minlength=classes)
    for kind, drawn in (
        ("overlay", draw_overlay(image, labels, titles, alpha)),
        ("legend", draw_legend(titles, pixels / labels.size)),
    ):
        with atomic_path(folder / f"{name}_{kind}.png") as temporary:
            drawn.save(temporary, "PNG")
    write_bytes(folder / f"{name}_labels.png", encode_map(labels.astype(np.uint8 if classes < 256 else np.uint16)))
    rows = [
        {"index": index, "name": titles[index], "synonyms": "|".join(vocabulary.names[index]),
         "colour": "#" + bytes(colour).hex(), "pixels": int(pixels[index]), "share": pixels[index] / labels.size}
        for index, colour in enumerate(get_colours(classes))
    ]  # fmt: skip
    write_csv(folder / f"{name}_legend.csv", list(rows[0]), rows)
    present = sorted((row for row in rows if row["pixels"]), key=lambda row: -row["pixels"])
    table = [[row["name"], f"{row['share']:.1%}"] for row in present]
    return str(tabulate(table, ["class", "area"], disable_numparse=True, colalign=("left", "right")))
