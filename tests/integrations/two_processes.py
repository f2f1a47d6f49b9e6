"""A training with our hooks or callbacks, stopped and resumed: in one process, or in each one that ``torchrun`` starts.

All processes see the same batches, so that their mean gradient is the gradient of one.
"""

import os
import subprocess
import sys
from pathlib import Path

import torch
from host_samples import PREFIX, count_revived, make_subnetwork
from torch import distributed

STEPS, STOP = 5, 3
RUNNER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def train_lightning(folder, steps, resume, processes):
    from trainer_cases import fit, lightning_callbacks

    last = folder / f"step-step={STOP}.ckpt" if resume else None
    return fit(folder, lightning_callbacks(make_subnetwork(), 2), steps, last, processes)


def train_huggingface(folder, steps, resume, _):
    from trainer_cases import train_huggingface as train

    return train(folder, make_subnetwork(), steps, str(folder / f"checkpoint-{STOP}") if resume else None)


def train_standin(folder, steps, resume, processes):
    import detectron2_standin
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        detectron2_standin.install(patch)
        try:
            return train_detectron2(folder, steps, resume, processes)
        finally:  # they know the stand-in
            for name in [name for name in sys.modules if name.startswith("opentrans.integrations.detectron2")]:
                del sys.modules[name]


def train_detectron2(folder, steps, resume, processes):
    import detectron2_cases as cases

    if processes > 1 and not distributed.is_initialized():
        distributed.init_process_group("gloo")
    model = cases.run(folder, make_subnetwork(), steps, resume=resume).model
    return getattr(model, "module", model)


def train_real_detectron2(folder, steps, resume, processes):
    from detectron2.engine import defaults
    from torch.nn.parallel import DistributedDataParallel

    if processes > 1:  # its own gives DDP the number of a GPU
        defaults.create_ddp_model = lambda model, **options: DistributedDataParallel(model, **options)
    return train_detectron2(folder, steps, resume, processes)


TRAININGS = {
    "lightning": train_lightning,
    "huggingface": train_huggingface,
    "standin": train_standin,
    "detectron2": train_real_detectron2,
}


def train(kind, folder, processes):
    """The model after a training that was stopped and resumed after its layers were frozen."""
    TRAININGS[kind](folder, STOP, False, processes)
    if processes > 1:
        distributed.barrier()  # the first process has written
    return TRAININGS[kind](folder, STEPS, True, processes)


def read(model):
    """Parameters and buffers as they are: a state dict would be masked first."""
    return {name: value.detach() for name, value in [*model.named_parameters(), *model.named_buffers()]}


def check(kind, folder, subnetwork, prefix=PREFIX):
    """Both processes end with the same weights, those of one process alone, and zero outside the masks."""
    shared = str(Path(__file__).parents[1])  # builders.py
    paths = os.pathsep.join(filter(None, [shared, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    command = [*RUNNER, __file__, kind, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    ranks = [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as theirs: Adam makes a step of the rounding of a gradient near zero
    try:
        one = read(train(kind, folder / "one", 1))
    finally:
        torch.set_num_threads(threads)
    for state in ranks:
        assert state.keys() == one.keys()
        assert count_revived(state, subnetwork, prefix) == 0
    for name, value in one.items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        torch.testing.assert_close(ranks[0][name], value, rtol=1e-4, atol=1e-5, msg=name)


if __name__ == "__main__":
    trained = train(sys.argv[1], Path(sys.argv[2]) / "two", 2)
    assert distributed.get_world_size() == 2
    torch.save(read(trained), Path(sys.argv[2]) / f"rank{os.environ['RANK']}.pt")
    distributed.destroy_process_group()
