"""What holds under detectron2, told once: run with the stand-in in CI, and with the real one where it is installed."""

from pathlib import Path

import numpy as np
import torch
from host_samples import CLASSES, PREFIX, Host, count_revived, make_examples
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from builders import write_prepared
from opentrans.config import FreezeRecipe
from opentrans.models.target import Target

HALF = FreezeRecipe(method="alpha", ratio=0.5, estimator="released")


class HostModel(Host):
    """The stranger's model with detectron2's calling convention."""

    def forward(self, batch):
        return super().forward(*batch)


def make_loader():
    while True:
        yield make_examples(4)


def make_trainer(folder: Path, steps: int, hooks_in_build=None):
    from detectron2.config import get_cfg
    from detectron2.engine import DefaultTrainer

    class HostTrainer(DefaultTrainer):
        @classmethod
        def build_model(cls, cfg):
            torch.manual_seed(0)
            model = HostModel()
            model.backbone.clip_model.visual.attnpool.requires_grad_(False)  # takes no part in the loss
            return model

        @classmethod
        def build_optimizer(cls, cfg, model):
            return torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)

        @classmethod
        def build_train_loader(cls, cfg):
            return make_loader()

        @classmethod
        def test(cls, cfg, model):
            return {}

        def build_writers(self):
            return []

        def build_hooks(self):
            return [*super().build_hooks(), *(hooks_in_build or [])]

    folder.mkdir(parents=True, exist_ok=True)
    cfg = get_cfg()
    cfg.OUTPUT_DIR, cfg.SOLVER.MAX_ITER, cfg.SOLVER.CHECKPOINT_PERIOD = str(folder), steps, 1
    if hasattr(cfg, "MODEL"):  # the real one
        cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
        cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.STEPS = 0, ()
    return HostTrainer(cfg)


def make_hooks(subnetwork, start=2):
    from opentrans.integrations.detectron2 import FreezePlanHook, SubnetworkHook

    return [SubnetworkHook(subnetwork, PREFIX), FreezePlanHook(HALF, start=start, prefix=PREFIX)]


def run(folder, subnetwork, steps, way="register", resume=False):
    """Train with hooks that come in one of three `way`s."""
    from opentrans.integrations.detectron2 import install_hooks

    hooks = make_hooks(subnetwork)
    trainer = make_trainer(folder, steps, hooks if way == "build" else None)
    if way == "register":
        trainer.register_hooks(hooks)
    elif way == "install":
        install_hooks(trainer, *hooks)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


def check_masks_in_every_checkpoint(folder, subnetwork, way):
    trainer = run(folder, subnetwork, 4, way)
    assert count_revived(trainer.model, subnetwork) == 0
    paths = sorted(folder.glob("model_0*.pth"))
    assert len(paths) >= 3
    for path in paths:
        assert count_revived(torch.load(path, weights_only=True)["model"], subnetwork) == 0
    weights = dict(trainer.model.named_parameters())
    moved = [not torch.equal(weights[f"{PREFIX}.{name}"], subnetwork.weights[name]) for name in subnetwork.masks]
    assert all(moved)
    frozen = [name for name, weight in weights.items() if not weight.requires_grad]
    assert len(frozen) > 5


def check_resumed_training_equals_a_straight_one(folder, subnetwork):
    straight = run(folder / "straight", subnetwork, 6).model
    run(folder / "parts", subnetwork, 4)
    resumed = run(folder / "parts", subnetwork, 6, resume=True)
    assert resumed.start_iter == 4
    frozen = {name for name, weight in straight.named_parameters() if not weight.requires_grad}
    assert {name for name, weight in resumed.model.named_parameters() if not weight.requires_grad} == frozen
    state = resumed.model.state_dict()
    for name, value in straight.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=0, msg=name)


def train_simply(model, hooks, steps=5):
    from detectron2.engine import SimpleTrainer

    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)
    trainer = SimpleTrainer(model, make_loader(), optimizer)
    trainer.register_hooks(hooks)
    trainer.train(0, steps)
    return trainer


def train_with_ddp(folder, subnetwork, make=make_hooks):
    """One process, but the whole of DDP: it raises in the step after a gradient that it waits for did not come."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
    try:
        torch.manual_seed(0)
        model = HostModel()
        model.backbone.clip_model.visual.attnpool.requires_grad_(False)  # takes no part in the loss
        trainer = train_simply(DistributedDataParallel(model), make(subnetwork))
        assert isinstance(trainer.model, DistributedDataParallel)
        return trainer.model.module
    finally:
        distributed.destroy_process_group()


def make_prepared(folder: Path, names, part="val") -> Path:
    """Prepared data sets of four small images; the last class of each vocabulary never occurs in the truth."""
    for number, name in enumerate(names):
        generator, images, labels = np.random.default_rng(number), [], []
        for _ in range(4):
            label = generator.integers(0, CLASSES - 1, (6, 8)).astype(np.uint8).repeat(4, 0).repeat(5, 1)
            label[:2] = 255
            labels.append(label)
            images.append(generator.integers(0, 255, (24, 40, 3), dtype=np.uint8))
        classes = tuple((f"{name} {c}", f"synonym {c}") for c in range(CLASSES))
        write_prepared(folder / name / part, images, labels, classes, name)
    return folder


class Guess(Target):
    """A target that answers at random, but always the same for an image."""

    strip_bytes = 1

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def loss(self, batch):
        raise NotImplementedError

    def predict(self, image, classes, size):
        seed = int(1e6 * float(image.double().mean()))
        return torch.randint(0, len(classes), size, generator=torch.Generator().manual_seed(seed))
