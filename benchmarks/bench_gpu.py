"""The same table on another device, in absolute figures: ``--device cuda``. Skipped on the CPU.

Inference of mask proposals as in bench_inference.py, and the RN50 trunk with torch.compile, channels-last and AMP.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.bench_inference import SIZE, agreement, mask_customary, mask_tiles, masks
from benchmarks.bench_sparse import RN50
from opentrans.models.backbone import ClipBackbone


def _measure(function: Callable[[], Any], device: torch.device, rounds: int) -> dict[str, str]:
    """Fastest milliseconds and peak memory above what was held before."""
    function()
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated(device) - before
    return {"ms": f"{1000 * min(seconds):.2f}", "peak MiB": f"{peak / 2**20:.0f}"}


@pytest.fixture
def device(pytestconfig: pytest.Config) -> torch.device:
    """The device asked for."""
    device = torch.device(pytestconfig.getoption("--device"))
    if device.type != "cuda":
        pytest.skip("needs --device cuda")
    return device


@torch.inference_mode()
def bench_masks_on_gpu(device: torch.device, record: Callable[..., None], pytestconfig: pytest.Config) -> None:
    """847 classes at 800 x 1216."""
    scores, logits, size = masks(**SIZE, classes=847)
    scores, logits = scores.to(device), logits.to(device)
    agreement(mask_tiles(scores, logits, size), mask_customary(scores, logits, size))
    rounds = pytestconfig.getoption("--rounds")
    rows = [{"way": (side.__doc__ or ""), **_measure(lambda side=side: side(scores, logits, size), device, rounds)}
            for side in (mask_tiles, mask_customary)]  # fmt: skip
    name = torch.cuda.get_device_name(device)
    record("masks", {"title": f"Mask classification, 847 classes, 800 x 1216, {name}", "rows": rows})


def bench_trunk_on_gpu(device: torch.device, record: Callable[..., None], pytestconfig: pytest.Config) -> None:
    """RN50's trunk, batch 8 at 512 x 512: settings compared, inference and training step."""
    rows = []
    for compiled in (False, True):
        for last in (False, True):
            for amp in (None, torch.float16, torch.bfloat16):
                trunk = ClipBackbone(RN50).to(device)
                images = torch.randn(8, 3, 512, 512, device=device)
                if last:
                    trunk, images = trunk.to(memory_format=torch.channels_last), images.contiguous(
                        memory_format=torch.channels_last
                    )  # fmt: skip
                network = torch.compile(trunk) if compiled else trunk
                setting = {"torch.compile": compiled, "channels-last": last, "AMP": str(amp or "off")}
                for training in (False, True):
                    trunk.train(training)
                    step = _make_step(network, trunk, images, amp, training)
                    figures = _measure(step, device, pytestconfig.getoption("--rounds"))
                    rows.append({**setting, "step": "training" if training else "inference", **figures})
    name = torch.cuda.get_device_name(device)
    record("trunk", {"title": f"RN50 trunk, batch 8, 512 x 512, {name}", "rows": rows})


def _make_step(
    network: Callable[[Tensor], dict[str, Tensor]],
    trunk: torch.nn.Module,
    images: Tensor,
    amp: torch.dtype | None,
    training: bool,
) -> Callable[[], None]:
    def cast() -> AbstractContextManager[Any]:
        return torch.autocast("cuda", amp) if amp else nullcontext()

    def step() -> None:
        if not training:
            with torch.inference_mode(), cast():
                network(images)
            return
        trunk.zero_grad(set_to_none=True)
        with cast():
            loss = network(images)["res5"].float().square().mean()
        loss.backward()

    return step
