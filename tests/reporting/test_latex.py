"""The tables as LaTeX, compiled by the real pdflatex: skipped, with the reason, without it (CI installs it)."""

import shutil
import subprocess

import pytest

from opentrans.reporting.cells import Cell, Column, Table
from opentrans.reporting.tables import write_caption, write_table

pytestmark = pytest.mark.workflow

DOCUMENT = (
    r"\documentclass{article}\usepackage[utf8]{inputenc}\usepackage{booktabs,graphicx}\begin{document}%s\end{document}"
)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here (Debian: texlive-latex-recommended)")
def test_tables_with_every_kind_of_cell_compile_with_booktabs(tmp_path):
    quality = [Cell(36.0, 1.0, None, "%"), Cell(None, None, 94.0, "%")]
    table = Table(
        [
            Column("Method", ["Han & co_1 #2 {x} ~ ^ $ \\", "SAN † (quoted)"]),
            Column("pas20", quality, ".1f", ".1f"),
            Column("Params", [Cell(310_000.0), Cell()], ".4g", ".1f", "M"),
        ]
    )
    for number in (1, 3):
        caption = write_caption(number, "my_profile", [0, 1], "present") + " † Not the paper's."
        write_table(tmp_path, number, table, caption)
    (tmp_path / "all.tex").write_text(DOCUMENT % r"\input{table1}\input{table3}", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "all.pdf").stat().st_size > 0
