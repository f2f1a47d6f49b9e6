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
from host_samples import count_revived, make_subnetwork

from opentrans.clip.text import TextEmbeddings
from opentrans.data.prepared import PreparedDataset
from opentrans.errors import UserError
from opentrans.evaluation.miou import mean_iou
from opentrans.evaluation.run import evaluate

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
    confusion = evaluate(cases.Guess(), PreparedDataset.open(tmp_path / "pas20/val"), VOCABULARY, None, 10)
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
    from opentrans.models.backbone import ClipBackbone, get_prunable
    from opentrans.pruning.magnitude import random_masks
    from opentrans.pruning.subnetwork import Subnetwork

    backbone = ClipBackbone({"vision_cfg": {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64}})
    shapes = {name: tuple(weight.shape) for name, weight in get_prunable(backbone).items()}
    kept = sum(int(np.prod(shape)) for shape in shapes.values()) // 10
    return Subnetwork.of_backbone(backbone, random_masks(shapes, kept, 0))


def test_fcclip_trains_and_answers_with_our_subnetwork_in_its_backbone(fcclip):
    """Its backbone is frozen: the masks must survive, the head must learn, and the state dict must convert."""
    from detectron2.engine import SimpleTrainer
    from detectron2.structures import Instances

    from opentrans.integrations.detectron2 import SubnetworkHook

    subnetwork, prefix = make_true_subnetwork(), "backbone.clip_model.visual"
    image = torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    instances = Instances((64, 64), gt_classes=torch.tensor([0, 2]), gt_masks=torch.zeros(2, 64, 64, dtype=torch.bool))
    instances.gt_masks[0, :32], instances.gt_masks[1, 32:] = True, True
    before = fcclip.sem_seg_head.predictor.query_feat.weight.detach().clone()
    trained = [weight for weight in fcclip.parameters() if weight.requires_grad]
    loader = iter([[{"image": image, "instances": instances}]] * 2)
    trainer = SimpleTrainer(fcclip, loader, torch.optim.AdamW(trained, 1e-3))
    trainer.register_hooks([SubnetworkHook(subnetwork, prefix)])
    trainer.train(0, 2)
    assert count_revived(fcclip.state_dict(), subnetwork, prefix) == 0
    state = fcclip.state_dict()
    assert all(torch.equal(state[f"{prefix}.{name}"], value) for name, value in subnetwork.weights.items())
    assert not torch.equal(fcclip.sem_seg_head.predictor.query_feat.weight, before)
    fcclip.eval()
    with torch.no_grad():
        scores = fcclip([{"image": image, "height": 50, "width": 70}])[0]["sem_seg"]
    assert scores.shape == (4, 50, 70)
    assert scores.isfinite().all()
