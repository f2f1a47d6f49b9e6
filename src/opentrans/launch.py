"""``python -m opentrans.launch GPUS VERB ...``: a verb in one process for each GPU, through ``torchrun``.

The workflow passes a rule's GPU resource. Processes are never more than the machine's GPUs; with one or none the
verb runs here. Results do not depend on the number (see `opentrans.training.devices`), only the time does.
"""

import os
import sys
from collections.abc import Sequence


def get_command(processes: int, words: Sequence[str]) -> list[str]:
    """The command that runs ``opentrans`` with `words` in that many processes."""
    if processes <= 1:
        return [sys.executable, "-m", "opentrans", *words]
    runner = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*runner, "--module", "opentrans", *words]


def count_gpus() -> int:
    """GPUs that this process may use; asking makes no CUDA context."""
    import torch

    return torch.cuda.device_count()


def main(arguments: Sequence[str]) -> None:
    """Replace this process by the verb, or by ``torchrun`` around it."""
    wanted = int(arguments[0]) if arguments and arguments[0].isdecimal() else None
    if wanted is None or len(arguments) < 2:
        sys.exit("usage: python -m opentrans.launch GPUS VERB ...")
    command = get_command(min(wanted, count_gpus()) if wanted > 1 else wanted, arguments[1:])
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
