"""Parameters and multiply-accumulates of a target, counted with ptflops (paper: 800 x 1216)."""

import io
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from ptflops import get_model_complexity_info
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from opentrans.clip.backbone import ClipBackbone
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import Architecture
from opentrans.config import TargetConfig
from opentrans.costs.counting import LayerCost
from opentrans.models.target import Target

Network = Callable[[Tensor], object]


class _Wrapper(nn.Module):
    """ptflops calls modules; a target's network is a method."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> object:
        return self.network(images)


class _UsedTensors(TorchDispatchMode):
    """Remembers which tensors any operation reads: parameters that only training uses stay unread."""

    def __init__(self) -> None:
        super().__init__()
        self.identities: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.identities |= {id(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        return func(*args, **(kwargs or {}))


def count_macs(network: Network, images: Tensor, backend: str = "aten") -> int:
    """Multiply-accumulates of one forward pass, by ptflops.

    `aten` counts matrix products and convolutions wherever they occur (attention included); `pytorch`, what the
    paper's numbers follow, adds normalisation, activation and pooling, but fails on attention modules.
    """
    module = network if isinstance(network, nn.Module) else _Wrapper(network)

    # Unfused attention, because the fused kernels are no matrix products to ptflops.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        macs, _ = get_model_complexity_info(
            module,
            tuple(images.shape[1:]),
            print_per_layer_stat=False,
            as_strings=False,
            input_constructor=lambda _: images,
            ost=io.StringIO(),
            backend=backend,
        )

    if macs is None:
        raise RuntimeError("ptflops could not run the network; its message is above")
    return int(macs)


def count_convolutions(backbone: nn.Module, height: int, width: int) -> dict[str, int]:
    """Multiply-accumulates of each convolution of a backbone, by weight name; nothing is computed (meta device)."""
    shapes: dict[str, int] = {}
    shadow = deepcopy(backbone).to("meta").eval()

    def watch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def count(layer: nn.Module, _: Any, output: Tensor) -> None:
            shapes[f"{name}.weight"] = int(layer.weight.numel()) * output.shape[-2] * output.shape[-1]  # type: ignore

        return count

    for name, layer in shadow.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(watch(name))
    shadow(torch.empty(1, 3, height, width, device="meta"))
    return shapes


def count_backbone(backbone: nn.Module, height: int, width: int) -> int:
    """Multiply-accumulates of a whole trunk as the paper counts them (CLIP RN50 at 800 x 1216: 105.1 G)."""
    shadow = deepcopy(backbone).to("meta").eval()
    return count_macs(shadow, torch.empty(1, 3, height, width, device="meta"), "pytorch")


def profile_target(
    target: Target,
    network: Network,
    image_size: tuple[int, int],
    crop_size: int,
    trunk: nn.Module | None = None,
) -> list[LayerCost]:
    """Profile one target, dense.

    Args:
        target: the framework; parameters that no operation of `network` reads are not counted ("used at test").
        network: its forward pass on images (1, 3, h, w) with values 0..1, without the upsampling to full size.
        image_size: height and width at which FLOPs are reported.
        crop_size: side of the training crop, for Training FLOPs.
        trunk: the backbone that is counted instead of the target's (see `make_counted_trunk`).

    Returns:
        One row for each backbone convolution, one for the backbone's remainder, one for everything else.
    """
    backbone, device = target.backbone, next(target.parameters()).device
    counted = backbone if trunk is None else trunk
    macs, training = count_convolutions(counted, *image_size), count_convolutions(counted, crop_size, crop_size)

    target.eval()
    with _UsedTensors() as used:
        total = count_macs(network, torch.zeros(1, 3, *image_size, device=device))

    weights = {name: weight.numel() for name, weight in backbone.named_parameters() if name in macs}
    inside = _count_used(backbone, used)
    others = count_backbone(counted, *image_size), count_backbone(counted, crop_size, crop_size)

    trained = target.trains_backbone
    rows = [
        LayerCost(layer, "backbone", "convolution", weights[layer], macs[layer], training[layer], trained)
        for layer in macs
    ]

    # What is no convolution of the backbone (its norms and activations), and what is no backbone.
    remainder = inside - sum(weights.values()), others[0] - sum(macs.values()), others[1] - sum(training.values())
    inside_macs = sum(count_convolutions(backbone, *image_size).values())
    head = _count_used(target, used) - inside, total - inside_macs, 0
    return [
        *rows,
        LayerCost("backbone (other)", "backbone", "other", *remainder, trained),
        LayerCost("head", "head", "other", *head, True),
    ]


def _count_used(module: nn.Module, used: _UsedTensors) -> int:
    return sum(weight.numel() for weight in module.parameters() if id(weight) in used.identities)


def make_counted_trunk(settings: TargetConfig, architecture: Architecture) -> nn.Module | None:
    """The trunk whose costs stand for the target's, where `settings.counted_stride` says another than is trained."""
    if settings.counted_stride is None:
        return None
    with torch.device("meta"):
        return ClipBackbone(architecture, settings.counted_stride)


def get_counted_network(target: Target, classes: TextEmbeddings, settings: TargetConfig) -> Network:
    """`get_network`, without the classifier of pixels where `settings.counted_classifier` is false."""
    if settings.counted_classifier:
        return get_network(target, classes)
    decode: Network | None = getattr(target, "decode", None)  # DeepLabV3 has it; no other kind's settings say so
    assert decode is not None
    return decode


def get_network(target: Target, classes: TextEmbeddings) -> Network:
    """What is counted: the target's ``network(images)`` where it has one, else its whole prediction."""
    network: Network | None = getattr(target, "network", None)
    if network is not None:
        return network
    return lambda images: target.predict(images[0], classes, (images.shape[-2], images.shape[-1]))
