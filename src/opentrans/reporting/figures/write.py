"""Figures as files: SVG and PNG, the same bytes for the same content."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from opentrans.reporting.figures.style import SETTINGS
from opentrans.system.files import atomic_path

DPI = 150
# No date, no version: equal content is equal bytes.
METADATA: Mapping[str, dict[str, str | None]] = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}


def write_figure(path: Path, figure: Figure) -> None:
    """Write `path` as .svg and .png (150 dots per inch)."""
    for suffix, metadata in METADATA.items():
        with atomic_path(path.with_suffix(suffix)) as temporary, matplotlib.rc_context(SETTINGS):
            figure.savefig(temporary, format=suffix[1:], dpi=DPI, metadata=metadata)


def write_figures(folder: Path, figures: Mapping[str, Figure]) -> None:
    """Write each figure under its name into `folder`."""
    for name, figure in figures.items():
        write_figure(folder / name, figure)
