"""Confusion matrix and mIoU at 847 classes and full resolution.

detectron2 is not on the package index. Its evaluator itself is measured where the environment variable
DETECTRON2_EVALUATOR names its ``sem_seg_evaluation.py``; the modules it imports are replaced by stand-ins that do
nothing but hand over data. Without it, only torchmetrics is the peer.
"""

import importlib.util
import os
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from opentrans.evaluation.confusion import add_confusion
from opentrans.evaluation.miou import mean_iou

IGNORE = 65535
Images = list[tuple[np.ndarray, np.ndarray]]


def images(height: int, width: int, classes: int, count: int) -> tuple[Images, int]:
    """Label maps (uint16, 2% ignored) of regions, and predictions (int64) that differ by regions; 40 classes each."""
    generator, random = torch.Generator().manual_seed(3), np.random.default_rng(3)
    found = []
    for _ in range(count):
        maps = F.interpolate(torch.randn(2, 40, 20, 30, generator=generator), (height, width), mode="bicubic")
        names = random.choice(classes, 40, replace=False)
        label = names[maps[0].argmax(0).numpy()].astype(np.uint16)
        label[: height // 50] = IGNORE
        found.append((names[(1.5 * maps[0] + maps[1]).argmax(0).numpy()].astype(np.int64), label))
    return found, classes


def noise(height: int, width: int, classes: int, count: int) -> tuple[Images, int]:
    """No two neighbours alike: the worst case of counting by runs."""
    random, shape = np.random.default_rng(4), (count, 2, height, width)
    maps = random.integers(0, classes, shape)
    return [(prediction, label.astype(np.uint16)) for prediction, label in maps], classes


def opentrans(images: Images, classes: int) -> tuple[np.ndarray, float]:
    """opentrans"""
    confusion = np.zeros((classes, classes), np.int64)
    for prediction, label in images:
        add_confusion(confusion, prediction, label, IGNORE)
    return confusion, mean_iou(confusion, "present")[0]


def torchmetrics(images: Images, classes: int) -> tuple[np.ndarray, float]:
    """torchmetrics: MulticlassConfusionMatrix, as its documentation uses it"""
    from torchmetrics.classification import MulticlassConfusionMatrix

    metric = MulticlassConfusionMatrix(classes, ignore_index=IGNORE)
    for prediction, label in images:
        metric.update(torch.from_numpy(prediction), torch.from_numpy(label.astype(np.int64)))
    confusion = metric.compute().numpy()
    return confusion, mean_iou(confusion, "present")[0]


def torchmetrics_unchecked(images: Images, classes: int) -> tuple[np.ndarray, float]:
    """torchmetrics with validate_args=False"""
    from torchmetrics.classification import MulticlassConfusionMatrix

    metric = MulticlassConfusionMatrix(classes, ignore_index=IGNORE, validate_args=False)
    for prediction, label in images:
        metric.update(torch.from_numpy(prediction), torch.from_numpy(label.astype(np.int64)))
    confusion = metric.compute().numpy()
    return confusion, mean_iou(confusion, "present")[0]


def detectron2(images: Images, classes: int) -> tuple[np.ndarray, float]:
    """detectron2: SemSegEvaluator.process and evaluate (it encodes every predicted class as run lengths too)"""
    module = _detectron2_module(images, classes)
    evaluator = module.SemSegEvaluator("images", distributed=False)
    evaluator.reset()
    for index, (prediction, _) in enumerate(images):
        scores = SimpleNamespace(argmax=lambda dim, prediction=prediction: torch.from_numpy(prediction))
        evaluator.process([{"file_name": str(index)}], [{"sem_seg": scores}])
    result = evaluator.evaluate()["sem_seg"]["mIoU"]
    return evaluator._conf_matrix[:-1, :-1].T, result


def _detectron2_module(images: Images, classes: int) -> ModuleType:
    """The evaluator's own file; what it imports from its package is replaced."""

    def load(name: str, dtype: Any) -> np.ndarray:
        return np.asarray(images[int(name)][1]).astype(dtype)

    names = [{"file_name": str(i), "sem_seg_file_name": str(i)} for i in range(len(images))]
    meta = SimpleNamespace(stuff_classes=[str(i) for i in range(classes)], ignore_label=IGNORE)
    catalogues = {name: SimpleNamespace(get=lambda _, value=value: value)
                  for name, value in (("DatasetCatalog", names), ("MetadataCatalog", meta))}  # fmt: skip
    stand_ins: dict[str, dict[str, Any]] = {
        "detectron2": {}, "detectron2.data": catalogues, "detectron2.utils": {}, "detectron2.evaluation": {},
        "detectron2.utils.comm": {"all_gather": list, "is_main_process": bool, "synchronize": bool},
        "detectron2.utils.file_io": {"PathManager": object},
        "detectron2.evaluation.evaluator": {"DatasetEvaluator": object},
    }  # fmt: skip
    for name, content in stand_ins.items():
        sys.modules[name] = module = ModuleType(name)
        module.__dict__.update(content)
    spec = importlib.util.spec_from_file_location("detectron2.evaluation.real", os.environ["DETECTRON2_EVALUATOR"])
    assert spec is not None and spec.loader is not None  # noqa: PT018
    real = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(real)
    evaluator = real.SemSegEvaluator
    evaluator.__init__.__kwdefaults__["sem_seg_loading_fn"] = load
    return real


def detectron2_counting(images: Images, classes: int) -> tuple[np.ndarray, float]:
    """for comparison, the customary bincount over fused 64-bit indices and nothing else"""
    confusion = np.zeros((classes + 1) ** 2, np.int64)
    for prediction, label in images:
        truth = label.astype(int)
        truth[truth == IGNORE] = classes
        confusion += np.bincount(((classes + 1) * truth + prediction).ravel(), minlength=len(confusion))
    matrix = confusion.reshape(classes + 1, -1)[:-1, :-1]
    return matrix, mean_iou(matrix, "present")[0]


def identical(ours: tuple[np.ndarray, float], theirs: tuple[np.ndarray, float]) -> dict[str, float]:
    """Counts are equal, and mIoU."""
    assert np.array_equal(ours[0], theirs[0])
    assert abs(ours[1] - theirs[1]) < 1e-9
    return {"counts that differ": 0}


@pytest.mark.parametrize("threads", [1, 2])
def bench_confusion(versus: Callable[..., Any], threads: int) -> None:
    """Ten images at 847 classes."""
    peers = [torchmetrics, torchmetrics_unchecked] + [detectron2] * ("DETECTRON2_EVALUATOR" in os.environ)
    versus(
        f"confusion, {threads} threads", "Confusion matrix and mIoU of 10 images, 847 classes, 800 x 1216", images,
        opentrans, peers, {"height": 800, "width": 1216, "classes": 847, "count": 10}, identical,
        also=[detectron2_counting], goal={"speed": 3}, threads=threads,
    )  # fmt: skip


def bench_noise(versus: Callable[..., Any]) -> None:
    """Ten images without regions."""
    versus(
        "confusion of noise", "Confusion matrix of noise: every pixel its own class, 847 classes, 800 x 1216", noise,
        opentrans, [torchmetrics_unchecked], {"height": 800, "width": 1216, "classes": 847, "count": 10}, identical,
        also=[detectron2_counting], threads=1,
    )  # fmt: skip


@pytest.mark.parametrize("classes", [40, 150, 847, 2000, 5000])
def bench_classes(versus: Callable[..., Any], classes: int) -> None:
    """Time against the size of the vocabulary; the matrix itself grows with its square."""
    versus(
        f"confusion of {classes} classes", "Evaluation", images, opentrans, [torchmetrics_unchecked],
        {"height": 800, "width": 1216, "classes": classes, "count": 2}, identical,
        curve=("classes, evaluation", classes), work=2, threads=1,
    )  # fmt: skip
