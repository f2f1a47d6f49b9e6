"""Freeze plans: which convolutions of a backbone stay frozen, in a table that a person can read and edit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from opentrans.config import FreezeRecipe
from opentrans.errors import UserError
from opentrans.freezing.fits import LayerSpectrum, Row, describe_size, format_number, parse_name, parse_number
from opentrans.system.files import read_csv, write_csv

PLAN_FIELDS = ("layer", "shape", "weights", "alpha", "fit_quality", "xmin", "frozen", "note")
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")
_REMEDY = "correct the field or make the plan again (plan-freeze)"


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
    """The plan of a whole network: one row per layer, in network order."""

    rows: tuple[PlannedLayer, ...]

    @property
    def frozen(self) -> list[str]:
        """The names of the frozen layers."""
        return [row.layer for row in self.rows if row.frozen]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each layer by its name."""
        return {row.layer: row.shape for row in self.rows}

    def write(self, path: Path) -> None:
        """Write as CSV: alpha, fit quality and x_min with six digits, `frozen` as true or false."""
        write_csv(path, PLAN_FIELDS, [_format_row(row) for row in self.rows])

    @classmethod
    def read(cls, path: Path) -> "FreezePlan":
        """Read a plan, written or edited; a wrong field is a `UserError` with file, row and field."""
        lines = enumerate(read_csv(path, PLAN_FIELDS, _REMEDY), start=2)
        rows = tuple(_parse_row(Row(path, number, line, _REMEDY)) for number, line in lines)
        names = [row.layer for row in rows]
        repeated = [name for index, name in enumerate(names) if name in names[:index]]
        if repeated:
            raise UserError(path, f"layer {repeated[0]} is listed twice", _REMEDY)
        return cls(rows)


def make_plan(recipe: FreezeRecipe, spectra: Sequence[LayerSpectrum], seed: int) -> FreezePlan:
    """Choose the frozen layers (Sec. 3.3).

    Of the n layers with a fit, floor(ratio * n) are frozen: those with the smallest alpha (``bottom``; at ratio
    0.5 these are the layers strictly below the median), the largest (``top``, alpha*) or random ones. Of equal
    alphas the earlier layer goes first. A layer without a fit is never frozen, its note says why.

    Of a pruned backbone the paper computes alpha "after pruning, before adopting the masks" (Fig. 6): which weights
    `spectra` are fits of, these or the masked ones, is the recipe's `weights` (`opentrans.freezing.select`).
    """
    fitted = [index for index, fit in enumerate(spectra) if math.isfinite(fit.alpha)]
    # Exact: as a binary float the product could fall below the integer that it stands for.
    n_frozen = math.floor(Fraction(str(recipe.ratio)) * len(fitted)) if recipe.method != "none" else 0

    if recipe.method == "random":
        ordered = np.random.default_rng([seed]).permutation(fitted).tolist()
    else:
        # A stable sort, reversed or not: of equal alphas the earlier layer stays first.
        ordered = sorted(fitted, key=lambda index: spectra[index].alpha, reverse=recipe.order == "top")
    frozen = set(ordered[:n_frozen])

    rows = (
        PlannedLayer(fit.layer, fit.shape, fit.alpha, fit.fit_quality, fit.xmin, index in frozen, fit.note)
        for index, fit in enumerate(spectra)
    )
    return FreezePlan(tuple(rows))


def _format_row(row: PlannedLayer) -> dict[str, object]:
    numbers = {name: format_number(getattr(row, name), ".6g") for name in ("alpha", "fit_quality", "xmin")}
    return {**describe_size(row.layer, row.shape), **numbers, "frozen": str(row.frozen).lower(), "note": row.note}


def _parse_row(row: Row) -> PlannedLayer:
    return PlannedLayer(
        layer=row.parse("layer", parse_name),
        shape=row.parse_shape(),
        alpha=row.parse("alpha", parse_number),
        fit_quality=row.parse("fit_quality", parse_number),
        xmin=row.parse("xmin", parse_number),
        frozen=row.parse("frozen", _parse_flag),
        note=row.values["note"] or "",
    )


def _parse_flag(text: str) -> bool:
    if text.casefold() not in _YES + _NO:
        raise ValueError(text)
    return text.casefold() in _YES
