"""One tidy table of everything measured: a row for each run x seed x benchmark."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from opentrans.errors import UserError
from opentrans.evaluation.miou import DENOMINATORS
from opentrans.files import read_json, write_text

KEYS = ["target", "subnetwork", "freeze", "seed", "benchmark"]
COLUMNS = [*KEYS, "denominator", "miou", "miou_present", "miou_union", "images", "prompts"]
DECIMALS = 4
EVALUATE_AGAIN = "evaluate this run again"


def read_results(path: Path) -> pd.DataFrame:
    """Read ``results.csv``; a missing column is a `UserError`."""
    try:
        results = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(path, "no such file", "collect the results again") from None
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(path, f"not readable as CSV ({error})", "collect the results again") from None
    missing = [column for column in COLUMNS if column not in results]
    if missing:
        raise UserError(path, f"column {', '.join(missing)} is missing", "collect the results again")
    return results


def collect_results(evaluations: Iterable[Path]) -> pd.DataFrame:
    """Gather evaluation files; `miou` (percent) follows the file's own denominator.

    Raises:
        UserError: a file lacks a field, or two files hold the same run x seed x benchmark.
    """
    rows, origin = [], dict[tuple[Any, ...], Path]()
    for path in evaluations:
        row = _row(path)
        key = tuple(row[name] for name in KEYS)
        if key in origin:
            raise UserError(path, f"the same run and benchmark as {origin[key]}", "give each evaluation once")
        origin[key] = path
        rows.append(row)
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS)).sort_values(KEYS, ignore_index=True)


def _row(path: Path) -> dict[str, Any]:
    content = read_json(path, EVALUATE_AGAIN)
    try:
        protocol, miou = content["protocol"], content["miou"]
        row = {name: content[name] for name in [*KEYS, "images"]}
        row |= {f"miou_{name}": miou[name] for name in DENOMINATORS}
        return row | {
            "denominator": protocol["denominator"],
            "prompts": protocol["prompts"],
            "miou": miou[protocol["denominator"]],
        }
    except (KeyError, TypeError) as error:
        raise UserError(path, f"field {error} is missing", EVALUATE_AGAIN) from None


def write_results(path: Path, results: pd.DataFrame) -> None:
    """Write CSV with a fixed number of decimals."""
    write_text(path, results.to_csv(index=False, float_format=f"%.{DECIMALS}f", lineterminator="\n"))


def collect_costs(paths: Iterable[Path]) -> pd.DataFrame:
    """Gather costs files (`count-costs`), one row a run x seed."""
    identity, metrics = KEYS[:-1], ["params", "flops", "training_flops"]
    rows = []
    for path in paths:
        content = read_json(path, "count the costs again")
        missing = [name for name in [*identity, *metrics] if name not in content]
        if missing:
            raise UserError(path, f"field {missing[0]} is missing", "count the costs again")
        rows.append({name: content[name] for name in [*identity, *metrics]})
    return pd.DataFrame(rows, columns=pd.Index([*identity, *metrics])).drop_duplicates(identity)
