"""``make-tables``: the paper's tables as CSV, Markdown, LaTeX and HTML."""

import argparse
from typing import TYPE_CHECKING

from opentrans.commands._arguments import add_cka, add_costs, add_experiments, add_files, add_output_dir, add_paper

if TYPE_CHECKING:
    from opentrans.config import Config

HELP = "make the paper's tables from evaluations, costs and comparisons, beside the paper's values"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_files(parser, "--evaluations", "metrics JSON files (evaluate)")
    add_costs(parser)
    add_cka(parser)
    add_files(parser, "--rounds", "rounds.csv of subnetworks (Table 8)")
    add_files(parser, "--logs", "training logs of runs (Table 8)")
    add_experiments(parser)
    add_paper(parser)
    add_files(parser, "--captions", "what each table is of: table{N}.rst, plain paragraphs")
    parser.add_argument("--tables", type=int, nargs="+", required=True, help="numbers of the tables")
    add_output_dir(parser, "table{N}.csv, .md, .tex, .html")


def run(args: argparse.Namespace) -> None:
    """Build each table, write it in four formats."""
    from opentrans.reporting.evidence import Evidence
    from opentrans.reporting.results import collect_results, count_iterations, describe_pruning, read_measures
    from opentrans.reporting.tables import build_table, read_captions, write_caption, write_notes, write_table
    from opentrans.reporting.tidy import read_logs, read_rounds
    from opentrans.runs.paper import read_paper
    from opentrans.runs.table import read_experiments

    config: Config = args.config
    experiments = read_experiments(args.experiments, config)
    measures = read_measures(args.costs, args.cka)
    rounds, logs = read_rounds(args.rounds), read_logs(args.logs)
    measures["training_iterations"] = count_iterations(rounds, logs)
    measures |= describe_pruning(rounds, logs)
    evidence = Evidence(collect_results(args.evaluations), measures, read_paper(args.paper), config.seeds)

    # All tables are built before one is written, so that an error leaves no half of them.
    captions = read_captions(args.captions)
    tables = {number: build_table(number, experiments, evidence) for number in args.tables}
    for number, table in tables.items():
        subject = captions.get(f"table{number}", "")
        caption = write_caption(number, config.profile, config.seeds, config.evaluation.denominator, subject)
        caption = f"{caption} {write_notes(number, experiments)}".strip()
        write_table(args.output_dir, number, table, caption)
