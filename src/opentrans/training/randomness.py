"""The state of every random generator of this process: torch (CPU and GPU), numpy, Python."""

import json
import random

import numpy as np
import torch
from torch import Tensor

CPU, GPU = "random.torch", "random.cuda"


def seed_generators(seed: int) -> None:
    """Seed them all."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


def get_random_state() -> tuple[dict[str, Tensor], str]:
    """Torch's states as tensors, the others as JSON."""
    tensors = {CPU: torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors[GPU] = torch.cuda.get_rng_state()
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 (libraries may draw from it)
    return tensors, json.dumps({"python": random.getstate(), "numpy": [kind, np.asarray(keys).tolist(), *rest]})


def set_random_state(tensors: dict[str, Tensor], others: str) -> None:
    """Put back what `get_random_state` gave.

    Raises:
        KeyError, ValueError, TypeError: it is something else.
    """
    content = json.loads(others)
    kind, keys, *rest = content["numpy"]
    version, words, gauss = content["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(tensors[CPU])
    if GPU in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[GPU])
