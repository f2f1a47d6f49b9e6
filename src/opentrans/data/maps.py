"""Label maps as files: fast to write, small, and in colours when somebody opens one."""

from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt
from PIL import Image, UnidentifiedImageError

from opentrans.errors import UserError
from opentrans.palette import get_palette

try:
    import pyspng
except ImportError:  # the extra `fast` is not installed: the same, in twice the time
    pyspng = None

Z_RLE = 3  # zlib's strategy for runs of equal bytes, which is what label maps are
DAMAGED = "download or unpack this file again"
RGB_HEADER = b"\x08\x02"  # PNG's bit depth and colour type
JPEG_END, PNG_END = b"\xff\xd9", b"IEND\xaeB`\x82"


@cache
def _palette() -> bytes:
    return get_palette()


def encode_map(values: np.ndarray) -> bytes:
    """A (height, width) map of uint8 (palette PNG: no row filters, a third of their time) or uint16 as PNG."""
    if values.dtype == np.uint8:
        size = values.shape[1], values.shape[0]
        picture = Image.frombuffer("P", size, np.ascontiguousarray(values), "raw", "P", 0, 1)
        picture.putpalette(_palette())
    else:
        picture = Image.fromarray(values.astype(np.uint16, copy=False))
    stream = BytesIO()
    picture.save(stream, "PNG", compress_level=1, compress_type=Z_RLE)
    return stream.getvalue()


def read_packed_ids(path: Path) -> UInt[np.ndarray, "h w"]:
    """An RGB PNG as R + 256 G + 65536 B with 255 in the fourth byte; anything else is a `UserError`."""
    try:
        content = path.read_bytes()
        if content[24:26] != RGB_HEADER and content[:4] == b"\x89PNG":
            raise UserError(path, "is not an RGB picture", "download this file again")
        return np.ascontiguousarray(_decode(content)).view("<u4")[..., 0]
    except FileNotFoundError:
        raise UserError(path, "no such image", "complete the data set") from None
    except (OSError, SyntaxError, RuntimeError, ValueError) as error:
        raise UserError(path, f"unreadable image ({error})", DAMAGED) from None


def _decode(content: bytes) -> UInt[np.ndarray, "h w 4"]:
    """A PNG as RGB and 255."""
    if pyspng is not None:
        decoded: np.ndarray = pyspng.load(content, format="RGBA")
        return decoded
    with Image.open(BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGBA"))


def get_size(content: bytes, path: Path) -> tuple[int, int]:
    """Height and width from a picture's header; it is decoded only if its end is not where it should be."""
    try:
        with Image.open(BytesIO(content)) as picture:
            end = {"JPEG": JPEG_END, "PNG": PNG_END}.get(picture.format or "")
            if end is None or end not in content[-64:]:
                picture.load()
            return picture.height, picture.width
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise UserError(path, f"unreadable image ({error})", DAMAGED) from None
