"""A prediction as files: overlay, label map, legend."""

from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt

from opentrans.data.maps import encode_map
from opentrans.data.palette import get_colours
from opentrans.data.prepared import Vocabulary
from opentrans.prediction.drawing import draw_legend, draw_overlay
from opentrans.system.files import atomic_path, write_bytes, write_csv


def write_prediction(
    folder: Path,
    name: str,
    image: UInt[np.ndarray, "h w 3"],
    labels: Int[np.ndarray, "h w"],
    vocabulary: Vocabulary,
    alpha: float,
) -> dict[str, float]:
    """Write ``{name}_overlay.png``, ``_labels.png``, ``_legend.png`` and ``_legend.csv``.

    Args:
        folder: where they go.
        name: of the image.
        image: RGB.
        labels: class of each pixel.
        vocabulary: the classes.
        alpha: how much colour covers the image, 0..1.

    Returns:
        The share of the image, 0..1, of each class that is there, the largest first.
    """
    titles, n_classes = vocabulary.titles, len(vocabulary)
    pixels = np.bincount(labels.ravel(), minlength=n_classes)
    shares = pixels / labels.size

    drawings = {"overlay": draw_overlay(image, labels, titles, alpha), "legend": draw_legend(titles, shares)}
    for kind, drawing in drawings.items():
        with atomic_path(folder / f"{name}_{kind}.png") as temporary:
            drawing.save(temporary, "PNG")

    depth = np.uint8 if n_classes < 256 else np.uint16
    write_bytes(folder / f"{name}_labels.png", encode_map(labels.astype(depth)))

    rows = [
        {
            "index": index,
            "name": titles[index],
            "synonyms": "|".join(vocabulary.names[index]),
            "colour": "#" + bytes(colour).hex(),
            "pixels": int(pixels[index]),
            "share": shares[index],
        }
        for index, colour in enumerate(get_colours(n_classes))
    ]
    write_csv(folder / f"{name}_legend.csv", list(rows[0]), rows)

    largest_first = np.argsort(-pixels, kind="stable")
    return {titles[index]: float(shares[index]) for index in largest_first if pixels[index]}
