"""A subnetwork put into any PyTorch model, where its masks then hold."""

from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from opentrans.models.locating import check_complete, check_names, locate
from opentrans.pruning.masks import MaskKeeper
from opentrans.pruning.subnetwork import Subnetwork

_COUNTER = "num_batches_tracked"


def apply_subnetwork(
    module: nn.Module,
    subnetwork: Subnetwork | Path | str,
    prefix: str = "",
    optimizer: Optimizer | None = None,
    *,
    load_weights: bool = True,
    strict: bool = True,
) -> MaskKeeper:
    """Put a subnetwork into the backbone that `module` holds at `prefix`, and keep its masks while it trains.

    Args:
        module: any model; DDP and torch.compile wrappers are seen through.
        subnetwork: the artefact or its file.
        prefix: where the backbone is (``backbone.clip_model.visual``), or a pattern (``*.visual``); "": the model.
        optimizer: also mask around each of its steps; needed if it has moments from before (or call `hold` later).
        load_weights: load the subnetwork's weights and batch-norm statistics; False prunes the model's own.
        strict: the backbone may have no convolution that the subnetwork does not know.

    Returns:
        The keeper of the masks: it counts violations, holds further optimisers, and ends the hold with `remove`.

    Raises:
        UserError: the subnetwork does not fit; the message lists the nearest names. Nothing has been changed then.
    """
    where: object = "subnetwork"
    if not isinstance(subnetwork, Subnetwork):
        where, subnetwork = subnetwork, Subnetwork.load(Path(subnetwork))
    located = locate(module, prefix)
    check_names({name: tuple(mask.shape) for name, mask in subnetwork.masks.items()}, located, where, "mask")
    if strict:
        remedy = "give a narrower prefix, or strict=False"
        check_complete(subnetwork.weights.keys(), located, where, "subnetwork", remedy)

    if load_weights:
        state = located.state
        # Frozen batch norms of other frameworks count no batches.
        weights = {n: value for n, value in subnetwork.weights.items() if n in state or not n.endswith(_COUNTER)}
        check_names({name: tuple(value.shape) for name, value in weights.items()}, located, where, "weight")
        with torch.no_grad():
            for name, value in weights.items():
                state[name].copy_(value)

    keeper = MaskKeeper({name: located.parameters[name] for name in subnetwork.masks}, subnetwork.masks, where)
    keeper.hold_model(located.module)
    if optimizer is not None:
        keeper.hold(optimizer)
    return keeper
