"""Freeze plans for any PyTorch model: its layers with a spectrum, their fits, the plan by a recipe."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from opentrans.config import FreezeRecipe
from opentrans.errors import UserError
from opentrans.freezing.fits import LayerSpectrum
from opentrans.freezing.plan import FreezePlan, make_plan
from opentrans.freezing.spectra import estimate_alphas
from opentrans.models.locating import Located, locate

LAYER_KINDS = ("conv", "linear")
_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")  # torch's own attention holds these


def get_layers(located: Located, kinds: tuple[str, ...] = LAYER_KINDS) -> dict[str, nn.Parameter]:
    """The weights with a spectrum, in network order: convolutions of any dimension, and linear and attention layers."""
    layers: dict[str, nn.Parameter] = {}
    listed: set[int] = set()
    for name, parameter in located.parameters.items():
        if id(parameter) in listed:  # a weight with several names (tied layers, a module used twice) is one layer
            continue
        owner_name, _, own_name = name.rpartition(".")
        owner = _find_owner(located.module, owner_name)

        is_conv = own_name == "weight" and isinstance(owner, _ConvNd)
        is_linear = own_name == "weight" and isinstance(owner, nn.Linear)
        is_attention = own_name in _ATTENTION and isinstance(owner, nn.MultiheadAttention)
        wanted = ("conv" in kinds and is_conv) or ("linear" in kinds and (is_linear or is_attention))

        if wanted and parameter.ndim >= 2:
            layers[name] = parameter
            listed.add(id(parameter))
    return layers


def _find_owner(module: nn.Module, name: str) -> nn.Module | None:
    """The module called `name`, wrappers left out; a second name of a module is none of its own."""
    try:
        return locate(module, name).module
    except UserError:
        return None


def fit_layers(layers: Mapping[str, Tensor], estimator: str) -> list[LayerSpectrum]:
    """Alpha of each layer by the estimator of the backbone's plans; a matrix is a convolution with one slice.

    Weights that are not finite, or have no data yet, are a `UserError` that names the layer.

    A transposed convolution (in, out, ...) is fitted as it is: transposition does not change singular values.
    """
    flat = {name: weight.detach().reshape(*weight.shape[:2], -1, 1) for name, weight in layers.items()}
    return [replace(fit, shape=tuple(layers[fit.layer].shape)) for fit in estimate_alphas(flat, estimator)]


def plan_model(
    module: nn.Module, recipe: FreezeRecipe, seed: int = 0, prefix: str = "", kinds: tuple[str, ...] = LAYER_KINDS
) -> FreezePlan:
    """A freeze plan of any PyTorch model, or of the part of it at `prefix`.

    Args:
        module: the model; its weights as they are now are fitted.
        recipe: how many layers are frozen, and which.
        seed: of a random recipe.
        prefix: as in `opentrans.pruning.apply.apply_subnetwork`; the plan's names are relative to that part.
        kinds: which layers the recipe judges: ``conv``, ``linear`` (attention counts as linear).

    Raises:
        UserError: there is no layer of these kinds there.
    """
    located = locate(module, prefix)
    layers = get_layers(located, kinds)
    if not layers:
        raise UserError("freeze plan", f"{located.title} has no {' or '.join(kinds)} layer", "give another prefix")
    return make_plan(recipe, fit_layers(layers, recipe.estimator), seed)
