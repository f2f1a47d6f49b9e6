"""What jobs noted while they ran, as tidy tables: training logs, pruning rounds, densities of layers.

Which run a file belongs to is read from the folders that hold it, as the workflow lays them out, so that a shell
pattern such as ``results/mini/training/*/*/*/*/log.csv`` is enough to name many of them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd

from opentrans.errors import UserError
from opentrans.runs.layout import parse_run, parse_subnetwork
from opentrans.runs.table import RunId, SubnetworkId
from opentrans.system.files import read_json

# What tells the rows of one run, or of one subnetwork, from those of another.
RUN_KEYS = [field.name for field in fields(RunId)]
SUBNETWORK_KEYS = [field.name for field in fields(SubnetworkId)]


def read_frame(path: Path, columns: Sequence[str], remedy: str) -> pd.DataFrame:
    """Read a CSV file that has at least `columns`; all its columns are kept.

    Raises:
        UserError: with `remedy`, when the file is missing, is no CSV or lacks a column.
    """
    try:
        frame: pd.DataFrame = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(path, "no such file", remedy) from None
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(path, f"not readable as CSV ({error})", remedy) from None

    missing = [column for column in columns if column not in frame]
    if missing:
        raise UserError(path, f"column {', '.join(missing)} is missing", remedy)
    return frame


def _read_run_traces(paths: Iterable[Path], columns: Sequence[str]) -> pd.DataFrame:
    """The rows of files of runs under each other, each with the names of its run; sorted by these names."""
    return _join([_read_trace(path, parse_run, columns) for path in paths], [*RUN_KEYS, *columns], RUN_KEYS)


def _read_subnetwork_traces(paths: Iterable[Path], columns: Sequence[str]) -> pd.DataFrame:
    """The same for files of subnetworks."""
    frames = [_read_trace(path, parse_subnetwork, columns) for path in paths]
    return _join(frames, [*SUBNETWORK_KEYS, *columns], SUBNETWORK_KEYS)


def _join(frames: Sequence[pd.DataFrame], columns: Sequence[str], keys: list[str]) -> pd.DataFrame:
    if not frames:
        return pd.DataFrame(columns=pd.Index(columns))
    return pd.concat(frames, ignore_index=True).sort_values(keys, kind="stable", ignore_index=True)


def _read_trace(path: Path, parse: Callable[[Path], RunId | SubnetworkId], columns: Sequence[str]) -> pd.DataFrame:
    """One file with at least `columns`, all of them numbers except ``layer``, and the names that `parse` reads.

    Raises:
        UserError: the file lies elsewhere, is missing, is no CSV, lacks a column or holds text where a number belongs.
    """
    remedy = "make the file again with the step that writes it"
    names = asdict(parse(path))
    frame = read_frame(path, columns, remedy)

    text = [column for column in columns if column != "layer" and not pd.api.types.is_numeric_dtype(frame[column])]
    if text:
        raise UserError(path, f"column {text[0]} does not hold numbers", remedy)
    return frame.assign(**names)


def read_logs(paths: Iterable[Path]) -> pd.DataFrame:
    """Training logs (``log.csv`` of runs): run, iteration, loss and the terms of the loss."""
    return _read_run_traces(paths, ("iteration", "loss"))


def read_layers(paths: Iterable[Path]) -> pd.DataFrame:
    """Densities (``layers.csv`` of subnetworks): subnetwork, seed, layer, weights, kept, density (0..1)."""
    return _read_subnetwork_traces(paths, ("layer", "weights", "kept", "density"))


def read_rounds(paths: Iterable[Path]) -> pd.DataFrame:
    """Pruning rounds (``rounds.csv``): subnetwork, seed, round, iterations, density, loss (nan: not trained)."""
    return _read_subnetwork_traces(paths, ("round", "iterations", "density", "loss"))


def read_alpha_traces(paths: Iterable[Path]) -> pd.DataFrame:
    """Alpha in training: run, iteration, layer, alpha (nan where no power law could be fitted)."""
    return _read_run_traces(paths, ("iteration", "layer", "alpha"))


def read_costs(paths: Iterable[Path]) -> pd.DataFrame:
    """Costs files (``count-costs``): run, flops (multiply-accumulates of one image), density (0..1)."""
    return read_run_values(paths, ("flops", "density"), "count the costs again")


def read_run_values(paths: Iterable[Path], names: Sequence[str], remedy: str) -> pd.DataFrame:
    """The values `names` of runs from JSON files that say which run they belong to: one row a run.

    Raises:
        UserError: with `remedy`, when a file is missing, is no JSON or lacks a field.
    """
    columns = [*RUN_KEYS, *names]
    rows = []
    for path in paths:
        content = read_json(path, remedy)
        missing = [name for name in columns if name not in content]
        if missing:
            raise UserError(path, f"field {missing[0]} is missing", remedy)
        rows.append({name: content[name] for name in columns})
    return pd.DataFrame(rows, columns=pd.Index(columns)).drop_duplicates(RUN_KEYS)
