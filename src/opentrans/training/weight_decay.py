"""Which parameters of a target weight decay leaves alone: those of norm layers and embeddings."""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

# Batch norm (synchronised or not) and instance norm are `_NormBase`.
_EXEMPT = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm, nn.Embedding)


def list_undecayed(module: nn.Module, further: frozenset[str] = frozenset()) -> list[str]:
    """The names of parameters that do not decay, sorted; biases of other layers do, as all else.

    So do Mask2Former, FC-CLIP and OpenTrans (their `WEIGHT_DECAY_NORM` and `WEIGHT_DECAY_EMBED` are 0).

    Args:
        module: a target.
        further: names of parameters that are an embedding's in the published code, and none here.
    """
    own = {
        f"{prefix}.{name}" if prefix else name
        for prefix, part in module.named_modules()
        if isinstance(part, _EXEMPT)
        for name, _ in part.named_parameters(recurse=False)
    }
    return sorted(own | further)
