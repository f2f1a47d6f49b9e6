"""Grounding loss of Han et al.: the nouns of an image's caption against the embeddings of its regions.

Source: the authors' code, whose loss comes from OVR-CNN (Zareian et al., CVPR 2021, section 3). Every caption of a
group of images is compared with every image of it; the caption's own image has to be the nearest, and the other way
round.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

MOST_REGIONS = 25  # of an image; more are drawn from
_PADDING, _IMPOSSIBLE = 100.0, 100.0


def grounding_loss(
    words: Sequence[Float[Tensor, "_w d"]], regions: Sequence[Float[Tensor, "_r d"]], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """The loss of a group of images; 0 for fewer than two images whose caption has a noun.

    Args:
        words: text embeddings of the nouns of each image's caption; an image without any is left out.
        regions: class embeddings of the queries matched in each image, of any length (their directions count).
        scale: tau, the classifier's learned scale; not bounded.
    """
    named = [index for index, part in enumerate(words) if len(part)]
    if not named:
        return 0 * torch.cat(list(regions)).sum()  # part of the graph, so that backward works

    padded_words, has_word = _pad([words[index] for index in named])
    padded_regions, has_region = _pad([regions[index] for index in named])

    # In full precision whatever the rest has: the scale can be a hundred.
    with torch.autocast(scale.device.type, enabled=False):
        directions = F.normalize(padded_words.float(), dim=-1), F.normalize(padded_regions.float(), dim=-1)
        cosines = torch.einsum("awd,brd->abwr", *directions)
        distances = align(cosines, has_word, has_region, scale.float())

    own = torch.arange(len(named), device=scale.device)
    terms = [F.cross_entropy(-table, own) for distance in distances for table in (distance, distance.T)]
    return torch.stack(terms).mean()


def align(
    cosines: Float[Tensor, "a b w r"],
    has_word: Bool[Tensor, "a w"],
    has_region: Bool[Tensor, "b r"],
    scale: Float[Tensor, ""],
) -> tuple[Float[Tensor, "a b"], Float[Tensor, "a b"]]:
    """Distances of captions a and images b: words aligned to regions, and regions to words.

    A word's distance to an image is the mean of tau (1 - s) over the regions, by its softmax of tau s; a caption's is
    the mean over its words. Gradients go through the softmax. Padding is moved out of its reach.
    """
    present = has_word[:, None, :, None] & has_region[None, :, None, :]
    similarities = torch.where(present, scale * cosines, (scale * cosines).min().detach() - _PADDING)
    gaps = scale * (1 - cosines)

    n_words, n_regions = has_word.sum(1)[:, None], has_region.sum(1)[None]
    by_word = (similarities.softmax(-1) * gaps).sum(-1) * has_word[:, None]
    by_region = (similarities.softmax(-2) * gaps).sum(-2) * has_region[None]
    means = by_word.sum(-1) / n_words.clamp(min=1), by_region.sum(-1) / n_regions.clamp(min=1)

    empty = (n_words == 0) & (n_regions == 0)
    to_regions, to_words = (torch.where(empty, mean.max().detach() + _IMPOSSIBLE, mean) for mean in means)
    return to_regions, to_words


def draw_regions(queries: Int[Tensor, " m"], most: int = MOST_REGIONS) -> Int[Tensor, " n"]:
    """At most so many of the matched queries, drawn from torch's global generator where there are more."""
    if len(queries) <= most:
        return queries
    return queries[torch.randperm(len(queries))[:most].to(queries.device)]


def _pad(parts: Sequence[Float[Tensor, "_n d"]]) -> tuple[Float[Tensor, "i n d"], Bool[Tensor, "i n"]]:
    """Rows of zeros up to the longest part (of one row at least), and which rows are none."""
    counts = torch.tensor([len(part) for part in parts], device=parts[0].device)
    padded = pad_sequence(list(parts), batch_first=True)
    if not padded.shape[1]:
        padded = padded.new_zeros(len(parts), 1, parts[0].shape[1])
    return padded, torch.arange(padded.shape[1], device=counts.device) < counts[:, None]
