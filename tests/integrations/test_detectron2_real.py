"""Our detectron2 package under the real detectron2, and against the public FC-CLIP; docs/integrations.md says how.

Skipped, with the reason, where detectron2 cannot be imported. Two environment variables name sources that are no
packages: ``OPENTRANS_DETECTRON2_V06`` the folder of detectron2 v0.6 (its evaluator has the other denominator),
``OPENTRANS_FCCLIP`` the folder of the public FC-CLIP.
"""

import importlib.util
import os
import types
from pathlib import Path

import detectron2_cases as cases
import numpy as np
import pytest
import torch
from host_samples import PREFIX, count_revived, make_subnetwork
from PIL import Image
from two_processes import check as check_two_processes

from opentrans.clip.text import TextEmbeddings
from opentrans.data.prepared import PreparedDataset
from opentrans.errors import UserError
from opentrans.evaluation.confusion import add_confusion
from opentrans.evaluation.evaluate import compute_confusion
from opentrans.evaluation.miou import mean_iou

pytest.importorskip("detectron2.engine", reason="the real detectron2 is not installed (docs/integrations.md)")
pytestmark = [pytest.mark.detectron2, pytest.mark.filterwarnings("ignore")]
V06 = "OPENTRANS_DETECTRON2_V06"
VOCABULARY = TextEmbeddings(torch.eye(4, 8), torch.arange(4))


@pytest.mark.parametrize("way", ["register", "install", "build"])
def test_masks_are_exact_in_memory_and_in_every_checkpoint(tmp_path, subnetwork, way):
    cases.check_masks_in_every_checkpoint(tmp_path, subnetwork, way)


def test_a_resumed_training_equals_a_straight_one(tmp_path, subnetwork):
    cases.check_resumed_training_equals_a_straight_one(tmp_path, subnetwork)


def test_a_checkpoint_of_another_subnetwork_is_refused(tmp_path, subnetwork):
    cases.run(tmp_path, subnetwork, 2)
    with pytest.raises(UserError, match="trained with another subnetwork"):
        cases.run(tmp_path, make_subnetwork(seed=8), 4, resume=True)


def test_a_simple_trainer_and_ddp_serve_as_well(tmp_path, subnetwork):
    assert count_revived(cases.train_simply(cases.HostModel(), cases.make_hooks(subnetwork)).model, subnetwork) == 0
    model = cases.train_with_ddp(tmp_path, subnetwork)
    assert count_revived(model, subnetwork) == 0
    assert sum(not weight.requires_grad for weight in model.parameters()) > 5


def get_evaluator(version):
    """The installed evaluator, or that of v0.6, which needs names that numpy has dropped."""
    if version == "installed":
        from detectron2.evaluation import SemSegEvaluator

        return SemSegEvaluator
    if V06 not in os.environ:
        pytest.skip(f"{V06} does not name the sources of detectron2 v0.6 (docs/integrations.md)")
    path = Path(os.environ[V06]) / "detectron2/evaluation/sem_seg_evaluation.py"
    spec = importlib.util.spec_from_file_location("detectron2.evaluation.sem_seg_evaluation_v06", path)
    module = importlib.util.module_from_spec(spec)
    old = types.SimpleNamespace(**{name: getattr(np, name) for name in dir(np) if not name.startswith("__")})
    old.int, old.float = int, float
    spec.loader.exec_module(module)
    module.np = old
    return module.SemSegEvaluator


@pytest.mark.parametrize(("version", "denominator"), [("installed", "present"), ("v0.6", "union")])
@pytest.mark.parametrize("mapper", [False, True])
def test_the_evaluator_finds_our_miou(tmp_path, version, denominator, mapper):
    from detectron2.data import DatasetCatalog, DatasetMapper
    from detectron2.evaluation import inference_on_dataset

    from opentrans.integrations.detectron2 import SemSegAdapter, register_benchmarks

    cases.make_prepared(tmp_path, ["pas20"])
    (name,) = register_benchmarks(tmp_path, ["pas20"])
    confusion = compute_confusion(cases.Guess(), PreparedDataset.open(tmp_path / "pas20/val"), VOCABULARY, None, 10)
    expected = mean_iou(confusion, denominator)[0]
    other = "union" if denominator == "present" else "present"
    assert expected != pytest.approx(mean_iou(confusion, other)[0], abs=1e-3)
    evaluator = get_evaluator(version)(name, distributed=False)
    records = DatasetCatalog.get(name)
    if mapper:
        read = DatasetMapper(is_train=False, augmentations=[], image_format="RGB")
        adapter = SemSegAdapter(cases.Guess(), VOCABULARY, "RGB")
        result = inference_on_dataset(adapter, [[read(record)] for record in records], evaluator)
    else:
        evaluator.reset()
        adapter = SemSegAdapter(cases.Guess(), VOCABULARY, test_size=(None, 10))
        for record in records:
            evaluator.process([record], adapter([record]))
        result = evaluator.evaluate()
    assert result["sem_seg"]["mIoU"] == pytest.approx(expected, abs=1e-6)


def make_true_subnetwork():
    """A random mask of density 0.1 for the RN50 trunk."""
    from opentrans.clip.backbone import ClipBackbone, get_prunable
    from opentrans.pruning.magnitude import random_masks
    from opentrans.pruning.subnetwork import Subnetwork

    backbone = ClipBackbone({"vision_cfg": {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64}})
    shapes = {name: tuple(weight.shape) for name, weight in get_prunable(backbone).items()}
    kept = sum(int(np.prod(shape)) for shape in shapes.values()) // 10
    return Subnetwork.of_backbone(backbone, random_masks(shapes, kept, 0))


def load_training_data(name):
    """Batches of one image through FC-CLIP's own mapper, from a registered data set."""
    from detectron2.data import DatasetCatalog, build_detection_train_loader
    from detectron2.data.transforms import ResizeShortestEdge
    from fcclip import MaskFormerSemanticDatasetMapper

    mapper = MaskFormerSemanticDatasetMapper(
        augmentations=[ResizeShortestEdge(64, 128)], image_format="RGB", ignore_label=255, size_divisibility=-1
    )
    return build_detection_train_loader(DatasetCatalog.get(name), mapper=mapper, total_batch_size=1, num_workers=0)


def load_evaluation_data(name):
    """One image after the other through detectron2's mapper."""
    from detectron2.data import DatasetCatalog, DatasetMapper, build_detection_test_loader
    from detectron2.data.transforms import ResizeShortestEdge

    mapper = DatasetMapper(is_train=False, augmentations=[ResizeShortestEdge(64, 128)], image_format="RGB")
    return build_detection_test_loader(DatasetCatalog.get(name), mapper=mapper, num_workers=0)


def watch_weights(names, start):
    """A hook that keeps the weights called `names` as iteration `start` found them."""
    from detectron2.engine import HookBase

    class Watch(HookBase):
        def before_step(self):
            if self.trainer.iter == start:
                weights = dict(self.trainer.model.named_parameters())
                self.found = {name: weights[name].detach().clone() for name in names}

    return Watch()


def train_fcclip(model, name, folder, subnetwork, steps=3, start=1):
    """Its head learns, from iteration `start` on with half of its layers frozen; a checkpoint at the end.

    Returns:
        The names of frozen weights, and the head's weights as they were at `start`.
    """
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.engine import SimpleTrainer
    from detectron2.engine.hooks import PeriodicCheckpointer

    from opentrans.integrations.detectron2 import FreezePlanHook, SubnetworkHook

    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    trainer = SimpleTrainer(model, load_training_data(name), torch.optim.AdamW(trained.values(), 1e-3))
    freeze = FreezePlanHook(cases.HALF, start, "sem_seg_head", kinds=("conv", "linear"))
    watch = watch_weights(trained, start)
    checkpointer = PeriodicCheckpointer(DetectionCheckpointer(model, str(folder)), steps)
    trainer.register_hooks([checkpointer, SubnetworkHook(subnetwork, PREFIX), freeze, watch])
    trainer.train(0, steps)
    return freeze.schedule.frozen, watch.found


def evaluate_fcclip(model, name):
    """What `SemSegEvaluator` finds, and the confusion matrix of the same answers counted by ours."""
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.evaluation import SemSegEvaluator, inference_on_dataset

    model.set_metadata(MetadataCatalog.get(name))
    answers = []
    handle = model.register_forward_hook(lambda *call: answers.extend(part["sem_seg"] for part in call[-1]))
    result = inference_on_dataset(model, load_evaluation_data(name), SemSegEvaluator(name, distributed=False))
    handle.remove()
    model.set_metadata(MetadataCatalog.get("openvocab_test"))
    confusion = np.zeros((cases.CLASSES, cases.CLASSES), dtype=np.int64)
    for scores, record in zip(answers, DatasetCatalog.get(name), strict=True):
        assert scores.shape == (cases.CLASSES, record["height"], record["width"])
        assert scores.isfinite().all()
        label = np.asarray(Image.open(record["sem_seg_file_name"]))
        add_confusion(confusion, scores.argmax(0).numpy(), label, 255)
    return result["sem_seg"]["mIoU"], confusion


def test_fcclip_trains_and_is_evaluated_with_our_subnetwork(fcclip, tmp_path):
    """Its trunk is frozen: masks and weights must survive; its head learns, under a plan from the second step on."""
    from opentrans.integrations.detectron2 import register_benchmarks

    subnetwork = make_true_subnetwork()
    for part in ("train", "val"):
        cases.make_prepared(tmp_path, ["pas20"], part)
    (training,) = register_benchmarks(tmp_path, ["pas20"], "train")
    (benchmark,) = register_benchmarks(tmp_path, ["pas20"], class_names="synonyms")
    frozen, before = train_fcclip(fcclip, training, tmp_path, subnetwork)
    after = {name: value.detach().clone() for name, value in fcclip.named_parameters()}
    assert count_revived(after, subnetwork) == 0
    checkpoint = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    assert count_revived(checkpoint, subnetwork) == 0
    assert all(torch.equal(after[f"{PREFIX}.{name}"], subnetwork.weights[name]) for name in subnetwork.masks)
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert len(frozen) > 20
    assert moved == before.keys() - set(frozen)

    found, confusion = evaluate_fcclip(fcclip, benchmark)
    assert 0 <= found == pytest.approx(mean_iou(confusion, "present")[0], abs=1e-6)
    assert confusion.sum() == 4 * 22 * 40  # every pixel that is not ignored
    assert all(torch.equal(value, after[name]) for name, value in fcclip.named_parameters())
    fcclip.train()  # as the other tests find it
    for weight in before:
        fcclip.get_parameter(weight).requires_grad_(True)


@pytest.mark.workflow
def test_two_processes_train_as_one(tmp_path, subnetwork):
    check_two_processes("detectron2", tmp_path, subnetwork)
