"""``python -m tools.costs_page [--check]``: the tables of ``docs/costs.md``.

They are made from the counts in ``docs/costs.json`` and the paper's values, never by hand.
"""

import argparse
import re
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from opentrans.costs.comparison import GIGA, MEGA, format_inference, format_table, get_paper_cost
from opentrans.costs.released import RELEASED_FROZEN, Schedule, count_released, read_released_frozen
from opentrans.errors import UserError
from opentrans.runs.paper import PaperRow, read_paper
from opentrans.system.files import read_json, write_text
from tools.call import call

PETA = 1e15
PAGE, COUNTS, PAPER = Path("docs/costs.md"), Path("docs/costs.json"), Path("config/paper_results.csv")
# Rows of Tables 2 and 4 by the names of the page's columns, in their order.
_TRAINING_ROWS = {
    "none": "t2_han_full",
    "random": "t2_han_random",
    "alpha_top": "t2_han_alpha_star",
    "alpha": "t2_han_alpha",
    "alpha_pruned": "t4_han_alpha_pruned",
}
Paper = Mapping[str, PaperRow]


def format_parts(counts: Mapping[str, Any]) -> str:
    """Parameters and multiply-accumulates of the parts of every target around its trunk."""
    rows = [
        [name, part["part"], f"{part['params'] / MEGA:.3f}", f"{part['flops'] / GIGA:.2f}"]
        for name, target in counts["targets"].items()
        for part in target["parts"]
    ]
    head = ["target", "part", "Params (M)", "products and convolutions (G)"]
    return format_table(rows, head)


def format_deeplab(counts: Mapping[str, Any], paper: Paper) -> str:
    """DeepLabV3's total as it runs, reduced to what the paper counts."""
    target = counts["targets"]["deeplabv3"]
    parts = {part["part"]: part for part in target["parts"]}
    classifier = {key: parts["pixel_head"][key] + parts["classifier"][key] for key in ("params", "flops")}
    theirs = {key: get_paper_cost(paper, "t1_deeplabv3_dense", key) for key in ("params", "flops")}

    undilated = {key: target["dense"][key] + classifier[key] for key in ("params", "flops")}
    steps = [
        ("as it runs: trunk of output stride 16, ASPP on it, decoder at stride 4, classifier of pixels", target["run"]),
        ("the trunk counted undilated", undilated),
        ("without the classifier (the linear layer to CLIP's space and the product with the text)", target["dense"]),
        ("the paper", {"params": theirs["params"] * MEGA, "flops": theirs["flops"] * GIGA}),
    ]

    rows = []
    for text, costs in steps:
        params, flops = costs["params"] / MEGA, costs["flops"] / GIGA
        gaps = [f"{params / theirs['params'] - 1:+.1%}", f"{flops / theirs['flops'] - 1:+.1%}"]
        rows.append([text, f"{params:.2f}", gaps[0], f"{flops:.1f}", gaps[1]])
    return format_table(rows, ["counted", "Params (M)", "difference", "FLOPs (G)", "difference"])


def format_fcclip(counts: Mapping[str, Any], paper: Paper) -> str:
    """Which parts of FC-CLIP, together with the trunk, come nearest to the paper's two totals."""
    target = counts["targets"]["fcclip"]
    units = {"params": MEGA, "flops": GIGA}
    wanted = [get_paper_cost(paper, "t1_fcclip_dense", key) * unit for key, unit in units.items()]
    base = [target["backbone"][key] for key in ("params", "flops")]
    parts = _leaves(target["parts"])

    # Every choice of parts, by the larger of its two gaps to the paper.
    choices = []
    for size in range(len(parts) + 1):
        for chosen in combinations(parts, size):
            sums = [base[0] + sum(part["params"] for part in chosen), base[1] + sum(part["flops"] for part in chosen)]
            gaps = [value / goal - 1 for value, goal in zip(sums, wanted, strict=True)]
            choices.append((max(map(abs, gaps)), [part["part"] for part in chosen], sums, gaps))

    rows = []
    for _, names, sums, gaps in sorted(choices)[:3]:
        text = ", ".join(name.removeprefix("head.") for name in names)
        cells = [f"{sums[0] / MEGA:.2f}", f"{gaps[0]:+.1%}", f"{sums[1] / GIGA:.1f}", f"{gaps[1]:+.1%}"]
        rows.append([f"trunk, {text}", *cells])

    head = ["counted", "Params (M)", "difference", "FLOPs (G)", "difference"]
    return format_table(rows, head)


def _leaves(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts that have no listed part inside."""
    names = [part["part"] for part in parts]
    return [part for part in parts if not any(name.startswith(part["part"] + ".") for name in names)]


def list_training_readings(
    costs: Mapping[str, Any], paper: Mapping[str, float], density: float
) -> list[dict[str, Any]]:
    """Training FLOPs of Tables 2 and 4 under several readings of supplement 6.2.

    The share of the backbone that alpha froze is unknown without the paper's weights. It is taken from the paper:
    what freezing saved, over what freezing the whole backbone would have saved in the iterations after the warm-up.
    Alpha* freezes the other half of the layers, so the rest of that share; a random half is half of it on average.

    Args:
        costs: of Han et al., as counted.
        paper: its Training FLOPs in P; ``none`` and ``alpha`` are used.
        density: of the subnetwork.

    Returns:
        One row a reading: its name and the five values in P (``none``, ``random``, ``alpha_top``, ``alpha``,
        ``alpha_pruned``).
    """
    images = costs["batch_size"] * costs["iterations"]
    rest = 1 - costs["warmup_iterations"] / costs["iterations"]
    forward = costs["backbone_training_flops"] * images / 1e15

    # The head is counted at test size only; at the crop it is taken to shrink as the backbone does.
    test = costs["dense"]["flops"] - costs["backbone"]["flops"]
    head = test * costs["backbone_training_flops"] / costs["backbone"]["flops"] * images / 1e15
    frozen = (paper["none"] - paper["alpha"]) / (rest * forward)  # share of the backbone's FLOPs

    rows = []
    for name, whole, extra, sparse_warm_up in (
        ("the backbone only, as 6.2 says; the subnetwork from the first iteration on", forward, 0.0, True),
        ("the backbone only; the warm-up counted dense", forward, 0.0, False),
        ("the backbone at 640 x 640 instead of the crop", forward * (640 / costs["crop_size"]) ** 2, 0.0, True),
        ("the whole model trained (head 1 C + 2 C)", forward, 3 * head, True),
        ("the head's forward pass added; the subnetwork from the first iteration on", forward, head, True),
        ("the head's forward pass added; the warm-up counted dense", forward, head, False),
    ):
        active = 1 - frozen * rest if sparse_warm_up else rest * (1 - frozen)
        pruned = (1 + density) * (1.0 if sparse_warm_up else rest) + density * active
        warm = 0.0 if sparse_warm_up else 3 * (1 - rest)

        shares = {"none": 0.0, "random": 0.5, "alpha_top": 1 - frozen, "alpha": frozen}
        rows.append(
            {
                "reading": name,
                **{key: 3 * whole - share * rest * whole + extra for key, share in shares.items()},
                "alpha_pruned": (pruned + warm) * whole + extra,
            }
        )
    return rows


def format_training(counts: Mapping[str, Any], paper: Paper) -> str:
    """Training FLOPs of Han et al. under several readings of supplement 6.2, beside the paper's."""
    theirs = get_training(paper)
    rows = [
        [row["reading"], *(f"{row[key]:.1f} ({row[key] / theirs[key] - 1:+.1%})" for key in theirs)]
        for row in list_training_readings(counts["targets"]["han"], theirs, counts["density"])
    ]
    rows.append(["the paper", *(f"{value:.1f}" for value in theirs.values())])
    head = ["reading", *(f"{title} (P)" for title in ("full", "random", "alpha*", "alpha", "alpha + pruning"))]
    return format_table(rows, head)


def get_training(paper: Paper) -> dict[str, float]:
    """The paper's Training FLOPs in P (Tables 2 and 4), in the order of the page's columns."""
    return {name: get_paper_cost(paper, key, "training_flops") for name, key in _TRAINING_ROWS.items()}


def format_frozen(counts: Mapping[str, Any], paper: Paper) -> str:
    """The shares of the backbone that Table 2's freezing rows imply."""
    han = counts["targets"]["han"]
    rest = 1 - han["warmup_iterations"] / han["iterations"]
    forward = han["backbone_training_flops"] * han["batch_size"] * han["iterations"] / 1e15 * rest
    theirs = get_training(paper)

    rows = []
    for name, key in (("random", "random"), ("alpha*", "alpha_top"), ("alpha", "alpha")):
        share = (theirs["none"] - theirs[key]) / forward
        rows.append([name, f"{share:.1%}"])
    return format_table(rows, ["frozen by", "share of the backbone's FLOPs"])


def format_released(counts: Mapping[str, Any], paper: Paper) -> str:
    """Tables 2 and 4 from the authors' list of frozen layers, beside the paper."""
    han, theirs = counts["targets"]["han"], get_training(paper)
    warm_up = han["warmup_iterations"] * han["batch_size"]
    schedule = Schedule(warm_up, han["iterations"] * han["batch_size"] - warm_up)
    costs = count_released(
        counts["crop_convolutions"],
        han["backbone_training_flops"],
        read_released_frozen(Path(__file__).parents[1] / RELEASED_FROZEN),
        schedule,
        counts["density"],
        theirs["none"] * PETA,
    )

    top = theirs["none"] - theirs["alpha_top"]
    rows = [["alpha saves", f"{costs.alpha_saves / PETA:.1f}", f"{theirs['none'] - theirs['alpha']:.1f}"]]
    for median, saved in costs.alpha_top_saves.items():
        rows.append(
            [f"alpha* saves, if the median layer costs {median / GIGA:.3f} G", f"{saved / PETA:.1f}", f"{top:.1f}"]
        )
    rows.append(["alpha + pruning", f"{costs.alpha_pruned / PETA:.1f}", f"{theirs['alpha_pruned']:.1f}"])
    return format_table(rows, ["Training FLOPs", "from the list (P)", "the paper (P)"])


def render(text: str, counts: Mapping[str, Any], paper: Paper) -> str:
    """A page's text with renewed blocks; a block of another name is a `UserError`."""
    blocks = {
        "inference": lambda: format_inference(counts, paper),
        "parts": lambda: format_parts(counts),
        "deeplab": lambda: format_deeplab(counts, paper),
        "fcclip": lambda: format_fcclip(counts, paper),
        "training": lambda: format_training(counts, paper),
        "frozen": lambda: format_frozen(counts, paper),
        "released": lambda: format_released(counts, paper),
    }

    def fill(match: re.Match[str]) -> str:
        if match["name"] not in blocks:
            raise UserError(f"block costs:{match['name']}", "no such block", f"take one of {', '.join(blocks)}")
        return f"{match['begin']}\n{blocks[match['name']]()}\n{match['end']}"

    pattern = r"(?P<begin><!-- begin costs:(?P<name>\w+) -->)\n.*?(?P<end><!-- end costs:(?P=name) -->)"
    return re.sub(pattern, fill, text, flags=re.DOTALL)


def main() -> None:
    """Renew the page, or fail where it does not show what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where the page has drifted")
    args = parser.parse_args()

    text = PAGE.read_text(encoding="utf-8")
    page = render(text, read_json(COUNTS, "count again (opentrans count-paper-costs)"), read_paper(PAPER))
    if args.check and page != text:
        raise UserError(PAGE, f"does not show what {COUNTS} holds", "python -m tools.costs_page renews it")
    if not args.check:
        write_text(PAGE, page)


if __name__ == "__main__":
    call(main)
