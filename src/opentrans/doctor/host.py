"""Processor cores and shared memory, which the loading of training images needs."""

import os
import shutil
from pathlib import Path

from opentrans.doctor.checks import Check, fault, fine, format_size, warn

LOADED_STEPS = 2  # training steps that each loader process holds ready
REGION_BYTES = 17  # bytes a pixel of a training image: the masks of its regions, as many as COCO has on average
SHARED_MEMORY = Path("/dev/shm")


def count_cores() -> int:
    """Cores that this process may use (a job's share of a node, not the whole node)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_shared_memory() -> int | None:
    """Free bytes of /dev/shm; None where the system has none."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None


def check_cores(cores: int, gpus: int, workers: int, threads: int) -> Check:
    """Whether the machine feeds its GPUs: each process needs a core, and one for each of its loaders.

    Args:
        cores: that this process may use.
        gpus: that one job takes here; 0 where it computes on the CPU.
        workers: loader processes of each training process.
        threads: of a job that computes on the CPU.
    """
    if not gpus:
        if cores < threads:
            remedy = "jobs take turns on the cores; the number of threads is part of the result, so leave it"
            return warn("CPU cores", f"{cores}; threads of a job: {threads}", remedy)
        return fine("CPU cores", f"{cores}; threads of a job: {threads}")
    needed = gpus * (workers + 1)
    text = f"{cores} for {gpus} GPUs; {workers + 1} each (`workers` and 1) are {needed}"
    if cores < needed:
        return warn("CPU cores", text, "the GPUs will wait for images: ask for more cores, or use fewer GPUs at a time")
    return fine("CPU cores", text)


def estimate_shared_memory(workers: int, batch_size: int, crop: int) -> int:
    """Bytes in /dev/shm while a training runs, all processes together: each loader holds some steps ready."""
    return workers * LOADED_STEPS * batch_size * crop**2 * REGION_BYTES


def check_shared_memory(free: int | None, needed: int) -> Check:
    """Whether the examples on their way from the loaders fit."""
    topic = "/dev/shm"
    if not needed:
        return fine(topic, "not needed (workers: 0)")
    if free is None:
        return fine(topic, "this system has none; loaders use another way")
    text = f"{format_size(free)} free, a training takes up to {format_size(needed)}"
    if free < needed:
        remedy = "in a container start it with more (`docker run --shm-size=8g`, `--ipc=host`), or set fewer `workers`"
        return fault(topic, text, remedy)
    return fine(topic, text)
