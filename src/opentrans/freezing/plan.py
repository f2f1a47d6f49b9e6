"""Freeze plans: which convolutions of a backbone stay frozen, in a table that a person can read and edit."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np
from torch import Tensor

from opentrans.config import FreezeRecipe
from opentrans.errors import UserError
from opentrans.files import read_csv, write_csv
from opentrans.spectra import LayerSpectrum

Value = TypeVar("Value")
FIELDS = ("layer", "shape", "weights", "alpha", "fit_quality", "xmin", "frozen", "note")
YES, NO = ("true", "yes", "1"), ("false", "no", "0")
REMEDY = "correct the field or make the plan again (plan-freeze)"


@dataclass(frozen=True)
class PlannedLayer:
    """One layer (in our backbones a convolution); `alpha`, `fit_quality`, `xmin` are nan where no fit was possible."""

    layer: str
    shape: tuple[int, ...]
    alpha: float
    fit_quality: float
    xmin: float
    frozen: bool
    note: str = ""

    @property
    def weights(self) -> int:
        """How many weights the layer has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class FreezePlan:
    """The plan of a whole backbone: one row a convolution, in network order."""

    rows: tuple[PlannedLayer, ...]

    @property
    def frozen(self) -> list[str]:
        """The names of the frozen layers."""
        return [row.layer for row in self.rows if row.frozen]

    def write(self, path: Path) -> None:
        """Write as CSV, numbers with six digits, `frozen` as true or false."""
        write_csv(path, FIELDS, [_format_row(row) for row in self.rows])

    @classmethod
    def read(cls, path: Path) -> "FreezePlan":
        """Read a plan, written or edited; a wrong field is a `UserError` with file, row and field."""
        rows = read_csv(path, FIELDS, REMEDY)
        plan = cls(tuple(_parse_row(path, number, row) for number, row in enumerate(rows, start=2)))
        names = [row.layer for row in plan.rows]
        repeated = [name for index, name in enumerate(names) if name in names[:index]]
        if repeated:
            raise UserError(path, f"layer {repeated[0]} is listed twice", REMEDY)
        return plan


def make_plan(recipe: FreezeRecipe, spectra: Sequence[LayerSpectrum], seed: int) -> FreezePlan:
    """Choose the frozen layers (Sec. 3.3).

    Of the n layers with a fit, floor(ratio * n) are frozen: those with the smallest alpha (``bottom``; at ratio
    0.5 these are the layers strictly below the median), the largest (``top``, alpha*) or random ones. Of equal
    alphas the earlier layer goes first. A layer without a fit is never frozen, its note says why.

    The paper computes alpha "after pruning, before adopting the masks" (Fig. 6). Here weights outside a mask are
    zero from the first pruning on, so alpha is that of the weights as they are stored.
    """
    fitted = [index for index, spectrum in enumerate(spectra) if math.isfinite(spectrum.alpha)]
    count = math.floor(Fraction(str(recipe.ratio)) * len(fitted)) if recipe.method != "none" else 0
    if recipe.method == "random":
        chosen = set(np.random.default_rng([seed]).permutation(fitted)[:count].tolist())
    else:
        sign = 1 if recipe.order == "bottom" else -1
        chosen = set(sorted(fitted, key=lambda index: sign * spectra[index].alpha)[:count])
    rows = (
        PlannedLayer(s.layer, s.shape, s.alpha, s.fit_quality, s.xmin, index in chosen, s.note)
        for index, s in enumerate(spectra)
    )
    return FreezePlan(tuple(rows))


def select_convolutions(tensors: Mapping[str, Tensor], prefix: str, where: object) -> dict[str, Tensor]:
    """The convolution weights under `prefix` by the backbone's parameter names, in network order.

    A backbone's four-dimensional tensors are its convolutions; files list names alphabetically, so the numbers
    in them are put in order.

    Raises:
        UserError: naming `where`, when there are none.
    """
    found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    names = sorted((name for name, value in found.items() if value.ndim == 4), key=_natural_key)
    if not names:
        raise UserError(where, f"no convolution's name starts with {prefix!r}", "give the backbone's --prefix")
    return {name: found[name] for name in names}


def _natural_key(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _format_row(row: PlannedLayer) -> dict[str, object]:
    numbers = {name: getattr(row, name) for name in ("alpha", "fit_quality", "xmin")}
    shown = {name: "" if math.isnan(value) else f"{value:.6g}" for name, value in numbers.items()}
    size = {"layer": row.layer, "shape": "x".join(map(str, row.shape)), "weights": row.weights}
    return {**size, **shown, "frozen": str(row.frozen).lower(), "note": row.note}


def _parse_row(path: Path, number: int, row: Mapping[str, str]) -> PlannedLayer:
    def parse(name: str, convert: Callable[[str], Value]) -> Value:
        try:
            return convert((row[name] or "").strip())
        except ValueError:
            problem = f"{row[name]!r} is not a value of this field"
            raise UserError(f"{path}: row {number}: {name}", problem, REMEDY) from None

    planned = PlannedLayer(
        layer=parse("layer", _parse_name),
        shape=parse("shape", _parse_shape),
        alpha=parse("alpha", _parse_number),
        fit_quality=parse("fit_quality", _parse_number),
        xmin=parse("xmin", _parse_number),
        frozen=parse("frozen", _parse_flag),
        note=row["note"] or "",
    )
    if parse("weights", int) != planned.weights:
        raise UserError(f"{path}: row {number}: weights", f"{row['weights']} does not fit shape {row['shape']}", REMEDY)
    return planned


def _parse_name(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _parse_shape(text: str) -> tuple[int, ...]:
    shape = tuple(int(part) for part in text.split("x"))
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(text)
    return shape


def _parse_number(text: str) -> float:
    return float(text) if text else math.nan


def _parse_flag(text: str) -> bool:
    if text.casefold() not in YES + NO:
        raise ValueError(text)
    return text.casefold() in YES
