"""The weights that alpha is computed from: a backbone's own, or a pruned backbone's before its mask."""

import re
from collections.abc import Mapping

from torch import Tensor

from opentrans.errors import UserError
from opentrans.pruning.subnetwork import Subnetwork


def select_convolutions(tensors: Mapping[str, Tensor], prefix: str, where: object) -> dict[str, Tensor]:
    """The convolution weights under `prefix` by the backbone's parameter names, in network order.

    A backbone's four-dimensional tensors are its convolutions.

    Raises:
        UserError: naming `where`, when there are none.
    """
    below = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    # Files list names alphabetically (10 before 2), which is not the order of the network.
    names = sorted((name for name, value in below.items() if value.ndim == 4), key=_natural_key)
    if not names:
        raise UserError(where, f"no convolution's name starts with {prefix!r}", "give the backbone's --prefix")
    return {name: below[name] for name in names}


def restore_removed(weights: Mapping[str, Tensor], subnetwork: Subnetwork, where: object) -> dict[str, Tensor]:
    """Weights before the mask: the remaining ones from `weights`, the pruned ones as they were when removed.

    Fig. 6 computes alpha "before adopting the masks". `weights` may be trained on from the subnetwork.

    Raises:
        UserError: naming `where`, when the subnetwork keeps no removed weights or is of another backbone.
    """
    remedy = "find the subnetwork again (find-subnetwork), or take the recipe's weights: masked"
    restored = dict(weights)

    for name, mask in subnetwork.masks.items():
        if name not in weights or weights[name].shape != mask.shape:
            raise UserError(f"{where}: {name}", "the subnetwork's mask fits no weight of this backbone", remedy)
        if mask.all():
            continue
        if name not in subnetwork.removed:
            raise UserError(f"{where}: {name}", "the subnetwork does not hold the weights that were removed", remedy)

        restored[name] = weights[name].clone()
        restored[name][~mask] = subnetwork.removed[name].to(weights[name].dtype)

    return restored


def _natural_key(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
