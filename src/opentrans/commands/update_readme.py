"""The README's table and figure, copied from the results so that nobody types a number."""

import argparse
import shutil
from pathlib import Path

HELP = "put the tables and figures of a run into the README"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--results", type=Path, required=True, help="result folder, such as results/mini")
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    parser.add_argument("--images", type=Path, default=Path("docs/images"), help="where the README's pictures lie")


def run(args: argparse.Namespace) -> None:
    """Replace what stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` by ``tables/NAME.md``."""
    from opentrans.errors import UserError
    from opentrans.files import write_text

    text = args.readme.read_text(encoding="utf-8")
    for table in sorted((args.results / "tables").glob("*.md")):
        begin, end = f"<!-- begin {table.stem} -->", f"<!-- end {table.stem} -->"
        if begin in text:
            before, rest = text.split(begin, 1)
            if end not in rest:
                raise UserError(args.readme, f"{end} is missing", "add the closing mark")
            text = f"{before}{begin}\n{table.read_text(encoding='utf-8').strip()}\n{end}{rest.split(end, 1)[1]}"
    write_text(args.readme, text)
    args.images.mkdir(parents=True, exist_ok=True)
    for figure in sorted((args.results / "figures").glob("*.svg")):
        shutil.copyfile(figure, args.images / figure.name)
