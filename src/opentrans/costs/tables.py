"""The CSV files that costs are counted from: profile and densities."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from opentrans.costs.counting import Density, LayerCost
from opentrans.errors import UserError
from opentrans.system.files import read_csv, write_csv

PROFILE_REMEDY = "profile the target again"
YES, NO = ("yes", "true", "1"), ("no", "false", "0")


PROFILE_FIELDS = tuple(field.name for field in fields(LayerCost))


def write_profile(path: Path, layers: list[LayerCost]) -> None:
    """Write a profile as CSV."""
    rows = [asdict(layer) | {"trained": "yes" if layer.trained else "no"} for layer in layers]
    write_csv(path, PROFILE_FIELDS, rows)


def read_profile(path: Path) -> list[LayerCost]:
    """Read what `write_profile` wrote."""
    layers = []
    for number, row in enumerate(read_csv(path, PROFILE_FIELDS, PROFILE_REMEDY), start=2):
        where = f"{path}: line {number}"
        parameters, macs, training = (_count(row, name, where) for name in PROFILE_FIELDS[3:6])
        trained = _flag(row, "trained", where)
        layers.append(LayerCost(row["layer"], row["part"], row["kind"], parameters, macs, training, trained))
    return layers


def read_densities(path: Path) -> dict[str, Density]:
    """Read a subnetwork's ``layers.csv`` (columns layer, weights, kept)."""
    densities = {}
    for number, row in enumerate(read_csv(path, ("layer", "weights", "kept")), start=2):
        where = f"{path}: line {number}"
        weights, kept = _count(row, "weights", where), _count(row, "kept", where)
        if not 0 <= kept <= weights or weights == 0:
            raise UserError(f"{where}, column kept", f"{kept} of {weights} weights", "make the subnetwork again")
        densities[row["layer"]] = Density(weights, kept)
    return densities


def require_layers(layers: Mapping[str, object] | set[str], profile: list[LayerCost], path: Path) -> None:
    """Refuse a file that names a layer the profiled backbone lacks."""
    unknown = set(layers) - {layer.layer for layer in profile}
    if unknown:
        raise UserError(path, f"layer {min(unknown)} is not in the profile", "take the files of the same backbone")


def _count(row: Mapping[str, str], field: str, where: str) -> int:
    try:
        return int(row[field])
    except (ValueError, TypeError):
        raise UserError(
            f"{where}, column {field}", f"{row[field]!r} is no whole number", "make the file again"
        ) from None


def _flag(row: Mapping[str, str], field: str, where: str) -> bool:
    value = (row[field] or "").strip().casefold()
    if value not in YES + NO:
        raise UserError(f"{where}, column {field}", f"{row[field]!r} is neither yes nor no", "write yes or no")
    return value in YES
