"""``judge-claims``: which of the paper's claims hold in this run."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from opentrans.commands._arguments import (
    add_cka,
    add_costs,
    add_experiments,
    add_files,
    add_output,
    add_paper,
    add_results,
)

if TYPE_CHECKING:
    from opentrans.config import Config

HELP = "judge the paper's claims by this run's results: effect, interval, paired test over seeds, verdict"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_results(parser)
    add_costs(parser)
    add_cka(parser)
    add_files(parser, "--alphas", "traces of alpha (trace-alphas)")
    add_files(parser, "--rounds", "rounds.csv of subnetworks (iterations of the search)")
    add_files(parser, "--logs", "training logs of runs (iterations of the training)")
    add_experiments(parser)
    parser.add_argument("--claims", type=Path, required=True, help="claims table")
    add_paper(parser)
    add_output(parser, "claims with evidence and verdict (CSV)")
    parser.add_argument("--markdown", type=Path, required=True, help="the same to read, with the rule")
    parser.add_argument("--html", type=Path, required=True, help="the same as a section of the report's page")


def run(args: argparse.Namespace) -> None:
    """Judge and write."""
    from opentrans.reporting.alpha_measures import measure_alphas
    from opentrans.reporting.claims import read_claims
    from opentrans.reporting.evidence import Evidence
    from opentrans.reporting.judging import RULE, build_claims_table, judge_claims
    from opentrans.reporting.render import to_csv, to_html, to_markdown
    from opentrans.reporting.results import count_iterations, read_measures, read_results
    from opentrans.reporting.tidy import read_alpha_traces, read_logs, read_rounds
    from opentrans.runs.paper import read_paper
    from opentrans.runs.table import read_experiments
    from opentrans.system.files import write_text

    config: Config = args.config
    claims = read_claims(args.claims, read_experiments(args.experiments, config))
    measures = read_measures(args.costs, args.cka)
    measures |= measure_alphas(read_alpha_traces(args.alphas))
    measures["training_iterations"] = count_iterations(read_rounds(args.rounds), read_logs(args.logs))
    evidence = Evidence(read_results(args.results), measures, read_paper(args.paper), config.seeds)

    seeds = ", ".join(map(str, config.seeds))
    caption = f"The paper's claims, judged by the run of profile {config.profile} (seeds {seeds})."
    table = build_claims_table(judge_claims(claims, evidence, config.skip))
    write_text(args.output, to_csv(table))
    write_text(args.markdown, to_markdown(table, f"{caption}\n\n{RULE}"))
    write_text(args.html, to_html(table, caption, args.output.stem, RULE))
