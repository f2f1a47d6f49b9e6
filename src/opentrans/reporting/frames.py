"""CSV files as data frames, or one line that says what is wrong with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from opentrans.errors import UserError


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
