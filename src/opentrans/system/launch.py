"""``python -m opentrans.system.launch GPUS COMMAND ...``: a command in one process for each GPU, through ``torchrun``.

The workflow passes a rule's GPU resource. Processes are never more than the machine's GPUs; with one or none the
command runs here. Results do not depend on the number (see `opentrans.training.devices`), only the time does.
The devices are leased (`opentrans.system.leases`), so that jobs side by side never share one; with 0 GPUs none is.

The exit status is the command's own: ``torchrun`` alone answers every end but success with 1. A signal is passed on to
all processes, which save and end; they also end when this one is killed.
"""

import os
import sys
import uuid
from collections.abc import Sequence

from opentrans.system.leases import VISIBLE, get_lock_folder, lease_devices, list_devices
from opentrans.system.signals import INTERRUPTED_STATUS, LAUNCHER, Interrupted, catch_signals, watch_time

QUIET = {"LOGLEVEL": "CRITICAL"}  # of torchrun: the command says itself in one line what is wrong
SHUTDOWN = 60  # seconds that the processes have to save, once a signal came in or one of them died


def count_gpus() -> int:
    """GPUs that this process may use; asking makes no CUDA context."""
    import torch

    return torch.cuda.device_count()


def lease_gpus(wanted: int) -> int:
    """Take up to `wanted` GPUs, and show this process and its children no others; how many it got."""
    present = count_gpus() if wanted else 0
    devices = list_devices(present)
    number = min(wanted, len(devices))
    if number:
        os.environ[VISIBLE] = ",".join(lease_devices(devices, number, get_lock_folder()))
    return number


def run_processes(processes: int, words: Sequence[str]) -> int:
    """Run the command in so many processes and wait for them; returns the exit status of the first that failed."""
    os.environ |= {name: os.environ.get(name, value) for name, value in QUIET.items()}
    os.environ[LAUNCHER] = str(os.getpid())
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Not torchrun's command line: it takes the command's --log for an option of its own.
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        logs_specs=DefaultLogsSpecs(os.devnull),
        max_restarts=0,
        # SIGTERM and SIGINT are ours: torchrun's handler would break off the shutdown at the second signal.
        signals_to_handle="SIGHUP,SIGQUIT",
        shutdown_timeout=SHUTDOWN,
    )

    try:
        elastic_launch(config, sys.executable)("-m", "opentrans", *words)
    except ChildFailedError as error:
        status = next(iter(error.failures.values())).exitcode
        return status if status > 0 else 128 - status  # killed by a signal: as a shell says it
    finally:
        del os.environ[LAUNCHER]
    return 0


def launch_command(arguments: Sequence[str]) -> None:
    """Replace this process by the command, or run it in several processes."""
    wanted = int(arguments[0]) if arguments and arguments[0].isdecimal() else None
    if wanted is None or len(arguments) < 2:
        sys.exit("usage: python -m opentrans.system.launch GPUS COMMAND ...")

    try:
        with catch_signals():
            processes = lease_gpus(wanted)
            watch_time()  # from here on: waiting for devices is not the training's time, but the scheduler's
            if processes > 1:
                sys.exit(run_processes(processes, arguments[1:]))
    except Interrupted as end:
        print(f"opentrans {arguments[1]}: {end}", file=sys.stderr)
        sys.exit(INTERRUPTED_STATUS)

    # One process: the command takes the place of this one.
    os.execv(sys.executable, [sys.executable, "-m", "opentrans", *arguments[1:]])


if __name__ == "__main__":
    launch_command(sys.argv[1:])
