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

HELP = "judge the paper's claims by this run's results: effect, spread, paired test, verdict"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_results(parser)
    add_costs(parser)
    add_cka(parser)
    add_files(parser, "--alphas", "traces of alpha (trace-alphas)")
    add_experiments(parser)
    parser.add_argument("--claims", type=Path, required=True, help="claims table")
    add_paper(parser)
    add_output(parser, "claims with evidence and verdict (CSV)")
    parser.add_argument("--markdown", type=Path, required=True, help="the same to read, with the rule")


def run(args: argparse.Namespace) -> None:
    """Judge and write."""
    from opentrans.reporting.claims import RULE, Evidence, judge_claims, read_claims
    from opentrans.reporting.figures.alphas import compute_medians
    from opentrans.reporting.results import (
        CKA_METRICS,
        COST_METRICS,
        collect_measures,
        measure_alpha_change,
        read_results,
    )
    from opentrans.reporting.tables import read_paper
    from opentrans.reporting.tidy import read_alphas
    from opentrans.runs.table import read_experiments
    from opentrans.system.files import write_text

    config: Config = args.config
    measures = collect_measures(COST_METRICS, args.costs, "count the costs again")
    measures |= collect_measures(CKA_METRICS, args.cka, "compare the backbones again")
    measures["alpha_change"] = measure_alpha_change(compute_medians(read_alphas(args.alphas)))
    evidence = Evidence(read_results(args.results), measures, read_paper(args.paper), config.seeds)
    table = judge_claims(read_claims(args.claims, read_experiments(args.experiments, config)), evidence)
    write_text(args.output, table.to_csv(index=False, lineterminator="\n"))
    seeds = ", ".join(map(str, config.seeds))
    caption = f"The paper's claims, judged by the run of profile {config.profile} (seeds {seeds})."
    body = table.to_markdown(index=False, disable_numparse=True)
    write_text(args.markdown, f"{caption}\n\n{RULE}\n\n{body}\n")
