"""Class histograms of a prepared data set, and whether they are what the download itself says."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from opentrans.data.sources.base import Known
from opentrans.errors import UserError

_SMALL = 0.01  # relative difference that is not worth a remark
_LARGE = 0.5  # relative difference at which a class is wrong
_WRONG_SHARE = 0.1  # share of wrong classes at which the data set is
_MIN_COUNT = 20  # below this a relative difference says nothing


class Histogram:
    """Pixels of each class, images in which each class occurs, and ignored pixels; summed image by image."""

    def __init__(self, classes: int) -> None:
        self.pixels = np.zeros(classes + 1, np.int64)
        self.images = np.zeros(classes + 1, np.int64)

    def add(self, pixels: Mapping[str, int]) -> None:
        """Count one image; keys are class indices, that after the last class counts ignored pixels."""
        index = [int(name) for name in pixels]
        self.pixels[index] += list(pixels.values())
        self.images[index] += 1

    def describe(self) -> dict[str, object]:
        """The fields of ``stats.json``."""
        return {
            "pixels": self.pixels[:-1].tolist(),
            "images_per_class": self.images[:-1].tolist(),
            "ignored_pixels": int(self.pixels[-1]),
        }


def compare_known(histogram: Histogram, known: Known) -> list[str]:
    """Remarks on the classes whose counts differ from the known ones.

    Raises:
        UserError: so many classes are far off that labels and names cannot belong together.
    """
    remarks = []
    if known.pixels is not None:
        remarks += _compare("pixels", histogram.pixels[:-1], known.pixels, known)
    if known.images is not None:
        remarks += _compare("images", histogram.images[:-1], known.images, known)
    return remarks


def _compare(what: str, counted: Int[np.ndarray, " classes"], expected: Sequence[int], known: Known) -> list[str]:
    """At most one remark; `what` names the unit that is counted."""
    wanted = np.array(expected)
    judged = np.maximum(counted, wanted) >= _MIN_COUNT
    difference = np.maximum(counted - wanted, 0) if known.at_most else np.abs(counted - wanted)
    relative = np.where(judged, difference / np.maximum(wanted, 1), 0)

    wrong = np.flatnonzero(relative > _LARGE)
    if len(wrong) > _WRONG_SHARE * max(1, judged.sum()):
        worst = int(wrong[0])
        problem = (
            f"{len(wrong)} classes have other numbers of {what} than are known "
            f"(class {worst}: {counted[worst]}, expected {wanted[worst]})"
        )
        raise UserError(known.where, problem, "download labels and names again, of the same release")

    differing = np.flatnonzero(relative > _SMALL)
    if not len(differing):
        return []

    worst = int(np.argmax(relative))
    return [
        f"{len(differing)} classes differ by more than {_SMALL:.0%} in {what} from {known.where.name} "
        f"(class {worst}: {counted[worst]}, there {wanted[worst]})"
    ]
