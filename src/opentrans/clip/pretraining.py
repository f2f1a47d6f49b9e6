"""Contrastive training of a small CLIP from nothing (the mini world's teacher)."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int, UInt8
from open_clip import CLIP, SimpleTokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from opentrans.clip.teacher import Teacher
from opentrans.clip.weights import Architecture
from opentrans.config import PretrainingConfig

_MAX_LOGIT_SCALE = 100.0  # CLIP's own bound
LOG_FIELDS = ("iteration", "loss", "lr")


def make_teacher(architecture: Architecture, seed: int) -> Teacher:
    """A teacher with open_clip's initial weights drawn from `seed`; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Teacher(architecture)


def contrastive_loss(
    images: Float[Tensor, "b d"], texts: Float[Tensor, "u d"], index: Int[Tensor, " b"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """CLIP's symmetric cross entropy, with each distinct caption of the batch counted once.

    Args:
        images: L2-normalised image embeddings.
        texts: L2-normalised embeddings of the batch's distinct captions.
        index: which caption each image has. Images that share one are all right answers to it: with as few
            captions as a small world has, a batch holds many such pairs, which CLIP's own loss pushes apart.
        scale: inverse temperature.
    """
    logits = scale * images @ texts.T
    of_image = F.cross_entropy(logits, index)

    # All images of a caption are its target, in equal shares.
    hits = F.one_hot(index, len(texts)).to(logits.dtype)
    of_text = F.cross_entropy(logits.T, hits.T / hits.sum(0)[:, None])

    return (of_image + of_text) / 2


@contextmanager
def compact_tokens(clip: CLIP, tokens: Int[Tensor, "n l"]) -> Iterator[Int[Tensor, "n l"]]:
    """Swap the 49,408-row token table for one of the tokens that occur, so that the optimiser walks these only.

    Yields `tokens` renumbered; the order is kept, because CLIP reads the sentence at the largest number (the end
    token). On exit the trained rows are back in the full table.
    """
    full = clip.token_embedding
    used = torch.unique(tokens)

    clip.token_embedding = nn.Embedding.from_pretrained(full.weight[used].clone(), freeze=False)
    try:
        yield torch.searchsorted(used, tokens)
    finally:
        with torch.no_grad():
            full.weight[used] = clip.token_embedding.weight
        clip.token_embedding = full


def make_optimizer(clip: CLIP, recipe: PretrainingConfig) -> torch.optim.AdamW:
    """AdamW as in CLIP: no weight decay on gains, biases and the temperature."""
    matrices = [weight for weight in clip.parameters() if weight.ndim >= 2]
    vectors = [weight for weight in clip.parameters() if weight.ndim < 2]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98), eps=1e-6, fused=True)


def get_pretraining_lr(iteration: int, recipe: PretrainingConfig) -> float:
    """Linear warm-up, then half a cosine down to 0 at the end."""
    if iteration < recipe.warmup_iterations:
        return recipe.lr * (iteration + 1) / recipe.warmup_iterations
    done = (iteration - recipe.warmup_iterations) / max(1, recipe.iterations - recipe.warmup_iterations)
    return recipe.lr * (1 + math.cos(math.pi * done)) / 2


def draw_batches(
    count: int, batch_size: int, iterations: int, generator: torch.Generator
) -> Iterator[Int[Tensor, " b"]]:
    """Indices of `iterations` batches; every image comes once before any comes again."""
    epochs = -(-batch_size * iterations // count)
    order = torch.cat([torch.randperm(count, generator=generator) for _ in range(epochs)])
    yield from order[: batch_size * iterations].split(batch_size)


def augment(images: UInt8[Tensor, "b 3 s s"], generator: torch.Generator) -> Float[Tensor, "b 3 s s"]:
    """Values 0..1, half of the images mirrored."""
    mirrored = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirrored, images.flip(-1), images) / 255


def pretrain(
    teacher: Teacher, images: UInt8[Tensor, "n 3 s s"], captions: list[str], recipe: PretrainingConfig
) -> list[dict[str, object]]:
    """Train `teacher` in place on captioned images of its input size; deterministic for a thread count.

    Args:
        teacher: an untrained CLIP (see `make_teacher`); afterwards frozen and in evaluation mode again.
        images: RGB images.
        captions: what each shows.
        recipe: iterations, batch size, learning rate, seed.

    Returns:
        The log: iteration, loss, learning rate.
    """
    clip = teacher.clip
    tokens = SimpleTokenizer(context_length=clip.context_length)(captions)
    generator = torch.Generator().manual_seed(recipe.seed)

    # Channels-last makes the CPU's convolutions faster.
    clip.train().requires_grad_(True).to(memory_format=torch.channels_last)
    with compact_tokens(clip, tokens) as compact:
        log = _train(teacher, images, compact, recipe, generator)
    clip.to(memory_format=torch.contiguous_format).requires_grad_(False).eval()
    return log


def _train(
    teacher: Teacher,
    images: UInt8[Tensor, "n 3 s s"],
    tokens: Int[Tensor, "n l"],
    recipe: PretrainingConfig,
    generator: torch.Generator,
) -> list[dict[str, object]]:
    optimizer = make_optimizer(teacher.clip, recipe)
    log: list[dict[str, object]] = []
    batches = draw_batches(len(images), recipe.batch_size, recipe.iterations, generator)
    progress = tqdm(batches, desc="train teacher", total=recipe.iterations, file=sys.stderr)

    for iteration, batch in enumerate(progress):
        lr = get_pretraining_lr(iteration, recipe)
        for group in optimizer.param_groups:
            group["lr"] = lr

        pixels = augment(images[batch], generator).to(teacher.device, memory_format=torch.channels_last)
        loss = _step(teacher, optimizer, pixels, tokens[batch].to(teacher.device))

        log.append({"iteration": iteration + 1, "loss": f"{loss:.6f}", "lr": f"{lr:.6g}"})
        progress.set_postfix(loss=f"{loss:.3f}")

    return log


def _step(
    teacher: Teacher,
    optimizer: torch.optim.Optimizer,
    pixels: Float[Tensor, "b 3 s s"],
    tokens: Int[Tensor, "b l"],
) -> float:
    """One optimiser step; returns the loss before it."""
    clip = teacher.clip
    distinct, index = torch.unique(tokens, dim=0, return_inverse=True)
    texts = clip.encode_text(distinct, normalize=True)
    loss = contrastive_loss(teacher.encode_images(pixels), texts, index, clip.logit_scale.exp())

    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

    with torch.no_grad():
        clip.logit_scale.clamp_(max=math.log(_MAX_LOGIT_SCALE))
    return loss.item()
