"""The part of detectron2's interface that our code uses, in its documented behaviour; written for these tests.

Order of a step: before_step, forward, zero_grad, backward, (inner) after_backward, optimiser, after_step. Hooks run in
the order of registration; state is kept under the class's name, the first hook of a class only. With more than one
process `DefaultTrainer` wraps its model in DDP, and the first process alone writes checkpoints.
"""

import sys
import types
import weakref
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

PARTS = ("detectron2", "detectron2.engine", "detectron2.data", "detectron2.evaluation", "detectron2.config")


class HookBase:
    trainer = None

    def before_train(self): ...
    def after_train(self): ...
    def before_step(self): ...
    def after_backward(self): ...
    def after_step(self): ...

    def state_dict(self):
        return {}


class TrainerBase:
    def __init__(self):
        self._hooks, self.iter, self.start_iter = [], 0, 0

    def register_hooks(self, hooks):
        for hook in hooks:
            assert isinstance(hook, HookBase)
            hook.trainer = weakref.proxy(self)
        self._hooks.extend(hooks)

    def _call(self, name):
        for hook in self._hooks:
            getattr(hook, name)()

    def train(self, start_iter, max_iter):
        self.iter = self.start_iter = start_iter
        self.max_iter = max_iter
        try:
            self._call("before_train")
            for self.iter in range(start_iter, max_iter):
                self._call("before_step")
                self.run_step()
                self._call("after_step")
            self.iter += 1
        finally:
            self._call("after_train")

    def state_dict(self):
        hooks = {}
        for hook in self._hooks:
            if hook.state_dict():
                hooks.setdefault(type(hook).__qualname__, hook.state_dict())
        return {"iteration": self.iter} | ({"hooks": hooks} if hooks else {})

    def load_state_dict(self, state):
        self.iter = state["iteration"]
        for name, value in state.get("hooks", {}).items():
            next(hook for hook in self._hooks if type(hook).__qualname__ == name).load_state_dict(value)


class SimpleTrainer(TrainerBase):
    def __init__(self, model, data_loader, optimizer):
        super().__init__()
        model.train()
        self.model, self.data, self.optimizer = model, iter(data_loader), optimizer

    def run_step(self):
        losses = self.model(next(self.data))
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self._call("after_backward")
        self.optimizer.step()

    def state_dict(self):
        return super().state_dict() | {"optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.optimizer.load_state_dict(state["optimizer"])


class DetectionCheckpointer:
    def __init__(self, model, save_dir="", **checkpointables):
        self.model, self.folder, self.others = getattr(model, "module", model), Path(save_dir), checkpointables

    def save(self, name, **extra):
        content = {"model": self.model.state_dict()} | {k: v.state_dict() for k, v in self.others.items()} | extra
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.save(content, self.folder / f"{name}.pth")
        (self.folder / "last_checkpoint").write_text(f"{name}.pth")

    def has_checkpoint(self):
        return (self.folder / "last_checkpoint").exists()

    def resume_or_load(self, path, resume=True):
        if resume and self.has_checkpoint():
            last = (self.folder / "last_checkpoint").read_text()
            content = torch.load(self.folder / last, weights_only=True)
            self.model.load_state_dict(content["model"])
            for name, other in self.others.items():
                other.load_state_dict(content[name])


class PeriodicCheckpointer(HookBase):
    def __init__(self, checkpointer, period):
        self.checkpointer, self.period = checkpointer, period

    def after_step(self):
        if (self.trainer.iter + 1) % self.period == 0:
            self.checkpointer.save(f"model_{self.trainer.iter:07d}", iteration=self.trainer.iter)


class DefaultTrainer(TrainerBase):
    def __init__(self, cfg):
        super().__init__()
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        self.processes = distributed.get_world_size() if distributed.is_initialized() else 1
        if self.processes > 1:
            model = DistributedDataParallel(model, broadcast_buffers=False)
        self._trainer = SimpleTrainer(model, self.build_train_loader(cfg), optimizer)
        self.checkpointer = DetectionCheckpointer(model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self))
        self.max_iter, self.cfg = cfg.SOLVER.MAX_ITER, cfg
        self.register_hooks(self.build_hooks())

    model = property(lambda self: self._trainer.model)
    optimizer = property(lambda self: self._trainer.optimizer)

    def build_hooks(self):
        if self.processes > 1 and distributed.get_rank() > 0:
            return []
        return [PeriodicCheckpointer(self.checkpointer, self.cfg.SOLVER.CHECKPOINT_PERIOD)]

    def resume_or_load(self, resume=True):
        self.checkpointer.resume_or_load("", resume=resume)
        if resume and self.checkpointer.has_checkpoint():
            self.start_iter = self.iter + 1

    def train(self):
        super().train(self.start_iter, self.max_iter)

    def run_step(self):
        self._trainer.iter = self.iter
        self._trainer.run_step()

    def state_dict(self):
        return super().state_dict() | {"_trainer": self._trainer.state_dict()}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self._trainer.load_state_dict(state["_trainer"])


class _Catalog:
    def __init__(self):
        self.entries = {}

    def register(self, name, function):
        assert callable(function)
        assert name not in self.entries
        self.entries[name] = function

    def get(self, name):
        return self.entries[name]()

    def list(self):
        return list(self.entries)

    def remove(self, name):
        self.entries.pop(name)


class _Metadata(types.SimpleNamespace):
    def set(self, **values):
        for name, value in values.items():
            assert getattr(self, name, value) == value, "metadata cannot be changed"
            setattr(self, name, value)
        return self


class _MetadataCatalog(_Catalog):
    def get(self, name):
        return self.entries.setdefault(name, _Metadata(name=name))


class SemSegEvaluator:
    """Counts as the real one does; `union` in the denominator of v0.6, `present` as since July 2022."""

    def __init__(self, dataset_name, distributed=False, denominator="present"):
        data = sys.modules["detectron2.data"]
        meta = data.MetadataCatalog.get(dataset_name)
        self.files = {r["file_name"]: r["sem_seg_file_name"] for r in data.DatasetCatalog.get(dataset_name)}
        self.ignore, self.classes, self.denominator = meta.ignore_label, len(meta.stuff_classes), denominator

    def reset(self):
        self.hits, self.truth, self.found = (np.zeros(self.classes) for _ in range(3))

    def process(self, inputs, outputs):
        for entry, output in zip(inputs, outputs, strict=True):
            found = output["sem_seg"].argmax(dim=0).to(torch.device("cpu")).numpy()
            truth = np.asarray(Image.open(self.files[entry["file_name"]]), dtype=int)
            for c in range(self.classes):
                counted = truth != self.ignore
                self.hits[c] += ((found == c) & (truth == c)).sum()
                self.truth[c] += (truth == c).sum()
                self.found[c] += ((found == c) & counted).sum()

    def evaluate(self):
        counted = self.truth > 0 if self.denominator == "present" else self.truth + self.found > 0
        iou = self.hits[counted] / (self.truth + self.found - self.hits)[counted]
        return {"sem_seg": {"mIoU": 100 * iou.mean()}}


def get_cfg():
    solver = types.SimpleNamespace(MAX_ITER=1, CHECKPOINT_PERIOD=1)
    return types.SimpleNamespace(OUTPUT_DIR="", SOLVER=solver)


def install(monkeypatch):
    """Put the stand-in in detectron2's place for one test."""
    modules = {name: types.ModuleType(name) for name in PARTS}
    for name in ("HookBase", "TrainerBase", "SimpleTrainer", "DefaultTrainer"):
        setattr(modules["detectron2.engine"], name, globals()[name])
    modules["detectron2.data"].DatasetCatalog = _Catalog()
    modules["detectron2.data"].MetadataCatalog = _MetadataCatalog()
    modules["detectron2.evaluation"].SemSegEvaluator = SemSegEvaluator
    modules["detectron2.config"].get_cfg = get_cfg
    for name in [*PARTS, *[name for name in sys.modules if name.startswith("opentrans.integrations.detectron2")]]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
