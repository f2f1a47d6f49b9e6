"""Any image that a user has, as the person sees it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt
from PIL import Image, ImageOps

from opentrans.errors import UserError, refuse_reading

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
WRITTEN = ("_overlay.png", "_labels.png", "_legend.png")  # our own files in a folder are no images to segment


def find_images(paths: Iterable[Path]) -> dict[str, Path]:
    """Images by the name that their results get; a folder stands for the images in it.

    Raises:
        UserError: a path does not exist, or a folder holds no image.
    """
    images: dict[Path, None] = {}  # each once, in order
    for path in paths:
        if not path.exists():
            raise UserError(path, "no such image", "give existing files or folders")
        inside = sorted(p for p in path.iterdir() if _is_image(p)) if path.is_dir() else [path]
        if not inside:
            raise UserError(path, "holds no image", f"put {', '.join(sorted(SUFFIXES))} files there")
        images |= dict.fromkeys(inside)

    # Images of one name in different folders, or of different kinds, are numbered.
    times, numbers = Counter(path.stem for path in images), Counter[str]()
    named = {}
    for path in images:
        numbers[path.stem] += 1
        name = path.stem if times[path.stem] == 1 else f"{path.stem}-{numbers[path.stem]}"
        named[name] = path
    return named


def _is_image(path: Path) -> bool:
    # macOS leaves a companion `._NAME` beside each file on a foreign disk.
    passed_over = path.name.startswith("._") or path.name.endswith(WRITTEN)
    return path.suffix.lower() in SUFFIXES and not passed_over and path.is_file()


def read_image(path: Path) -> UInt[np.ndarray, "h w 3"]:
    """Decode a file to RGB, as `convert_image` does."""
    try:
        with Image.open(path) as opened:
            return convert_image(opened)
    except PermissionError:
        raise refuse_reading(path) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(path, f"cannot be read as an image ({error})", "save it as JPEG or PNG") from None


def convert_image(image: Image.Image) -> UInt[np.ndarray, "h w 3"]:
    """RGB: turned as the EXIF data says, transparent parts on white, deep greys scaled to 8 bits, NaN black."""
    image = ImageOps.exif_transpose(image)

    if image.mode[0] in "IF":
        values = np.asarray(image, np.float64)
        finite = values[np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
        span = max(float(values.max() - values.min()), 1.0)
        image = Image.fromarray(((values - values.min()) * (255 / span)).astype(np.uint8))

    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    return np.array(image.convert("RGB"))


def get_image(image: Path | str | Image.Image | np.ndarray) -> UInt[np.ndarray, "h w 3"]:
    """RGB of a file, of a PIL image, or of an array (height, width, 3, uint8).

    Raises:
        UserError: the file cannot be read, or the array has another shape or type.
    """
    if isinstance(image, Path | str):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        return convert_image(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        problem = f"an array of shape {image.shape} and type {image.dtype} is no RGB image"
        raise UserError("image", problem, "give (height, width, 3) of type uint8")
    return image
