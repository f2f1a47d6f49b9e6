import numpy as np
import pytest
import torch
from torch.nn import functional as F

from builders import ROOT
from opentrans.clip.text import TextEmbeddings
from opentrans.config import load_config
from opentrans.errors import UserError
from opentrans.evaluation.evaluate import (
    compute_confusion,
    compute_metrics,
    get_test_sides,
    get_test_size,
    resize_image,
)
from opentrans.models.target import Target


class RedTarget(Target):
    """Reads the class off the red channel, at any size."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def loss(self, batch):
        raise NotImplementedError

    def predict(self, image, classes, size):
        self.seen.append(tuple(image.shape))
        drawn = (image[0] * 255 / 50).round()[None, None]
        return F.interpolate(drawn, size, mode="nearest")[0, 0].long()


@pytest.mark.parametrize(
    ("size", "short", "longest", "expected"),
    [
        ((480, 640), 800, 1333, (800, 1067)),
        ((427, 640), 800, 1333, (800, 1199)),
        ((200, 1000), 800, 1333, (267, 1333)),
        ((1024, 2048), 1024, 2560, (1024, 2048)),
        ((33, 17), None, 10, (33, 17)),
    ],
)
def test_test_size_follows_short_and_long_side(size, short, longest, expected):
    assert get_test_size(*size, short, longest) == expected


def test_a_resized_image_keeps_its_mean_and_range():
    image = np.random.default_rng([0]).integers(0, 256, (32, 48, 3), np.uint8)
    small = resize_image(image, 8, 100)
    assert small.shape == (3, 8, 12)
    assert small.mean().item() == pytest.approx(image.mean() / 255, abs=0.01)
    assert 0 <= small.min() < small.max() <= 1


def test_an_unresized_image_is_exact():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    expected = torch.from_numpy(image).permute(2, 0, 1) / 255
    assert torch.equal(resize_image(image, None, 10), expected)


def test_evaluation_sums_the_confusion_of_all_images(dataset, vocabulary):
    confusion = compute_confusion(RedTarget(), dataset, vocabulary, None, 1333)
    assert confusion.tolist() == [[4, 0, 0], [0, 4, 0], [0, 0, 4]]
    assert confusion.dtype == np.int64


def test_a_prediction_of_a_resized_image_has_the_size_of_the_label(dataset, vocabulary):
    target = RedTarget()
    assert compute_confusion(target, dataset, vocabulary, 4, 1333).sum() == 12
    assert target.seen == [(3, 4, 8)] * 2


def test_a_vocabulary_of_another_size_is_refused(dataset):
    with pytest.raises(UserError, match=r"vocabulary\.json: 3 classes, but 2 are embedded"):
        compute_confusion(RedTarget(), dataset, TextEmbeddings(torch.eye(2), torch.tensor([0, 1])), None, 1333)


def test_summary_names_classes_and_both_denominators(dataset):
    summary = compute_metrics(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]]), dataset.vocabulary)
    assert summary["miou"] == {"present": 75.0, "union": 37.5}
    assert [entry["iou"] for entry in summary["classes"]] == [75.0, 0.0, None]
    assert summary["classes"][0] == {"index": 0, "name": "a", "pixels": 4, "iou": 75.0}


def test_a_targets_own_test_size_comes_before_the_benchmarks():
    settings = load_config([ROOT / "config/paper.yaml"]).evaluation
    assert get_test_sides(settings, "fcclip", "cityscapes") == (1024, 2560)
    assert get_test_sides(settings, "fcclip", "coco") == (800, 1333)
    assert get_test_sides(settings, "han", "cityscapes") == (800, 1333)
    changed = settings.model_copy(update={"sizes": {"cityscapes": (512, 1024), "pc59": (520, 2000)}})
    assert get_test_sides(changed, "han", "cityscapes") == (512, 1024)
    assert get_test_sides(changed, "fcclip", "pc59") == (520, 2000)
    assert get_test_sides(changed, "fcclip", "cityscapes") == (1024, 2560)
