"""Any picture that a user has, as the person sees it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt
from PIL import Image, ImageOps

from opentrans.errors import UserError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
WRITTEN = ("_overlay.png", "_labels.png", "_legend.png")  # our own files in a folder are no pictures to segment


def find_pictures(paths: Iterable[Path]) -> dict[str, Path]:
    """Pictures by the name that their results get; a folder stands for the pictures in it.

    Raises:
        UserError: a path does not exist, or a folder holds no picture.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(path, "no such picture", "give existing files or folders")
        inside = sorted(p for p in path.iterdir() if _is_picture(p)) if path.is_dir() else [path]
        if not inside:
            raise UserError(path, "holds no picture", f"put {', '.join(sorted(SUFFIXES))} files there")
        found += inside
    found = list(dict.fromkeys(found))
    times, names = Counter(path.stem for path in found), Counter[str]()
    result = {}
    for path in found:
        names[path.stem] += 1
        result[f"{path.stem}-{names[path.stem]}" if times[path.stem] > 1 else path.stem] = path
    return result


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.endswith(WRITTEN) and path.is_file()


def read_picture(path: Path) -> UInt[np.ndarray, "h w 3"]:
    """Decode to RGB: turned as its EXIF data says, transparent parts on white, deep greys scaled to 8 bits."""
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode[0] in "IF":
                values = np.asarray(picture, np.float64)
                span = max(float(values.max() - values.min()), 1.0)
                picture = Image.fromarray(((values - values.min()) * (255 / span)).astype(np.uint8))
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                ground = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(ground, picture)
            return np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(path, f"cannot be read as a picture ({error})", "save it as JPEG or PNG") from None
