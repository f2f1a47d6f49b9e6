"""``python -m benchmarks.peak MODULE SIDE``: run one side in a process of its own and print its peak memory."""

import gc
import importlib
import json
import sys

from benchmarks.machine import get_peak, reset_peak


def main() -> None:
    """Make the inputs (setting as JSON on standard input), then measure what the side takes on top of them."""
    import torch

    module, side = importlib.import_module(sys.argv[1]), sys.argv[2]
    request = json.load(sys.stdin)
    torch.set_num_threads(request["threads"])
    inputs = getattr(module, request["prepare"])(**request["setting"])
    gc.collect()
    before = reset_peak()
    with torch.inference_mode(request["inference"]):
        getattr(module, side)(*inputs)
    print(json.dumps(get_peak() - before))


if __name__ == "__main__":
    main()
