"""What jobs noted while they ran, as tidy tables: training logs, pruning rounds, densities of layers.

Which run a file belongs to is read from the folders that hold it, as the workflow lays them out, so that a shell
pattern such as ``results/mini/training/*/*/*/*/log.csv`` is enough to name many of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from opentrans.errors import UserError
from opentrans.runs.layout import parse_run, parse_subnetwork
from opentrans.system.files import read_json

LAYOUTS = {
    "run": ("target", "subnetwork", "freeze", "seed"),
    "subnetwork": ("subnetwork", "seed"),
}


def parse_folders(path: Path, layout: str) -> dict[str, str | int]:
    """The names of the `run` or the `subnetwork` that the folders of `path` hold, by column.

    Raises:
        UserError: the file does not lie where the results of one do.
    """
    return asdict(parse_run(path) if layout == "run" else parse_subnetwork(path))


def read_frame(path: Path, columns: Sequence[str], remedy: str, **options: Any) -> pd.DataFrame:
    """Read a CSV file.

    Args:
        path: the file.
        columns: what it must have; all its columns are kept.
        remedy: what to do where something is wrong.
        options: of `pandas.read_csv`.

    Raises:
        UserError: the file is missing, is no CSV or lacks a column.
    """
    try:
        frame: pd.DataFrame = pd.read_csv(path, **options)
    except FileNotFoundError:
        raise UserError(path, "no such file", remedy) from None
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(path, f"not readable as CSV ({error})", remedy) from None
    missing = [column for column in columns if column not in frame]
    if missing:
        raise UserError(path, f"column {', '.join(missing)} is missing", remedy)
    return frame


def read_traces(paths: Iterable[Path], layout: str, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of all files under each other, each with the names its folders hold; sorted by these names.

    Args:
        paths: CSV files.
        layout: what their folders say (`parse_folders`).
        columns: what every file must have; all its columns are kept.

    Raises:
        UserError: a file is missing, is no CSV, lacks a column or holds text where a number belongs.
    """
    frames = [_read(path, layout, columns) for path in paths]
    names = list(LAYOUTS[layout])
    if not frames:
        return pd.DataFrame(columns=pd.Index([*names, *columns]))
    return pd.concat(frames, ignore_index=True).sort_values(names, kind="stable", ignore_index=True)


def _read(path: Path, layout: str, columns: Sequence[str]) -> pd.DataFrame:
    identity, remedy = parse_folders(path, layout), "make the file again with the step that writes it"
    frame = read_frame(path, columns, remedy)
    text = [column for column in columns if column != "layer" and not pd.api.types.is_numeric_dtype(frame[column])]
    if text:
        raise UserError(path, f"column {text[0]} does not hold numbers", remedy)
    return frame.assign(**identity)


def read_logs(paths: Iterable[Path]) -> pd.DataFrame:
    """Training logs (``log.csv`` of runs): run, iteration, loss and the terms of the loss."""
    return read_traces(paths, "run", ("iteration", "loss"))


def read_layers(paths: Iterable[Path]) -> pd.DataFrame:
    """Densities (``layers.csv`` of subnetworks): subnetwork, seed, layer, weights, kept, density (0..1)."""
    return read_traces(paths, "subnetwork", ("layer", "weights", "kept", "density"))


def read_rounds(paths: Iterable[Path]) -> pd.DataFrame:
    """Pruning rounds (``rounds.csv``): subnetwork, seed, round, iterations, density, loss (nan: not trained)."""
    return read_traces(paths, "subnetwork", ("round", "iterations", "density", "loss"))


def read_alphas(paths: Iterable[Path]) -> pd.DataFrame:
    """Alpha traces of runs: run, iteration, layer, alpha (nan where no power law could be fitted)."""
    return read_traces(paths, "run", ("iteration", "layer", "alpha"))


def read_costs(paths: Iterable[Path]) -> pd.DataFrame:
    """Costs files (``count-costs``): run, flops (multiply-accumulates of one image), density (0..1)."""
    return read_figures(paths, ("flops", "density"), "count the costs again")


def read_figures(paths: Iterable[Path], names: Sequence[str], remedy: str) -> pd.DataFrame:
    """The figures `names` of runs from JSON files that say which run they belong to: one row a run and seed.

    Raises:
        UserError: with `remedy`, when a file is missing, is no JSON or lacks a field.
    """
    fields = [*LAYOUTS["run"], *names]
    rows = []
    for path in paths:
        content = read_json(path, remedy)
        missing = [name for name in fields if name not in content]
        if missing:
            raise UserError(path, f"field {missing[0]} is missing", remedy)
        rows.append({name: content[name] for name in fields})
    return pd.DataFrame(rows, columns=pd.Index(fields)).drop_duplicates(list(LAYOUTS["run"]))
