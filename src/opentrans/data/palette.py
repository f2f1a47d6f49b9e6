"""Colours of classes that people with any colour vision can tell apart."""

import colorsys

import numpy as np
from jaxtyping import UInt8

# Paul Tol's "bright" and "muted" schemes (personal.sron.nl/~pault, 2021), the clearest first.
_TOL = (
    *("4477AA", "EE6677", "228833", "CCBB44", "66CCEE", "AA3377", "332288", "DDCC77", "44AA99", "882255"),
    *("117733", "CC6677", "88CCEE", "999933", "AA4499"),
)
_GOLDEN = 0.61803398875


def get_colours(count: int) -> UInt8[np.ndarray, "count 3"]:
    """`count` colours: Tol's fifteen, then hues a golden section apart at three lightnesses."""
    colours = [tuple(bytes.fromhex(code)) for code in _TOL[:count]]
    for index in range(len(colours), count):
        red, green, blue = colorsys.hls_to_rgb(index * _GOLDEN % 1, (0.35, 0.55, 0.75)[index % 3], 0.6)
        colours.append((round(red * 255), round(green * 255), round(blue * 255)))
    return np.array(colours, np.uint8).reshape(-1, 3)


def get_palette() -> bytes:
    """The palette of 8-bit label maps: 255 colours and black for what is ignored."""
    return get_colours(255).tobytes() + bytes(3)
