"""GPUs for one job at a time: a device that a running job has taken is taken by no other.

SLURM hands out devices by itself; on one machine with several jobs nobody does. A lease is a lock on a file, one for
each device, which the kernel gives back when the process that holds it ends, however it ends. Jobs of one user on one
machine see each other's leases; other people's programs are not seen.
"""

import fcntl
import getpass
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

VISIBLE = "CUDA_VISIBLE_DEVICES"
PAUSE = 0.5  # seconds between two looks at devices that other jobs hold


def get_lock_folder() -> Path:
    """The folder of the locks: one for each user and, inside SLURM, for each of its jobs.

    Inside a job SLURM may number the job's own devices from 0, so that a number means something only there.
    """
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    parts = ("opentrans-gpus", getpass.getuser(), os.environ.get("SLURM_JOB_ID", ""))
    return Path(base) / "-".join(part for part in parts if part)


def list_devices(count: int) -> list[str]:
    """The names of the devices that this process may use, as ``CUDA_VISIBLE_DEVICES`` takes them.

    Args:
        count: how many there are, by torch.
    """
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return [str(number) for number in range(count)]
    return [name.strip() for name in visible.split(",") if name.strip()][:count]


def lease_devices(devices: Sequence[str], wanted: int, folder: Path) -> list[str]:
    """Take `wanted` of these devices for this process and what replaces it; wait while too few are free.

    Who waits holds what it got, and nobody else may take any meanwhile: so two jobs never wait for each other, and a
    job of many devices is not passed by for ever by jobs of one. The locks live as long as the process, through
    ``exec``.

    Args:
        devices: names of the devices, at least `wanted`.
        wanted: how many.
        folder: where the locks lie; made where it is missing.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    turn = os.open(folder / "turn.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _try_lock(turn):
            _say(f"waiting for {wanted} of {len(devices)} GPUs: another job waits already")
            fcntl.flock(turn, fcntl.LOCK_EX)

        taken: list[str] = []
        said = False
        while True:
            free = (name for name in devices if name not in taken)
            for name in free:
                if len(taken) < wanted and _take(name, folder):
                    taken.append(name)
            if len(taken) == wanted:
                return [name for name in devices if name in taken]
            if not said:
                _say(f"waiting for {wanted} of {len(devices)} GPUs: {len(taken)} are free")
                said = True
            time.sleep(PAUSE)
    finally:
        os.close(turn)


def _take(name: str, folder: Path) -> bool:
    """Try to lock a device; the descriptor stays open on purpose, also in the program that takes our place."""
    lock = os.open(folder / f"{quote(name, safe='')}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    if not _try_lock(lock):
        os.close(lock)
        return False
    os.set_inheritable(lock, True)
    return True


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
