"""A training with our hooks or callbacks, stopped and resumed: in one process, or in each one that ``torchrun`` starts.

All processes see the same batches, so that their mean gradient is the gradient of one.
"""

import os
import sys
from pathlib import Path

import torch
from host_samples import make_subnetwork
from torch import distributed

STEPS, STOP = 5, 3


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
        return train_detectron2(folder, steps, resume, processes)


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


if __name__ == "__main__":
    trained = train(sys.argv[1], Path(sys.argv[2]) / "two", 2)
    assert distributed.get_world_size() == 2
    torch.save(read(trained), Path(sys.argv[2]) / f"rank{os.environ['RANK']}.pt")
    distributed.destroy_process_group()
