"""The RN50 trunk of a subnetwork at density 0.1 on the CPU: what each way to skip pruned weights gives.

Masks are random (each convolution but the stem's first keeps a tenth of its weights), since CLIP's weights are not
needed to measure time; real masks differ from layer to layer.
"""

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from opentrans.clip.backbone import ClipBackbone, get_prunable
from opentrans.costs.layer_costs import count_convolutions
from opentrans.sparse.convolution import fold
from opentrans.sparse.trunk import SparseTrunk, sparsify

RN50 = {
    "embed_dim": 1024,
    "vision_cfg": {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64, "patch_size": None, "head_width": 64},
}
SIDE = 512
Side = Callable[[Tensor], dict[str, Tensor]]


@cache
def make_trunk(density: float) -> ClipBackbone:
    """RN50's trunk with random weights of which `density` remain; signals keep their size through the layers."""
    torch.manual_seed(0)
    backbone = ClipBackbone(RN50).eval().requires_grad_(False)

    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
            module.weight.data.uniform_(0.5, 1)
            module.bias.data.normal_(0, 0.1)

    for weight in get_prunable(backbone).values():
        weight.data.mul_((torch.rand_like(weight) < density) * density**-0.5)
    return backbone


def folded(density: float) -> ClipBackbone:
    """The trunk with batch norms folded into convolutions."""
    source, made = make_trunk(density), ClipBackbone(RN50).eval().requires_grad_(False)
    made.load_state_dict(source.state_dict())
    for name in [name for name, module in made.named_modules() if isinstance(module, nn.Conv2d)]:
        parent = made.get_submodule(name.rpartition(".")[0])
        own = name.rpartition(".")[2]
        norm = "1" if own == "0" else own.replace("conv", "bn")
        convolution = getattr(parent, own)
        weight, bias = fold(convolution, getattr(parent, norm))
        convolution.weight.data, convolution.bias = weight, nn.Parameter(bias, requires_grad=False)
        setattr(parent, norm, nn.Identity())
    return made


class CsrConv(nn.Module):
    """torch's CSR product: 1x1 directly, 3x3 over unfolded patches."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.matrix = convolution.weight.detach().flatten(1).to_sparse_csr()
        self.bias, self.taps, self.padding = convolution.bias, convolution.kernel_size[0], convolution.padding[0]

    def forward(self, maps: Tensor) -> Tensor:
        """One image."""
        columns = maps.flatten(2)[0] if self.taps == 1 else F.unfold(maps, self.taps, padding=self.padding)[0]
        return ((self.matrix @ columns) + self.bias[:, None]).view(1, -1, *maps.shape[2:])


def csr_trunk(density: float, taps: tuple[int, ...]) -> ClipBackbone:
    """The folded trunk whose pruned convolutions with these kernel sizes are CSR products."""
    made = folded(density)
    for name, module in list(made.named_modules()):
        if isinstance(module, nn.Conv2d) and name != "conv1" and module.kernel_size[0] in taps:
            setattr(made.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], CsrConv(module))
    return made


def _session(density: float, threads: int, side: int, kind: str) -> Side:
    import io

    stages = ("res2", "res3", "res4", "res5")
    stream = io.BytesIO()
    torch.onnx.export(folded(density), (torch.zeros(1, 3, side, side),), stream, output_names=list(stages),
                      dynamo=False)  # fmt: skip
    if kind == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(stream.getvalue(), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda images: dict(
            zip(stages, map(torch.from_numpy, session.run(list(stages), {name: images.numpy()})), strict=True)
        )
    import openvino

    stream.seek(0)
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    if kind == "openvino sparse":
        settings["CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE"] = 0.5
    compiled = openvino.Core().compile_model(openvino.Core().read_model(stream), "CPU", settings)
    return lambda images: {k: torch.from_numpy(compiled(images.numpy())[i].copy()) for i, k in enumerate(stages)}


def ways(density: float, threads: int, side: int) -> dict[str, Callable[[], Side]]:
    """How each way is set up."""
    last = torch.channels_last
    return {
        "opentrans: own kernel, weights as a list, tiles of pixels in registers": lambda: sparsify(make_trunk(density)),
        "dense PyTorch (oneDNN)": lambda: make_trunk(density),
        "dense PyTorch, batch norm folded": lambda: folded(density),
        "dense PyTorch, folded, channels-last": lambda: _channels_last(folded(density).to(memory_format=last)),
        "dense PyTorch, torch.compile (inductor), folded": lambda: torch.compile(folded(density)),
        "torch CSR (MKL) for the 1x1 convolutions, dense 3x3": lambda: csr_trunk(density, (1,)),
        "torch CSR (MKL) for 1x1 and, over unfolded patches, 3x3": lambda: csr_trunk(density, (1, 3)),
        "ONNX Runtime (dense; it has no sparse convolution)": lambda: _session(density, threads, side, "onnxruntime"),
        "OpenVINO, f32": lambda: _session(density, threads, side, "openvino"),
        "OpenVINO, f32, sparse weights decompression on": lambda: _session(density, threads, side, "openvino sparse"),
    }


def _channels_last(trunk: nn.Module) -> Side:
    return lambda images: trunk(images.contiguous(memory_format=torch.channels_last))


def prepare(density: float, side: int) -> tuple[Tensor, nn.Module, nn.Module]:
    """An image, the dense trunk and the sparse one."""
    trunk = make_trunk(density)
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1)), trunk, sparsify(trunk, 1.0)


def sparse(image: Tensor, _: nn.Module, trunk: nn.Module) -> dict[str, Tensor]:
    """opentrans: own kernel"""
    return trunk(image)


def dense(image: Tensor, trunk: nn.Module, _: nn.Module) -> dict[str, Tensor]:
    """dense PyTorch"""
    return trunk(image)


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> dict[str, float]:
    """Largest difference of any map, relative to its largest value."""
    error = max(((ours[k] - theirs[k]).abs().max() / theirs[k].abs().max()).item() for k in theirs)
    assert error < 1e-4
    return {"largest relative difference": error}


@pytest.mark.parametrize("threads", [1, 2])
def bench_trunk(versus: Callable[..., Any], threads: int) -> None:
    """Density 0.1 at 512 x 512."""
    assert isinstance(sparsify(make_trunk(0.1)), SparseTrunk)
    versus(
        f"trunk, {threads} threads", "RN50 trunk at density 0.1, 512 x 512", prepare, sparse, [dense],
        {"density": 0.1, "side": SIDE}, same, {"speed": 2}, memory=True, threads=threads,
    )  # fmt: skip


@pytest.mark.parametrize("density", [0.05, 0.1, 0.2, 0.4, 1.0])
def bench_density(versus: Callable[..., Any], density: float) -> None:
    """Time and memory against density at 256 x 256."""
    versus(
        f"trunk at density {density}", "Density", prepare, sparse, [dense], {"density": density, "side": 256}, same,
        curve=("density", density), memory=True, threads=1,
    )  # fmt: skip


def bench_ways(record: Callable[..., None], pytestconfig: pytest.Config) -> None:
    """The table of what each way gave, one thread; also what failed."""
    torch.set_num_threads(1)
    image = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    made: dict[str, Side] = {}
    failed: dict[str, str] = {}
    with torch.inference_mode():
        expected = make_trunk(0.1)(image)

        errors = {}
        for name, make in ways(0.1, 1, SIDE).items():
            try:
                way = make()
                found = way(image)
                errors[name] = max(((found[k] - expected[k]).abs().max() / expected[k].abs().max()).item()
                                   for k in expected)  # fmt: skip
                made[name] = way
            except Exception as error:
                failed[name] = type(error).__name__

        # In turns, so that a slow moment of the machine meets every way.
        seconds: dict[str, list[float]] = {name: [] for name in made}
        busy: dict[str, list[float]] = {name: [] for name in made}
        until = time.perf_counter() + 2 * pytestconfig.getoption("--seconds")
        for number in range(pytestconfig.getoption("--rounds")):
            if number >= 2 and time.perf_counter() > until:
                break
            for name, way in made.items():
                start, cpu = time.perf_counter(), time.process_time()
                way(image)
                seconds[name].append(time.perf_counter() - start)
                busy[name].append(time.process_time() - cpu)

    base, cpu_base = (min(values["dense PyTorch (oneDNN)"]) for values in (seconds, busy))
    rows = [
        {
            "way": name,
            "seconds": f"{min(seconds[name]):.3f}",
            "CPU seconds": f"{min(busy[name]):.3f}",
            "speed against dense": f"{base / min(seconds[name]):.2f}x",
            "by CPU seconds": f"{cpu_base / min(busy[name]):.2f}x",
            "largest relative difference": f"{errors[name]:.1e}",
        }
        for name in made
    ] + [
        {"way": name, "seconds": "", "CPU seconds": "", "speed against dense": f"failed: {problem}",
         "by CPU seconds": "", "largest relative difference": ""} for name, problem in failed.items()
    ]  # fmt: skip

    macs = sum(count_convolutions(make_trunk(0.1), SIDE, SIDE).values())
    facts = {"multiply-accumulates of the dense trunk's convolutions": f"{macs / 1e9:.1f} G"}
    record("ways", {"title": "What each way gives at density 0.1, 512 x 512, 1 thread", "rows": rows, "facts": facts,
                    "packages": ["onnxruntime", "openvino"]})  # fmt: skip
