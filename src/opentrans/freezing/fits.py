"""Power-law fits of a backbone's layers as a table; without torch, because every freeze plan reads it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from opentrans.errors import UserError
from opentrans.system.files import read_csv, write_csv

_Value = TypeVar("_Value")
_FIELDS = ("layer", "shape", "weights", "alpha", "fit_quality", "xmin", "eigenvalues", "tail", "note")
_REMEDY = "correct the field or fit the layers again (fit-alphas)"


@dataclass(frozen=True)
class LayerSpectrum:
    """The fit of one layer; `alpha`, `xmin` and `fit_quality` are nan where none is possible and `note` says why.

    `eigenvalues` is the size of the spectrum, `tail` how many of them are at least `xmin`, `fit_quality` the
    Kolmogorov-Smirnov distance between tail and power law (small is good).
    """

    layer: str
    shape: tuple[int, ...]
    eigenvalues: int
    alpha: float = math.nan
    xmin: float = math.nan
    fit_quality: float = math.nan
    tail: int = 0
    note: str = ""


def write_fits(path: Path, spectra: Sequence[LayerSpectrum]) -> None:
    """Write one CSV row per layer, at full precision."""
    write_csv(path, _FIELDS, [_format(spectrum) for spectrum in spectra])


def read_fits(path: Path) -> list[LayerSpectrum]:
    """Read what `write_fits` wrote; a wrong field is a `UserError` with file, row and field."""
    lines = enumerate(read_csv(path, _FIELDS, _REMEDY), start=2)
    return [_parse_fit(Row(path, number, line, _REMEDY)) for number, line in lines]


@dataclass(frozen=True)
class Row:
    """A row of a table of layers that a person may have edited."""

    path: Path
    number: int
    values: Mapping[str, str]
    remedy: str

    def parse(self, name: str, convert: Callable[[str], _Value]) -> _Value:
        """The field `name`; what `convert` refuses is a `UserError` that names it."""
        try:
            return convert((self.values[name] or "").strip())
        except ValueError:
            problem = f"{self.values[name]!r} is not a value of this field"
            raise UserError(f"{self.path}: row {self.number}: {name}", problem, self.remedy) from None

    def parse_shape(self) -> tuple[int, ...]:
        """The field ``shape``, with which ``weights`` has to agree."""
        shape = self.parse("shape", _parse_shape)
        if self.parse("weights", int) != math.prod(shape):
            problem = f"{self.values['weights']} does not fit shape {self.values['shape']}"
            raise UserError(f"{self.path}: row {self.number}: weights", problem, self.remedy)
        return shape


def _parse_fit(row: Row) -> LayerSpectrum:
    return LayerSpectrum(
        layer=row.parse("layer", parse_name),
        shape=row.parse_shape(),
        eigenvalues=row.parse("eigenvalues", int),
        alpha=row.parse("alpha", parse_number),
        xmin=row.parse("xmin", parse_number),
        fit_quality=row.parse("fit_quality", parse_number),
        tail=row.parse("tail", int),
        note=row.values["note"] or "",
    )


def _format(spectrum: LayerSpectrum) -> dict[str, object]:
    numbers = {name: getattr(spectrum, name) for name in ("alpha", "fit_quality", "xmin")}
    shown = {name: format_number(value, ".17g") for name, value in numbers.items()}
    counts = {"eigenvalues": spectrum.eigenvalues, "tail": spectrum.tail}
    return {**describe_size(spectrum.layer, spectrum.shape), **shown, **counts, "note": spectrum.note}


def describe_size(layer: str, shape: tuple[int, ...]) -> dict[str, object]:
    """The fields ``layer``, ``shape`` and ``weights``."""
    return {"layer": layer, "shape": "x".join(map(str, shape)), "weights": math.prod(shape)}


def format_number(value: float, style: str) -> str:
    """A number in `style`; nan is an empty field."""
    return "" if math.isnan(value) else format(value, style)


def parse_number(text: str) -> float:
    """A number; an empty field is nan."""
    return float(text) if text else math.nan


def parse_name(text: str) -> str:
    """A name that is not empty."""
    if not text:
        raise ValueError(text)
    return text


def _parse_shape(text: str) -> tuple[int, ...]:
    shape = tuple(int(part) for part in text.split("x"))
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(text)
    return shape
