"""``python -m benchmarks.peak MODULE SIDE...``: run each side in a process of its own and print its peak memory."""

import ctypes
import gc
import importlib
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch

from benchmarks.machine import get_peak, reset_peak


def measure(module: str, side: str, request: dict[str, Any]) -> int:
    """Make the inputs, then measure what the side takes on top of them, in bytes."""
    functions = vars(importlib.import_module(module))
    torch.set_num_threads(request["threads"])
    inputs = functions[request["prepare"]](**request["setting"])
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what making the inputs has freed would be taken again unseen
    before = reset_peak()
    with torch.inference_mode(request["inference"]):
        functions[side](*inputs)
    return get_peak() - before


def main() -> None:
    """The setting is JSON on standard input; the answer is JSON on standard output, bytes by side."""
    module, *sides = sys.argv[1:]
    request, found = json.load(sys.stdin), {}
    importlib.import_module(module)  # once for all sides: their processes are forked
    for side in sides:
        with ProcessPoolExecutor(1, get_context("fork")) as pool:
            found[side] = pool.submit(measure, module, side, request).result()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
