"""What a label map looks like: over the image with names, and as a legend."""

from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt
from PIL import Image, ImageDraw, ImageFont

from opentrans.data.palette import get_colours
from opentrans.data.regions import find_centre

MIN_SIDE = 480  # smaller images are enlarged in the overlay, so that names can be read
MIN_NAMED_SHARE = 0.004  # of the image: smaller regions get no name
Box = tuple[float, float, float, float]  # left, top, right, bottom


@cache
def _get_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu, which comes with matplotlib and has more scripts than Pillow's own font; without matplotlib that one."""
    try:
        import matplotlib
    except ModuleNotFoundError:  # matplotlib belongs to the extra `report`
        return ImageFont.load_default(size)
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf"), size)


def draw_overlay(
    image: UInt[np.ndarray, "h w 3"], labels: Int[np.ndarray, "h w"], names: list[str], alpha: float
) -> Image.Image:
    """The image under its classes' colours, borders in white, the largest region of each class named."""
    factor = -(-MIN_SIDE // min(labels.shape)) if min(labels.shape) < MIN_SIDE else 1
    image, labels = (part.repeat(factor, 0).repeat(factor, 1) for part in (image, labels))
    colours = get_colours(len(names))[labels]
    mixed = np.rint((1 - alpha) * image + alpha * colours).astype(np.uint8)

    border = np.zeros(labels.shape, bool)
    border[1:] |= labels[1:] != labels[:-1]
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    mixed[border] = 255

    canvas = Image.fromarray(mixed)
    _write_names(canvas, labels, names)
    return canvas


def _write_names(canvas: Image.Image, labels: np.ndarray, names: list[str]) -> None:
    draw = ImageDraw.Draw(canvas)
    font = _get_font(max(13, min(canvas.size) // 28))
    taken: list[Box] = []
    counts = np.bincount(labels.ravel(), minlength=len(names))

    # The largest classes first: where two names would overlap, the smaller class goes without.
    for index in np.argsort(-counts, kind="stable"):
        if counts[index] < max(1, MIN_NAMED_SHARE * labels.size):
            break
        row, column = find_centre(labels == index)

        # Two pixels from the edges, so that the outline of the letters is whole.
        left, top, right, bottom = draw.textbbox((column, row), names[index], font, anchor="mm", stroke_width=2)
        x = column + max(0, 2 - left) - max(0, right - canvas.width + 2)
        y = row + max(0, 2 - top) - max(0, bottom - canvas.height + 2)

        box = draw.textbbox((x, y), names[index], font, anchor="mm", stroke_width=2)
        if not any(_overlap(box, other) for other in taken):
            draw.text((x, y), names[index], "white", font, anchor="mm", stroke_width=2, stroke_fill="black")
            taken.append(box)


def _overlap(first: Box, second: Box) -> bool:
    across = first[0] < second[2] and second[0] < first[2]
    down = first[1] < second[3] and second[1] < first[3]
    return across and down


def draw_legend(names: list[str], shares: np.ndarray) -> Image.Image:
    """Colour, name and share of every class that occurs, the largest first."""
    order = [int(index) for index in np.argsort(-shares, kind="stable") if shares[index] > 0]
    font, colours = _get_font(18), get_colours(len(names))
    texts = [f"{names[index]}  {shares[index]:.1%}" for index in order]
    width = 60 + max(int(font.getlength(text)) for text in texts)

    canvas = Image.new("RGB", (width, 12 + 28 * len(order)), "white")
    draw = ImageDraw.Draw(canvas)
    for row, (index, text) in enumerate(zip(order, texts, strict=True)):
        top = 8 + 28 * row
        draw.rectangle((10, top, 34, top + 20), tuple(int(value) for value in colours[index]), "black")
        draw.text((44, top + 10), text, "black", font, anchor="lm")
    return canvas
