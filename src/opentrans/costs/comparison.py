"""Params and FLOPs at true size beside the paper's."""

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from opentrans.errors import UserError
from opentrans.runs.paper import PaperRow

MEGA, GIGA = 1e6, 1e9


def get_paper_cost(paper: Mapping[str, PaperRow], key: str, metric: str) -> float:
    """What the paper prints for the row of this id: Params in M, FLOPs in G, Training FLOPs in P.

    Raises:
        UserError: it has no such row or value.
    """
    if key not in paper or metric not in paper[key].values:
        raise UserError("the paper's values", f"hold no {metric} of {key}", "take config/paper_results.csv")
    return paper[key].values[metric]


def format_inference(counts: Mapping[str, Any], paper: Mapping[str, PaperRow]) -> str:
    """Params and FLOPs of every target, dense and pruned, beside Table 1 of the paper, and what pruning saves.

    Args:
        counts: of `count_all_targets`.
        paper: the paper's rows by id.
    """
    rows = []
    for name, target in counts["targets"].items():
        theirs = {
            subnetwork: {key: get_paper_cost(paper, f"t1_{name}_{subnetwork}", key) for key in ("params", "flops")}
            for subnetwork in ("dense", "ours")
        }
        rows.append([name, "dense", *_compare(target["dense"], theirs["dense"])])
        rows.append([name, "ours", *_compare(target["sparse"], theirs["ours"])])

        saved, paper_saved = _subtract(target["dense"], target["sparse"]), _subtract(theirs["dense"], theirs["ours"])
        rows.append([name, "saved", *_compare(saved, paper_saved)])

    head = ["target", "subnetwork", "Params (M)", "paper", "difference", "FLOPs (G)", "paper", "difference"]
    return format_table(rows, head)


def _subtract(dense: Mapping[str, float], sparse: Mapping[str, float]) -> dict[str, float]:
    return {key: dense[key] - sparse[key] for key in ("params", "flops")}


def _compare(ours: Mapping[str, float], theirs: Mapping[str, float]) -> list[str]:
    """Ours, the paper's and the difference in percent, of Params and of FLOPs."""
    cells = []
    for key, unit in (("params", MEGA), ("flops", GIGA)):
        value = ours[key] / unit
        cells += [f"{value:.2f}", f"{theirs[key]:.1f}", f"{value / theirs[key] - 1:+.1%}"]
    return cells


def format_table(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    """A Markdown table of text."""
    text: str = tabulate(rows, head, tablefmt="github", disable_numparse=True)
    return text
