"""torch's build, the driver and the GPUs, against what the configuration asks for."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from opentrans.doctor.checks import Check, fault, fine, format_size, warn
from opentrans.doctor.external import ask_program, ask_python
from opentrans.system.cards import supports_card

# The oldest driver for each major version of CUDA (NVIDIA, "Minor Version Compatibility").
OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
GPU_FIELDS = ("name", "memory.total", "memory.free", "compute_cap", "driver_version")
MEBIBYTE = 2**20
FREE_SHARE = 0.9  # a card with less free memory than this has another user
# Rough, and not measured: activations of one image of 512 x 512 pixels in training, and what no image changes.
IMAGE_BYTES, BASE_BYTES = 1.5e9, 2e9

TORCH_PROBE = """
import json, torch
flags = getattr(torch._C, "_cuda_getArchFlags", lambda: "")() or ""
print(json.dumps([torch.__version__, torch.version.cuda, getattr(torch.version, "hip", None),
                  torch.cuda.device_count() if torch.cuda.is_available() else 0, flags.split()]))
"""


@dataclass(frozen=True)
class TorchBuild:
    """The installed torch: `cuda` is the CUDA it was built with (None: for the CPU), `visible` the GPUs it can use."""

    version: str
    cuda: str | None
    visible: int
    architectures: tuple[str, ...] = ()
    rocm: bool = False


@dataclass(frozen=True)
class Gpu:
    """One card as the driver sees it; memory in bytes, `capability` as (major, minor) or None."""

    name: str
    memory: int
    free: int
    capability: tuple[int, int] | None
    driver: str


def find_torch() -> TorchBuild | None:
    """torch, asked in a process of its own; None where it is missing or cannot be loaded."""
    answer = ask_python(TORCH_PROBE)
    if answer is None:
        return None
    version, cuda, hip, visible, architectures = answer
    return TorchBuild(version, cuda, visible, tuple(architectures), hip is not None)


def find_gpus() -> list[Gpu]:
    """The cards that ``nvidia-smi`` lists; none where there is no such program."""
    answer = ask_program(["nvidia-smi", f"--query-gpu={','.join(GPU_FIELDS)}", "--format=csv,noheader,nounits"])
    return parse_gpus(answer or "")


def parse_gpus(text: str) -> list[Gpu]:
    """The cards of ``nvidia-smi``'s lines; what it does not know counts nothing."""
    gpus = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(GPU_FIELDS):
            continue

        name, total, free, capability, driver = cells
        match = re.fullmatch(r"(\d+)\.(\d+)", capability)
        gpus.append(
            Gpu(
                name=name,
                memory=int(total) * MEBIBYTE if total.isdecimal() else 0,
                free=int(free) * MEBIBYTE if free.isdecimal() else 0,
                capability=(int(match[1]), int(match[2])) if match else None,
                driver=driver,
            )
        )
    return gpus


def check_torch(build: TorchBuild | None, gpus: int, device: str, conda: bool, visible: str | None) -> Check:
    """Whether torch is there and can use the machine's GPUs.

    Args:
        build: the installed torch.
        gpus: cards that the driver lists.
        device: the configuration's ``device``.
        conda: whether jobs can get a torch of their own from conda.
        visible: the variable ``CUDA_VISIBLE_DEVICES``, None if it is not set.
    """
    if build is None:
        if conda:
            return warn("torch", "not here", "the jobs' own comes with `--use-conda`; it is looked at once it is made")
        return fault(
            "torch", "missing, or it cannot be loaded", "`make .venv/installed`; then `python -c 'import torch'`"
        )

    kind = f"CUDA {build.cuda}" if build.cuda else "the CPU"
    if build.rocm:
        kind = "ROCm, on which nothing was tried"
    text = f"{build.version}, built for {kind}"
    if device == "cpu" or (gpus == 0 and build.visible == 0):
        return fine("torch", text)
    if build.cuda is None and not build.rocm:
        remedy = "install the build for CUDA: requirements.lock's on Linux, or conda with CONDA_OVERRIDE_CUDA set"
        return fault("torch", f"{text}, but the machine has {gpus} GPUs", remedy)

    if build.visible == 0:
        remedy = "see the driver and the card below"
        if visible is not None:
            remedy = f"CUDA_VISIBLE_DEVICES is {visible!r}: unset it or name devices that are there; or {remedy}"
        return fault("torch", f"{text}; it can use none of {gpus} GPUs", remedy)
    if build.visible < gpus:
        note = f"CUDA_VISIBLE_DEVICES is {visible!r}" if visible is not None else "nothing says why"
        return warn("torch", f"{text}; it can use {build.visible} of {gpus} GPUs", f"{note}; the others stay idle")
    return fine("torch", f"{text}; it can use {build.visible} GPUs")


def check_driver(driver: str, cuda: str | None) -> Check:
    """Whether the driver is new enough for the CUDA that torch was built with."""
    if cuda is None:
        return fine("driver", driver)
    needed = OLDEST_DRIVER.get(int(cuda.partition(".")[0]))
    major = driver.partition(".")[0]
    if needed is None or not major.isdecimal():
        return warn("driver", f"{driver}; what CUDA {cuda} needs is not known here", "compare with NVIDIA's table")
    if int(major) < needed:
        remedy = f"renew the driver ({needed} or newer), or install a torch for an older CUDA"
        return fault("driver", f"{driver} is too old for CUDA {cuda}, with which torch was built", remedy)
    return fine("driver", f"{driver} (CUDA {cuda} needs {needed} or newer)")


def check_cards(gpus: Sequence[Gpu], architectures: Sequence[str]) -> Iterable[Check]:
    """Whether torch was built for these cards; nothing where either is unknown."""
    if not architectures:
        return
    for gpu in dict.fromkeys(gpus):
        if gpu.capability and not supports_card(architectures, gpu.capability):
            has = "{}.{}".format(*gpu.capability)
            text = (
                f"{gpu.name} (compute capability {has}) is none that torch was built for ({', '.join(architectures)})"
            )
            yield fault("GPUs", text, "take newer cards, or a torch whose builds still serve this one")


def check_gpu_count(gpus: Sequence[Gpu], wanted: Mapping[str, int], device: str) -> Check:
    """Whether there are as many GPUs as the configuration gives to one job."""
    most = max(wanted.values())
    if device == "cpu":
        return fine("GPUs", "none needed (device: cpu)")
    if not gpus and device == "cuda":
        remedy = "run on a machine with GPUs, or set `device: cpu` (only small profiles end in reasonable time)"
        return fault("GPUs", "none, but the configuration says `device: cuda`", remedy)
    if not gpus:
        return warn("GPUs", "none: everything would run on the CPU (device: auto)", "fine for small profiles only")

    names = ", ".join(dict.fromkeys(gpu.name for gpu in gpus))
    have = f"{len(gpus)} ({names}, {format_size(min(gpu.memory for gpu in gpus))})"
    short = [f"{job} {number}" for job, number in wanted.items() if number > len(gpus)]
    if short:
        remedy = "it works on fewer: same result, more time (gradients are accumulated)"
        return warn("GPUs", f"{have}; the configuration gives {', '.join(short)}", remedy)
    return fine("GPUs", f"{have}; one job takes up to {most}")


def estimate_gpu_memory(images: int, crop: int) -> float:
    """Bytes that a training may need with so many images of side `crop` at once; rough, not measured."""
    return BASE_BYTES + IMAGE_BYTES * images * (crop / 512) ** 2


def check_gpu_memory(gpus: Sequence[Gpu], needs: Mapping[str, float]) -> Iterable[Check]:
    """Whether the cards have room for each training (job -> bytes), and nobody else's programs on them."""
    if not gpus:
        return

    busy = [str(number) for number, gpu in enumerate(gpus) if gpu.free < FREE_SHARE * gpu.memory]
    if busy:
        text = f"GPU {', '.join(busy)}: memory is taken by other programs"
        yield warn("GPU memory", text, "see `nvidia-smi`; leave these out with CUDA_VISIBLE_DEVICES")

    smallest = min(gpu.memory for gpu in gpus)
    tight = [f"{job} some {format_size(need)}" for job, need in needs.items() if need > smallest]
    if tight:
        remedy = (
            "a rough estimate, not measured: try some steps first. A smaller `micro_batch_size` needs less, but"
            " batch norm then sees smaller groups, which changes results"
        )
        yield warn("GPU memory", f"{format_size(smallest)} a card may be too little: {', '.join(tight)}", remedy)
    elif needs and not busy:
        most = format_size(max(needs.values()))
        yield fine("GPU memory", f"{format_size(smallest)} a card, free; some {most} are needed (estimate)")
