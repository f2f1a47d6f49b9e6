"""Any image that a user has, as the person sees it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt
from PIL import Image, ImageOps

from opentrans.errors import UserError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
WRITTEN = ("_overlay.png", "_labels.png", "_legend.png")  # our own files in a folder are no images to segment


def find_images(paths: Iterable[Path]) -> dict[str, Path]:
    """Images by the name that their results get; a folder stands for the images in it.

    Raises:
        UserError: a path does not exist, or a folder holds no image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(path, "no such image", "give existing files or folders")
        inside = sorted(p for p in path.iterdir() if _is_image(p)) if path.is_dir() else [path]
        if not inside:
            raise UserError(path, "holds no image", f"put {', '.join(sorted(SUFFIXES))} files there")
        found += inside
    found = list(dict.fromkeys(found))
    times, names = Counter(path.stem for path in found), Counter[str]()
    result = {}
    for path in found:
        names[path.stem] += 1
        result[f"{path.stem}-{names[path.stem]}" if times[path.stem] > 1 else path.stem] = path
    return result


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.endswith(WRITTEN) and path.is_file()


def read_image(path: Path) -> UInt[np.ndarray, "h w 3"]:
    """Decode to RGB: turned as its EXIF data says, transparent parts on white, deep greys scaled to 8 bits."""
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode[0] in "IF":
                values = np.asarray(image, np.float64)
                span = max(float(values.max() - values.min()), 1.0)
                image = Image.fromarray(((values - values.min()) * (255 / span)).astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                ground = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(ground, image)
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(path, f"cannot be read as an image ({error})", "save it as JPEG or PNG") from None
