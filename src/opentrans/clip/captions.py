"""Captioned images on disk: ``captions.csv``, ``heldout.json`` and the images they name."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from opentrans.data.prepared import read_rgb
from opentrans.errors import UserError
from opentrans.system.files import read_csv, read_json, require_folder

_FIELDS = ("image", "caption", "split", "kind", "name")
_REMEDY = "make the captioned images again (opentrans make-world)"


@dataclass(frozen=True)
class CaptionedImages:
    """Images of one split: RGB bytes, what each caption says, the plain name shown, and the kind of image.

    `kinds` tells ``object`` (on a ground), ``stuff`` and ``crop`` (masked region of a scene) apart.
    """

    images: UInt8[Tensor, "n 3 s s"]
    captions: list[str]
    names: list[str]
    kinds: list[str]

    def __len__(self) -> int:
        return len(self.captions)


@dataclass(frozen=True)
class CaptionedNames:
    """All names of the world, and those of them that no training caption holds."""

    all: list[str]
    held_out: list[str]

    @classmethod
    def read(cls, folder: Path) -> "CaptionedNames":
        """Read ``heldout.json``; a missing field or a held-out name that is none is a `UserError`."""
        path = folder / "heldout.json"
        content = read_json(path, _REMEDY)
        try:
            names = cls(list(content["names"]), list(content["heldout"]))
        except (KeyError, TypeError) as error:
            raise UserError(path, f"field {error} is missing", _REMEDY) from None

        strange = set(names.held_out) - set(names.all)
        if strange or not names.held_out:
            raise UserError(path, f"field heldout is empty or not among names: {sorted(strange)[:3]}", _REMEDY)
        return names


def read_images(folder: Path, split: str, size: int) -> CaptionedImages:
    """Read the images of one split (``train`` or ``test``) of `folder`, at `size` x `size` pixels.

    Raises:
        UserError: missing folder, table, column or image; a split without images.
    """
    path = require_folder(folder, _REMEDY) / "captions.csv"
    rows = [row for row in read_csv(path, _FIELDS, _REMEDY) if row["split"] == split]
    if not rows:
        raise UserError(f"{path}: split", f"no image of split {split}", _REMEDY)

    pixels = np.stack([_fit(read_rgb(folder / row["image"]), size) for row in rows])
    return CaptionedImages(
        images=torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
        captions=[row["caption"] for row in rows],
        names=[row["name"] for row in rows],
        kinds=[row["kind"] for row in rows],
    )


def _fit(image: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
