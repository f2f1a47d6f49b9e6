import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from opentrans.evaluation.confusion import add_confusion
from opentrans.evaluation.miou import mean_iou

CLASSES, IGNORE = 5, 255
BLOCK = 6  # repeats of a pixel each way: makes maps of regions

MAPS = arrays(np.int32, (6, 7), elements=st.integers(0, CLASSES - 1))
LABELS = arrays(np.int32, (6, 7), elements=st.sampled_from([0, 1, 2, 3, 4, IGNORE]))


def count_confusion(prediction, label, classes, ignore):
    """Of one image."""
    confusion = np.zeros((classes, classes), np.int64)
    add_confusion(confusion, prediction, label, ignore)
    return confusion


def enlarge(values):
    """Each pixel as a block."""
    return values.repeat(BLOCK, 0).repeat(BLOCK, 1)


def iou_by_sets(prediction, label, index):
    """IoU of one class from pixel sets; None where it neither occurs nor is predicted."""
    counted = {(y, x) for y, x in np.ndindex(label.shape) if label[y, x] != IGNORE}
    truth = {place for place in counted if label[place] == index}
    found = {place for place in counted if prediction[place] == index}
    return 100 * len(truth & found) / len(truth | found) if truth | found else None


def test_confusion_of_a_hand_worked_image():
    label = np.array([[0, 0, 1], [1, 2, 255]])
    prediction = np.array([[0, 1, 1], [1, 0, 2]])
    expected = [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert count_confusion(prediction, label, 3, 255).tolist() == expected


def test_confusion_handles_a_16_bit_ignore_value_and_847_classes():
    label = np.array([[846, 65535]], np.int32)
    confusion = count_confusion(np.array([[846, 3]]), label, 847, 65535)
    assert confusion.shape == (847, 847)
    assert confusion[846, 846] == confusion.sum() == 1


@pytest.mark.parametrize(("prediction", "label"), [([[3]], [[0]]), ([[0]], [[3]]), ([[-1]], [[0]]), ([[0, 0]], [[0]])])
def test_confusion_refuses_values_outside_the_vocabulary_and_other_shapes(prediction, label):
    prediction, label = np.array(prediction), np.array(label)
    for maps in ((prediction, label), (enlarge(prediction), enlarge(label))):
        with pytest.raises(ValueError, match=r"outside|label"):
            count_confusion(*maps, 3, 255)


@given(MAPS, LABELS)
def test_confusion_counts_every_pixel_that_is_not_ignored(prediction, label):
    confusion = count_confusion(prediction, label, CLASSES, IGNORE)
    assert confusion.sum() == (label != IGNORE).sum()
    for truth, found in np.ndindex(CLASSES, CLASSES):
        assert confusion[truth, found] == ((label == truth) & (prediction == found)).sum()


@given(MAPS, LABELS)
def test_regions_are_counted_as_their_pixels_are(prediction, label):
    expected = BLOCK**2 * count_confusion(prediction, label, CLASSES, IGNORE)
    assert np.array_equal(count_confusion(enlarge(prediction), enlarge(label), CLASSES, IGNORE), expected)


def test_images_add_up():
    label, prediction = np.array([[0, 0, 1], [1, 2, 255]]), np.array([[0, 1, 1], [1, 0, 2]])
    once, confusion = count_confusion(prediction, label, 3, 255), np.zeros((3, 3), np.int64)
    add_confusion(confusion, prediction, label, 255)
    add_confusion(confusion, enlarge(prediction).astype(np.int16), enlarge(label).astype(np.uint16), 255)
    assert np.array_equal(confusion, (1 + BLOCK**2) * once)
    assert confusion.dtype == np.int64


@given(MAPS, LABELS)
def test_iou_agrees_with_pixel_sets(prediction, label):
    confusion = count_confusion(prediction, label, CLASSES, IGNORE)
    sets = [iou_by_sets(prediction, label, index) for index in range(CLASSES)]
    present = [value for index, value in enumerate(sets) if (label == index).any()]
    union = [value for value in sets if value is not None]
    assert mean_iou(confusion, "present")[0] == pytest.approx(np.mean(present) if present else np.nan, nan_ok=True)
    assert mean_iou(confusion, "union")[0] == pytest.approx(np.mean(union) if union else np.nan, nan_ok=True)


@given(MAPS, LABELS)
def test_classes_that_are_only_predicted_never_raise_the_mean(prediction, label):
    confusion = count_confusion(prediction, label, CLASSES, IGNORE)
    present, union = mean_iou(confusion, "present")[0], mean_iou(confusion, "union")[0]
    assert np.isnan(present) or union <= present + 1e-9


def test_denominators_differ_by_the_classes_that_are_only_predicted():
    confusion = np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]])
    miou, per_class = mean_iou(confusion, "present")
    assert miou == 75
    assert np.isnan(per_class[1:]).all()
    miou, per_class = mean_iou(confusion, "union")
    assert miou == 37.5
    assert per_class[1] == 0
    assert np.isnan(per_class[2])


def test_a_perfect_prediction_has_100_percent():
    label = np.array([[0, 1], [2, 2]])
    assert mean_iou(count_confusion(label, label, 4, 255))[0] == 100
