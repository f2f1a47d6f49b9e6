"""The same comparisons on another device, in absolute numbers: ``--device cuda``. Skipped on the CPU.

The pairs of bench_inference.py and bench_training.py, and the RN50 trunk with torch.compile, channels-last and AMP.
The functions run on any device and at any size, so that the tests run them on the CPU.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from benchmarks import bench_inference as inference
from benchmarks import bench_training as training
from benchmarks.bench_sparse import RN50
from opentrans.clip.backbone import ClipBackbone
from opentrans.clip.text import TextEmbeddings

Row = dict[str, Any]
AMP = (None, torch.float16, torch.bfloat16)


def measure(function: Callable[[], Any], device: torch.device, rounds: int) -> dict[str, str]:
    """Fastest milliseconds, and on a GPU the peak memory above what was held before."""
    cuda = device.type == "cuda"
    function()
    _wait(device)

    before = torch.cuda.memory_allocated(device) if cuda else 0
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)

    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        _wait(device)
        seconds.append(time.perf_counter() - start)

    peak = f"{(torch.cuda.max_memory_allocated(device) - before) / 2**20:.0f}" if cuda else ""
    return {"ms": f"{1000 * min(seconds):.2f}", "peak MiB": peak}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _move(inputs: Any, device: torch.device) -> Any:
    def move(value: Any) -> Any:
        return value.to(device) if isinstance(value, Tensor | torch.nn.Module | TextEmbeddings) else value

    return tree_map(move, inputs)


def compare_ways(
    device: torch.device,
    rounds: int,
    height: int = 800,
    width: int = 1216,
    classes: int = 847,
    side: int = 512,
    batch: int = 7,
) -> list[Row]:
    """Our way and the customary one: inference (as drawn, and of noise), regions, a training step.

    Raises:
        AssertionError: the two do not agree.
    """
    size: dict[str, Any] = {"height": height, "width": width, "classes": classes}
    cases: Sequence[tuple[str, Callable[..., Any], dict[str, Any], tuple[Any, Any], Any]] = (
        ("masks", inference.masks, size, (inference.mask_tiles, inference.mask_customary), inference.agreement),
        ("masks of noise", inference.worst_masks, size, (inference.mask_tiles, inference.mask_customary),
         inference.agreement),
        ("pixels", inference.pixels, size, (inference.pixel_tiles, inference.pixel_customary), inference.agreement),
        ("pixels of noise", inference.worst_pixels, size, (inference.pixel_tiles, inference.pixel_customary),
         inference.agreement),
        ("20 regions", training.regions, {"count": 20}, (training.batched_regions, training.looped_regions),
         training.close),
        ("training step", training.steps, {"side": side, "batch": batch}, (training.frozen_step, training.full_step),
         None),
    )  # fmt: skip

    rows = []
    for name, prepare, setting, sides, same in cases:
        inputs = _move(prepare(**setting), device)
        with torch.inference_mode(same is not None):
            if same is not None:
                same(*(way(*inputs) for way in sides))

            for way in sides:
                found = measure(lambda way=way, inputs=inputs: way(*inputs), device, rounds)
                rows.append({"what": name, "way": way.__doc__, **found})
    return rows


def compare_settings(
    device: torch.device,
    rounds: int,
    side: int = 512,
    batch: int = 8,
    compiled: Sequence[bool] = (False, True),
    architecture: dict[str, Any] = RN50,
) -> list[Row]:
    """Inference and training step of the trunk, with each setting of torch.compile, channels-last and AMP."""
    rows = []
    for compiles, last, amp in itertools.product(compiled, (False, True), AMP):
        trunk, images = ClipBackbone(architecture).to(device), torch.randn(batch, 3, side, side, device=device)
        if last:
            trunk = trunk.to(memory_format=torch.channels_last)
            images = images.contiguous(memory_format=torch.channels_last)

        network = torch.compile(trunk) if compiles else trunk
        setting = {"torch.compile": compiles, "channels-last": last, "AMP": str(amp or "off").removeprefix("torch.")}
        for trains in (False, True):
            step = _make_step(network, trunk.train(trains), images, amp, trains)
            rows.append({**setting, "step": "training" if trains else "inference", **measure(step, device, rounds)})
    return rows


def _make_step(
    network: Callable[[Tensor], dict[str, Tensor]],
    trunk: torch.nn.Module,
    images: Tensor,
    amp: torch.dtype | None,
    trains: bool,
) -> Callable[[], None]:
    def cast() -> AbstractContextManager[Any]:
        return torch.autocast(images.device.type, amp) if amp else nullcontext()

    def step() -> None:
        if not trains:
            with torch.inference_mode(), cast():
                network(images)
            return
        trunk.zero_grad(set_to_none=True)
        with cast():
            loss = network(images)["res5"].float().square().mean()
        loss.backward()

    return step


@pytest.fixture
def device(pytestconfig: pytest.Config) -> torch.device:
    """The device asked for."""
    device = torch.device(pytestconfig.getoption("--device"))
    if device.type != "cuda":
        pytest.skip("needs --device cuda")
    return device


def bench_ways_on_gpu(device: torch.device, record: Callable[..., None], pytestconfig: pytest.Config) -> None:
    """The tables above, on the GPU."""
    rows = compare_ways(device, pytestconfig.getoption("--rounds"))
    record("ways", {"title": f"The comparisons above, {torch.cuda.get_device_name(device)}", "rows": rows})


def bench_settings_on_gpu(device: torch.device, record: Callable[..., None], pytestconfig: pytest.Config) -> None:
    """Settings of the trunk."""
    rows = compare_settings(device, pytestconfig.getoption("--rounds"))
    name = torch.cuda.get_device_name(device)
    record("settings", {"title": f"RN50 trunk, batch 8, 512 x 512, {name}", "rows": rows})
