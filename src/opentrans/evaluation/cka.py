"""Linear centred kernel alignment between two networks' representations (Table 9; Kornblith et al. 2019).

An image is a sample. Of a layer's feature map all values together are its features, or (`cka_of_channels`) a channel's
values are, and the channels' similarities are averaged. The released code takes one image only, and the rows of a
channel's map as samples (`cka_of_one_image`).
"""

import math
import sys
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from opentrans.clip.backbone import ClipBackbone
from opentrans.clip.weights import CLIP_MEAN, CLIP_STD, ClipWeights
from opentrans.config import CkaConfig
from opentrans.data.prepared import PreparedDataset
from opentrans.errors import UserError
from opentrans.models.target import Normalize, Target
from opentrans.runs.layout import INDEX_FILE

CHANNELS_AT_ONCE = 64
FEWEST_IMAGES = 4  # the debiased estimate divides by n - 3
CHANNELS_LAYER = "res5"
ROUNDING = 1e-6  # of float32, relative
Measure = Literal["layers", "released"]
Extract = Callable[[Float[Tensor, "b 3 s s"]], Mapping[str, Tensor]]


def compute_gram(features: Float[Tensor, "n *p"]) -> Float[Tensor, "n n"]:
    """The centred Gram matrix of samples in rows; centred as features, so that nothing cancels in float32."""
    rows = _centre(features.flatten(1))
    return (rows @ rows.T).double()


def cka_of_grams(first: Float[Tensor, "n n"], second: Float[Tensor, "n n"]) -> float:
    """<K, L> / (|K| |L|) of centred Gram matrices, 0..1; nan where one is zero."""
    return _divide((first * second).sum(), first.norm() * second.norm())


def cka_of_features(first: Float[Tensor, "*c n p"], second: Float[Tensor, "*c n q"]) -> Float[Tensor, "*c"]:
    """|Y^T X|^2 / (|X^T X| |Y^T Y|) of centred features: the same value as of their Gram matrices, batched.

    nan where one representation is constant.
    """
    x, y = _centre(first.double()), _centre(second.double())
    cross, own, other = y.mT @ x, x.mT @ x, y.mT @ y
    similarity: Tensor = cross.square().sum((-2, -1)) / (_norm(own) * _norm(other))
    return similarity


def _centre(samples: Float[Tensor, "*c n p"]) -> Float[Tensor, "*c n p"]:
    """Subtract the samples' mean; what is only rounding becomes zero, so that a constant representation is one."""
    centred = samples - samples.mean(dim=-2, keepdim=True)
    level = samples.abs().amax((-2, -1), keepdim=True)
    return centred * (centred.abs().amax((-2, -1), keepdim=True) > ROUNDING * level)


def debiased_cka_of_grams(first: Float[Tensor, "n n"], second: Float[Tensor, "n n"]) -> float:
    """The same ratio of unbiased estimates (Song et al. 2012): about 0 for independent features however few.

    With fewer samples than features the plain value is close to 1 whatever the networks do. May be negative; nan where
    a representation is (nearly) constant.
    """
    cross = _estimate_hsic(first, second)
    own, other = _estimate_hsic(first, first), _estimate_hsic(second, second)
    return _divide(cross, (own * other).clamp(min=0).sqrt())


def _estimate_hsic(first: Tensor, second: Tensor) -> Tensor:
    count = len(first)
    k, m = (gram - gram.diagonal().diag() for gram in (first, second))  # without the diagonals, hence unbiased
    sums = k.sum() * m.sum() / ((count - 1) * (count - 2)) - 2 * (k.sum(0) @ m.sum(0)) / (count - 2)
    return ((k * m).sum() + sums) / (count * (count - 3))


def _norm(matrices: Tensor) -> Tensor:
    return matrices.square().sum((-2, -1)).sqrt()


def _divide(value: Tensor, by: Tensor) -> float:
    return float(value / by) if by > 0 else math.nan


def cka_of_channels(first: Float[Tensor, "n c h w"], second: Float[Tensor, "n c y x"]) -> tuple[float, int]:
    """The mean similarity of equal channels' maps, and how many channels are constant in a network.

    Those have no similarity and are left out; nan if all are.
    """
    x, y = (part.flatten(2).transpose(0, 1) for part in (first, second))
    parts = zip(x.split(CHANNELS_AT_ONCE), y.split(CHANNELS_AT_ONCE), strict=True)
    values = torch.cat([cka_of_features(*part) for part in parts])
    constant = int(values.isnan().sum())
    return float(values.nanmean()), constant


def cka_of_one_image(first: Float[Tensor, "c h w"], second: Float[Tensor, "c y x"]) -> float:
    """The similarity of two networks' maps of one image as the released code measures it (its ``CKA.py``).

    A channel's map is a matrix whose rows are the samples and whose columns are the features, and the channels'
    similarities are averaged. A channel that is constant in a network counts as similar (1). Of maps of two sizes the
    larger is thinned to the other's rows and columns.
    """
    step = max(first.shape[1] // second.shape[1], second.shape[1] // first.shape[1], 1)
    x = first[:, ::step, ::step] if first.shape[1] > second.shape[1] else first
    y = second[:, ::step, ::step] if second.shape[1] > first.shape[1] else second
    return float(cka_of_features(x, y).nan_to_num(1.0).mean())


def load_squares(dataset: PreparedDataset, count: int, side: int) -> Float[Tensor, "n 3 s s"]:
    """`count` images (fewer if there are fewer), evenly spaced in the data set's order, with values 0..1.

    Each is resized to a square, since every sample needs the same features.

    Raises:
        UserError: the data set has too few images.
    """
    count = min(count, len(dataset))
    if count < FEWEST_IMAGES:
        problem = f"{count} images, at least {FEWEST_IMAGES} are needed to compare backbones"
        raise UserError(dataset.folder / INDEX_FILE, problem, "prepare more images, or raise cka.images")
    chosen = [index * len(dataset) // count for index in range(count)]
    images = (torch.from_numpy(dataset.image(index).copy()).permute(2, 0, 1)[None].float() / 255 for index in chosen)
    squares = [F.interpolate(image, (side, side), mode="bilinear", antialias=True) for image in images]
    return torch.cat(squares).clamp(0, 1)


@torch.inference_mode()
def extract_features(
    extract: Extract, images: Float[Tensor, "n 3 s s"], device: torch.device, batch_size: int, title: str
) -> dict[str, Tensor]:
    """Every layer's feature maps of all images, on the CPU."""
    parts: dict[str, list[Tensor]] = {}
    for batch in tqdm(images.split(batch_size), desc=title, unit="batch", file=sys.stderr):
        for name, features in extract(batch.to(device)).items():
            parts.setdefault(name, []).append(features.cpu())
    return {name: torch.cat(part) for name, part in parts.items()}


def compare_features(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], measure: Measure = "layers"
) -> dict[str, object]:
    """Similarity of two networks: of each layer, averaged over layers, and of the last layer's channels.

    ``cka_vs_clip``, which Table 9 shows, is the mean over layers, or by `measure` ``released`` the first image's.
    """
    layers = {}
    for name, features in first.items():
        grams = compute_gram(features), compute_gram(second[name])
        layers[name] = {"cka": cka_of_grams(*grams), "debiased": debiased_cka_of_grams(*grams)}

    means = {kind: sum(values[kind] for values in layers.values()) / len(layers) for kind in ("cka", "debiased")}
    channels, constant = cka_of_channels(first[CHANNELS_LAYER], second[CHANNELS_LAYER])
    one_image = cka_of_one_image(first[CHANNELS_LAYER][0], second[CHANNELS_LAYER][0])

    return {
        "cka_vs_clip": _finite(one_image if measure == "released" else means["cka"]),
        "cka_released": _finite(one_image),
        "cka_debiased": _finite(means["debiased"]),
        "cka_channels": _finite(channels),
        "constant_channels": constant,
        "layers": {name: {kind: _finite(value) for kind, value in values.items()} for name, values in layers.items()},
    }


def compare_with_clip(
    target: Target, teacher: ClipWeights, dataset: PreparedDataset, settings: CkaConfig, device: torch.device
) -> dict[str, object]:
    """Similarity of a target's backbone and CLIP's image encoder on the same images, and how it was measured.

    Each network gets the images with its own normalisation.

    Raises:
        UserError: the data set has too few images.
    """
    side = settings.image_size or int(teacher.architecture["vision_cfg"]["image_size"])
    images = load_squares(dataset, settings.images, side)
    networks = {
        "run": nn.Sequential(target.normalize, target.backbone),
        "CLIP": nn.Sequential(Normalize(CLIP_MEAN, CLIP_STD), ClipBackbone.of_teacher(teacher)),
    }
    features = {
        name: extract_features(network.to(device).eval(), images, device, settings.batch_size, name)
        for name, network in networks.items()
    }

    protocol = {
        "measure": settings.measure,
        "benchmark": settings.benchmark,
        "image_size": [side, side],
        "layers": list(features["run"]),
        "features": "all values of an image's feature map; cka_channels: those of a channel of the last layer",
    }
    similarity = compare_features(features["run"], features["CLIP"], settings.measure)
    return {"images": len(images), "protocol": protocol, **similarity}


def _finite(value: float) -> float | None:
    """JSON has no NaN: None stands for "undefined"."""
    return None if math.isnan(value) else value
