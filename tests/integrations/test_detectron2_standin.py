"""Our detectron2 hooks under a stand-in that follows its documented order; the real one: test_detectron2_real.py."""

import re
import sys
from pathlib import Path

import detectron2_cases as cases
import detectron2_standin
import numpy as np
import pytest
import torch
from host_samples import PREFIX, count_revived, make_subnetwork

import opentrans
from opentrans.clip.text import TextEmbeddings
from opentrans.data.prepared import PreparedDataset
from opentrans.errors import UserError
from opentrans.evaluation.evaluate import compute_confusion
from opentrans.evaluation.miou import mean_iou

VOCABULARY = TextEmbeddings(torch.eye(4, 8), torch.arange(4))


@pytest.fixture(autouse=True)
def _standin(monkeypatch):
    detectron2_standin.install(monkeypatch)
    yield
    for name in [name for name in sys.modules if name.startswith("opentrans.integrations.detectron2")]:
        del sys.modules[name]


@pytest.mark.parametrize("way", ["register", "install", "build"])
def test_masks_are_exact_in_memory_and_in_every_checkpoint(tmp_path, subnetwork, way):
    cases.check_masks_in_every_checkpoint(tmp_path, subnetwork, way)


def test_a_plain_hook_registered_last_would_save_unmasked_weights(tmp_path, subnetwork):
    """The pitfall itself, so that the test above means something."""
    from detectron2.engine import HookBase

    from opentrans.pruning.apply import apply_subnetwork

    class Naive(HookBase):
        def before_train(self):
            self.held = apply_subnetwork(self.trainer.model, subnetwork, PREFIX)
            self.held.remove()

        def after_step(self):
            self.held.apply()

    trainer = cases.make_trainer(tmp_path, 2)
    trainer.register_hooks([Naive()])
    trainer.train()
    assert count_revived(trainer.model, subnetwork) == 0
    assert count_revived(torch.load(tmp_path / "model_0000001.pth", weights_only=True)["model"], subnetwork) > 0


def test_a_resumed_training_equals_a_straight_one(tmp_path, subnetwork):
    cases.check_resumed_training_equals_a_straight_one(tmp_path, subnetwork)


def test_a_checkpoint_of_another_subnetwork_is_refused(tmp_path, subnetwork):
    cases.run(tmp_path, subnetwork, 2)
    with pytest.raises(UserError, match="trained with another subnetwork"):
        cases.run(tmp_path, make_subnetwork(seed=8), 4, resume=True)


def test_a_checkpoint_without_masks_is_refused(tmp_path, subnetwork):
    cases.make_trainer(tmp_path, 2).train()
    with pytest.raises(UserError, match="outside the masks are not zero"):
        cases.run(tmp_path, subnetwork, 4, resume=True)


def test_a_simple_trainer_serves_as_well(subnetwork):
    model = cases.train_simply(cases.HostModel(), cases.make_hooks(subnetwork)).model
    assert count_revived(model, subnetwork) == 0
    assert sum(not weight.requires_grad for weight in model.parameters()) > 5


def test_freezing_in_the_middle_goes_on_under_ddp(tmp_path, subnetwork):
    model = cases.train_with_ddp(tmp_path, subnetwork)
    assert count_revived(model, subnetwork) == 0
    assert sum(not weight.requires_grad for weight in model.parameters()) > 5


def test_without_a_new_wrapper_ddp_stops(tmp_path, subnetwork, monkeypatch):
    from opentrans.integrations.detectron2 import hooks

    monkeypatch.setattr(hooks, "rewrap", lambda model: model)
    with pytest.raises(RuntimeError, match="finished reduction"):
        cases.train_with_ddp(tmp_path, subnetwork)


def test_a_wrong_prefix_stops_before_the_first_step(tmp_path, subnetwork):
    from opentrans.integrations.detectron2 import FreezePlanHook, SubnetworkHook

    trainer = cases.make_trainer(tmp_path, 2)
    trainer.register_hooks([SubnetworkHook(subnetwork, "backbone.visual")])
    with pytest.raises(UserError, match=r"nearest names: backbone\.clip_model\.visual"):
        trainer.train()
    trainer = cases.make_trainer(tmp_path, 2)
    trainer.register_hooks([FreezePlanHook(cases.HALF, start=1, prefix="no.such")])
    with pytest.raises(UserError, match="no such module"):
        trainer.train()
    assert not list(tmp_path.glob("*.pth"))


def test_the_seven_benchmarks_are_registered(tmp_path):
    from detectron2.data import DatasetCatalog, MetadataCatalog

    from opentrans.integrations.detectron2 import register_benchmarks
    from opentrans.integrations.detectron2.datasets import _BENCHMARKS as BENCHMARKS

    folder = cases.make_prepared(tmp_path, BENCHMARKS)
    names = register_benchmarks(folder)
    assert names == [f"opentrans_{name}_val" for name in BENCHMARKS]
    assert len(names) == 7
    register_benchmarks(folder, ["pc59"], class_names="synonyms")  # again: replaced
    records = DatasetCatalog.get("opentrans_pc59_val")
    assert [record["image_id"] for record in records] == ["0", "1", "2", "3"]
    assert all(record["height"] == 24 and record["width"] == 40 for record in records)
    meta = MetadataCatalog.get("opentrans_pc59_val")
    assert (meta.ignore_label, meta.evaluator_type) == (255, "sem_seg")
    assert meta.stuff_classes[1] == "pc59 1,synonym 1"
    with pytest.raises(UserError, match="coco/train: no such prepared data set"):
        register_benchmarks(folder, ["coco"], "train")
    with pytest.raises(UserError, match="is unknown"):
        register_benchmarks(folder, ["cocoa"])


@pytest.mark.parametrize("denominator", ["present", "union"])
def test_the_evaluator_finds_our_miou(tmp_path, denominator):
    from detectron2.data import DatasetCatalog
    from detectron2.evaluation import SemSegEvaluator

    from opentrans.integrations.detectron2 import SemSegAdapter, register_benchmarks

    (name,) = register_benchmarks(cases.make_prepared(tmp_path, ["pas20"]), ["pas20"])
    adapter = SemSegAdapter(cases.Guess(), VOCABULARY, test_size=(None, 10))
    evaluator = SemSegEvaluator(name, False, denominator=denominator)
    evaluator.reset()
    for record in DatasetCatalog.get(name):
        evaluator.process([record], adapter([record]))
    confusion = compute_confusion(cases.Guess(), PreparedDataset.open(tmp_path / "pas20/val"), VOCABULARY, None, 10)
    expected = mean_iou(confusion, denominator)[0]
    assert evaluator.evaluate()["sem_seg"]["mIoU"] == pytest.approx(expected, abs=1e-6)
    assert mean_iou(confusion, "present")[0] != pytest.approx(mean_iou(confusion, "union")[0])


def test_the_mappers_image_is_taken_in_its_format(tmp_path):
    from opentrans.integrations.detectron2 import SemSegAdapter

    seen = []

    class Look(cases.Guess):
        def predict(self, image, classes, size):
            seen.append((image, size))
            return super().predict(image, classes, size)

    image = torch.arange(3 * 4 * 5, dtype=torch.uint8).view(3, 4, 5)
    for image_format in ("RGB", "BGR"):
        (answer,) = SemSegAdapter(Look(), VOCABULARY, image_format)([{"image": image, "height": 8, "width": 9}])
        assert answer["sem_seg"].argmax(dim=0).shape == (8, 9)
    torch.testing.assert_close(seen[0][0], image / 255)
    torch.testing.assert_close(seen[1][0], image.flip(0) / 255)
    np.testing.assert_equal([size for _, size in seen], [(8, 9), (8, 9)])
    with pytest.raises(UserError, match="neither BGR nor RGB"):
        SemSegAdapter(Look(), VOCABULARY, "GBR")


def test_only_the_detectron2_package_imports_detectron2():
    package = Path(opentrans.__file__).parent
    importing = re.compile(r"^\s*(from|import) detectron2\b", re.MULTILINE)
    files = [path.relative_to(package) for path in package.rglob("*.py") if importing.search(path.read_text())]
    assert {path.parent for path in files} == {Path("integrations/detectron2")}
