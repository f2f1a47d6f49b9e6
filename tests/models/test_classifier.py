import math

import pytest
import torch
from torch.nn import functional as F

from opentrans.clip.text import TextEmbeddings
from opentrans.models.classifier import TextClassifier, class_cosines


@pytest.fixture
def axes():
    """Class 0 has two synonyms along x and y, class 1 one along z."""
    return TextEmbeddings(torch.eye(3), torch.tensor([0, 0, 1]))


def test_logits_are_scaled_cosines_and_the_last_one_is_no_object(axes):
    classifier = TextClassifier(axes)
    with torch.no_grad():
        classifier.no_object.copy_(torch.tensor([[0.0, -5.0, 0.0]]))
    logits = classifier(torch.tensor([[3.0, 4.0, 0.0]]))
    torch.testing.assert_close(logits, torch.tensor([[0.8, 0.0, -0.8]]) / 0.07)


def test_the_scale_is_bounded(axes):
    classifier = TextClassifier(axes, max_scale=100.0)
    with torch.no_grad():
        classifier.log_scale.fill_(math.log(1000.0))
    assert classifier(torch.tensor([[0.0, 0.0, 2.0]]))[0, 1].item() == pytest.approx(100.0)


def test_other_vocabularies_replace_the_training_one(axes):
    other = TextEmbeddings(F.normalize(torch.randn(5, 3), dim=-1), torch.arange(5))
    assert TextClassifier(axes)(torch.randn(2, 4, 3), other).shape == (2, 4, 6)


def test_a_class_is_seen_if_any_of_its_prompts_was_trained_on(axes):
    diagonal = F.normalize(torch.tensor([[1.0, 1.0, 0.0]]), dim=-1)
    rows = torch.cat([diagonal, torch.eye(3)[2:], diagonal, -torch.eye(3)[:1]])
    vocabulary = TextEmbeddings(rows, torch.tensor([0, 1, 1, 2]))
    assert TextClassifier(axes).get_seen(vocabulary).tolist() == [False, True, False]


def test_class_directions_average_the_synonyms(axes):
    half = math.sqrt(0.5)
    expected = torch.tensor([[half, half, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(TextClassifier(axes).class_directions(), expected)


def test_classes_in_another_order_than_their_rows_keep_their_place():
    text = TextEmbeddings(torch.eye(3), torch.tensor([2, 0, 1]))
    assert class_cosines(torch.eye(3), text).argmax(-1).tolist() == [2, 0, 1]
