"""``docs/costs.md``: the counts beside the paper's figures, in blocks between markers that nobody edits by hand."""

import re
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from tabulate import tabulate

from opentrans.errors import UserError
from opentrans.system.files import read_csv, write_text

Paper = Mapping[tuple[str, str, str, str], float]
GIGA, MEGA = 1e9, 1e6


def read_paper(path: Path) -> Paper:
    """The paper's cost figures by (target, subnetwork, freeze, metric); tables that repeat one agree."""
    rows = read_csv(path, ("target", "subnetwork", "freeze", "metric", "value"))
    wanted = ("params", "flops", "training_flops")
    named = {}
    for number, row in enumerate(rows, start=2):
        if row["metric"] in wanted and row["target"] != "published":
            try:
                named[row["target"], row["subnetwork"], row["freeze"], row["metric"]] = float(row["value"])
            except ValueError:
                problem = f"{row['value']!r} is no number"
                raise UserError(f"{path}: line {number}, column value", problem, "restore the file") from None
    return named


def format_inference(counts: Mapping[str, Any], paper: Paper) -> str:
    """Params and FLOPs of every target, dense and pruned, beside the paper's, and what pruning saves."""
    rows = []
    for name, target in counts["targets"].items():
        for subnetwork, state in (("dense", "dense"), ("ours", "sparse")):
            rows.append([name, subnetwork, *_pair(target[state], paper, name, subnetwork)])
        saved = {key: target["dense"][key] - target["sparse"][key] for key in ("params", "flops")}
        difference = {key: _of(paper, name, "dense", key) - _of(paper, name, "ours", key) for key in saved}
        rows.append([name, "saved", *_cells(saved, difference)])
    head = ["target", "subnetwork", "Params (M)", "paper", "difference", "FLOPs (G)", "paper", "difference"]
    return _table(rows, head)


def _table(rows: list[list[str]], head: list[str]) -> str:
    text: str = tabulate(rows, head, tablefmt="github", disable_numparse=True)
    return text


def _of(paper: Paper, target: str, subnetwork: str, metric: str) -> float:
    return paper[target, subnetwork, "none", metric]


def _pair(ours: Mapping[str, float], paper: Paper, target: str, subnetwork: str) -> list[str]:
    return _cells(ours, {key: _of(paper, target, subnetwork, key) for key in ("params", "flops")})


def _cells(ours: Mapping[str, float], theirs: Mapping[str, float]) -> list[str]:
    cells = []
    for key, unit in (("params", MEGA), ("flops", GIGA)):
        value = ours[key] / unit
        cells += [f"{value:.2f}", f"{theirs[key]:.1f}", f"{value / theirs[key] - 1:+.1%}"]
    return cells


def format_parts(counts: Mapping[str, Any]) -> str:
    """Parameters and multiply-accumulates of the parts of every target around its trunk."""
    rows = [
        [name, part["part"], f"{part['params'] / MEGA:.3f}", f"{part['flops'] / GIGA:.2f}"]
        for name, target in counts["targets"].items()
        for part in target["parts"]
    ]
    head = ["target", "part", "Params (M)", "products and convolutions (G)"]
    return _table(rows, head)


def format_deeplab(counts: Mapping[str, Any], paper: Paper) -> str:
    """DeepLabV3's total built up from its parts, until it is the paper's."""
    target = counts["targets"]["deeplabv3"]
    parts = {part["part"]: part["flops"] for part in target["parts"]}
    aspp, whole = parts["decoder.aspp"], parts["decoder"]
    classifier = target["dense"]["flops"] - target["backbone"]["flops"] - whole
    trunk, theirs = target["backbone"]["flops"], _of(paper, "deeplabv3", "dense", "flops") * GIGA
    steps = [
        ("ours: trunk, ASPP on res5 at stride 32, decoder at stride 4, per-pixel classifier", target["dense"]["flops"]),
        ("without the classifier (the linear layer to CLIP's space and the product with the text)", trunk + whole),
        (
            "and ASPP on a map of stride 16, four times the positions, behind an undilated trunk",
            trunk + whole + 3 * aspp,
        ),
        ("the paper", theirs),
    ]
    rows = [[text, f"{value / GIGA:.1f}", f"{value / theirs - 1:+.1%}"] for text, value in steps]
    table = _table(rows, ["counted", "FLOPs (G)", "difference"])
    return f"{table}\n\nThe classifier is {classifier / GIGA:.1f} G, ASPP at stride 32 {aspp / GIGA:.1f} G."


def format_fcclip(counts: Mapping[str, Any], paper: Paper) -> str:
    """Which parts of FC-CLIP, together with the trunk, come nearest to the paper's two totals."""
    target = counts["targets"]["fcclip"]
    wanted = [_of(paper, "fcclip", "dense", "params") * MEGA, _of(paper, "fcclip", "dense", "flops") * GIGA]
    base = [target["backbone"][key] for key in ("params", "flops")]
    parts = _leaves(target["parts"])
    choices = []
    for size in range(len(parts) + 1):
        for chosen in combinations(parts, size):
            sums = [base[0] + sum(part["params"] for part in chosen), base[1] + sum(part["flops"] for part in chosen)]
            gaps = [value / goal - 1 for value, goal in zip(sums, wanted, strict=True)]
            choices.append((max(map(abs, gaps)), [part["part"] for part in chosen], sums, gaps))
    rows = []
    for _, names, sums, gaps in sorted(choices)[:3]:
        text = ", ".join(name.removeprefix("head.") for name in names)
        figures = [f"{sums[0] / MEGA:.2f}", f"{gaps[0]:+.1%}", f"{sums[1] / GIGA:.1f}", f"{gaps[1]:+.1%}"]
        rows.append([f"trunk, {text}", *figures])
    head = ["counted", "Params (M)", "difference", "FLOPs (G)", "difference"]
    return _table(rows, head)


def _leaves(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts that have no listed part inside."""
    names = [part["part"] for part in parts]
    return [part for part in parts if not any(name.startswith(part["part"] + ".") for name in names)]


def format_training(counts: Mapping[str, Any], paper: Paper) -> str:
    """Training FLOPs of Han et al. under several readings of supplement 6.2, beside the paper's."""
    from opentrans.costs.paper import training_readings

    figures = get_training(paper)
    rows = [
        [row["reading"], *(f"{row[key]:.1f} ({row[key] / figures[key] - 1:+.1%})" for key in figures)]
        for row in training_readings(counts["targets"]["han"], figures, counts["density"])
    ]
    rows.append(["the paper", *(f"{value:.1f}" for value in figures.values())])
    head = ["reading", *(f"{title} (P)" for title in ("full", "random", "alpha*", "alpha", "alpha + pruning"))]
    return _table(rows, head)


def get_training(paper: Paper) -> dict[str, float]:
    """The paper's Training FLOPs in P (Tables 2 and 4), in the order of the page's columns."""
    keys = {
        "none": ("dense", "none"),
        "random": ("dense", "random50"),
        "alpha_top": ("dense", "alpha_top50"),
        "alpha": ("dense", "alpha_bottom50"),
        "alpha_pruned": ("ours", "alpha_bottom50"),
    }
    return {name: paper["han", *key, "training_flops"] for name, key in keys.items()}


def format_frozen(counts: Mapping[str, Any], paper: Paper) -> str:
    """The shares of the backbone that Table 2's freezing rows imply."""
    han = counts["targets"]["han"]
    rest = 1 - han["warmup_iterations"] / han["iterations"]
    forward = han["backbone_training_flops"] * han["batch_size"] * han["iterations"] / 1e15 * rest
    rows = []
    figures = get_training(paper)
    for name, key in (("random", "random"), ("alpha*", "alpha_top"), ("alpha", "alpha")):
        share = (figures["none"] - figures[key]) / forward
        rows.append([name, f"{share:.1%}"])
    return _table(rows, ["frozen by", "share of the backbone's FLOPs"])


def update_page(path: Path, counts: Mapping[str, Any], paper: Paper) -> None:
    """Renew every block of a page."""
    if not path.is_file():
        raise UserError(path, "no such page", "name a page with generated blocks (docs/costs.md)")
    write_text(path, render(path.read_text(encoding="utf-8"), counts, paper))


def render(text: str, counts: Mapping[str, Any], paper: Paper) -> str:
    """A page's text with renewed blocks; a block of another name is a `UserError`."""
    blocks = {
        "inference": lambda: format_inference(counts, paper),
        "parts": lambda: format_parts(counts),
        "deeplab": lambda: format_deeplab(counts, paper),
        "fcclip": lambda: format_fcclip(counts, paper),
        "training": lambda: format_training(counts, paper),
        "frozen": lambda: format_frozen(counts, paper),
    }

    def fill(match: re.Match[str]) -> str:
        if match["name"] not in blocks:
            raise UserError(f"block costs:{match['name']}", "no such block", f"take one of {', '.join(blocks)}")
        return f"{match['begin']}\n{blocks[match['name']]()}\n{match['end']}"

    pattern = r"(?P<begin><!-- begin costs:(?P<name>\w+) -->)\n.*?(?P<end><!-- end costs:(?P=name) -->)"
    return re.sub(pattern, fill, text, flags=re.DOTALL)
