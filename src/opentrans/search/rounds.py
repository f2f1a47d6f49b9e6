"""What is logged of a search: a row for every round, and what remains of every layer at the end."""

from opentrans.pruning.masks import Masks, compute_density, count_kept

LAYER_FIELDS = ("layer", "weights", "kept", "density")
RoundRow = dict[str, object]


def describe_round(number: int, iterations: int, masks: Masks, loss: float | None) -> RoundRow:
    """A round's row: its number, iterations so far, density, remaining weights, mean loss, density of each layer.

    Round 0 is a state without training, which has no loss.
    """
    row: RoundRow = {
        "round": number,
        "iterations": iterations,
        "density": f"{compute_density(masks):.8f}",
        "kept": count_kept(masks),
        "loss": "" if loss is None else f"{loss:.6f}",
    }
    densities = {name: f"{compute_density({name: mask}):.8f}" for name, mask in masks.items()}
    return row | densities


def describe_layers(masks: Masks) -> list[dict[str, object]]:
    """One row per layer (`LAYER_FIELDS`): how many weights it has and how many of them remain."""
    rows: list[dict[str, object]] = []
    for name, mask in masks.items():
        total, n_kept = mask.numel(), int(mask.sum())
        row = (name, total, n_kept, f"{n_kept / total:.8f}")
        rows.append(dict(zip(LAYER_FIELDS, row, strict=True)))
    return rows
