"""Params, FLOPs and Training FLOPs of a run from a target's profile: arithmetic only."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LayerCost:
    """One row of a profile; the rows of a target sum to its totals.

    `part` is ``backbone`` or ``head``; `kind` is ``convolution`` (one row a backbone convolution, `layer` is its
    weight's name) or ``other`` (the part's remainder). `macs` are multiply-accumulates at the test size,
    `training_macs` at the training crop (backbone only). `trained` is False where fine-tuning never updates it.
    """

    layer: str
    part: str
    kind: str
    parameters: int
    macs: int
    training_macs: int
    trained: bool


@dataclass(frozen=True)
class Density:
    """Weights of one layer and how many of them a subnetwork keeps."""

    weights: int
    kept: int

    @property
    def density(self) -> float:
        """The share that remains."""
        return self.kept / self.weights


@dataclass(frozen=True)
class Phase:
    """A part of fine-tuning: images seen (batch x iterations) and the layers frozen meanwhile."""

    images: int
    frozen: Collection[str] = ()


def training_cost(density: float, frozen: bool) -> float:
    """Forward and backward FLOPs of a layer as a multiple of its dense forward FLOPs C (supplement 6.2).

    Forward density x C; backward C for the hidden features plus density x C for the weights unless frozen:
    dense 1 + 2, dense frozen 1 + 1, subnetwork s + (1 + s), subnetwork frozen s + 1.
    """
    return density + 1 + (0 if frozen else density)


def training_flops(layers: Sequence[LayerCost], densities: Mapping[str, Density], phases: Sequence[Phase]) -> float:
    """Training FLOPs of the backbone (supplement 6.2), in multiply-accumulates, summed over layers and phases.

    A backbone that is never trained costs its forward pass only: no gradient goes through it.
    """
    total = 0.0
    for layer in layers:
        if layer.part != "backbone":
            continue
        density = densities[layer.layer].density if layer.layer in densities else 1.0
        for phase in phases:
            cost = training_cost(density, layer.layer in phase.frozen) if layer.trained else density
            total += cost * layer.training_macs * phase.images
    return total


def get_phases(iterations: int, warmup_iterations: int, batch_size: int, frozen: Collection[str]) -> list[Phase]:
    """Warm-up with nothing frozen, then the rest with `frozen` (paper: 10^4 iterations, then half of the layers)."""
    warmup = min(warmup_iterations, iterations)
    return [Phase(warmup * batch_size), Phase((iterations - warmup) * batch_size, frozen)]


def overall_density(densities: Mapping[str, Density]) -> float:
    """The share of weights that remains over all layers listed (1 where none is)."""
    weights = sum(layer.weights for layer in densities.values())
    return sum(layer.kept for layer in densities.values()) / weights if weights else 1.0


def inference_costs(layers: Sequence[LayerCost], densities: Mapping[str, Density]) -> dict[str, float]:
    """Params and FLOPs (multiply-accumulates) at test.

    `params`, `flops` follow the paper: the trunk's whole numbers times (1 - density) are saved (0.9 x 23.53 M,
    0.9 x 105.1 G). `params_per_layer`, `flops_per_layer` save exactly what each layer's mask removes.
    """
    params, flops = sum(layer.parameters for layer in layers), sum(layer.macs for layer in layers)
    trunk = [layer for layer in layers if layer.part == "backbone"]
    removed = 1 - overall_density(densities)
    listed = [(layer, densities[layer.layer]) for layer in trunk if layer.layer in densities]
    return {
        "params": params - removed * sum(layer.parameters for layer in trunk),
        "flops": flops - removed * sum(layer.macs for layer in trunk),
        "params_per_layer": params - sum(density.weights - density.kept for _, density in listed),
        "flops_per_layer": flops - sum((1 - density.density) * layer.macs for layer, density in listed),
    }
