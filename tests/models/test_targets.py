from dataclasses import replace

import pytest
import torch
from model_samples import make_batch, make_settings, split_batch
from torch.nn import functional as F

from builders import draw_directions
from opentrans.clip.teacher import Teacher, get_architecture
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipWeights
from opentrans.config import TargetConfig
from opentrans.distillation import DEFAULT_WEIGHTS, DistillationLoss
from opentrans.models.grounding import grounding_loss
from opentrans.models.han import get_distillation_weight
from opentrans.models.mask2former import SetCriterion
from opentrans.models.registry import build_target
from opentrans.models.target import IGNORE

KINDS = ["han", "deeplabv3", "fcclip"]


@pytest.fixture
def vocabulary():
    """Nine classes, three of them with a synonym."""
    return TextEmbeddings(F.normalize(torch.randn(12, 32), dim=-1), torch.arange(12) % 9)


@pytest.fixture
def deterministic(monkeypatch):
    """Points on a fixed grid instead of random ones, queries matched in order."""

    def grid(_, logits, *rest):
        line = (torch.arange(8) + 0.5) / 8
        points = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(1, 64, 2)
        return points.expand(len(logits), -1, -1)

    def in_order(_, masks, logits, regions):
        return [(torch.arange(len(r.classes)), torch.arange(len(r.classes))) for r in regions]

    monkeypatch.setattr(SetCriterion, "sample_points_using_uncertainty", grid)
    monkeypatch.setattr(SetCriterion, "match", in_order)


@pytest.mark.parametrize("kind", KINDS)
def test_two_images_are_overfitted(make_target, kind):
    target, batch = make_target(kind).train(), make_batch()
    optimizer = torch.optim.AdamW([p for p in target.parameters() if p.requires_grad], 3e-3)
    totals = []
    for _ in range(40):
        loss = sum(target.loss(batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.5 * totals[0]
    prediction = target.eval().predict(batch.images[0], target.classifier.train_text, (64, 64))
    labelled = batch.labels[0] != IGNORE
    assert (prediction == batch.labels[0])[labelled].float().mean() > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_micro_batches_sum_to_the_whole_batch(make_target, deterministic, kind):
    target, batch = make_target(kind).eval(), make_batch(3)
    batch.labels[0, :40] = IGNORE
    whole = target.loss(batch)
    parts = [target.loss(part) for part in split_batch(batch)]
    for name, value in whole.items():
        torch.testing.assert_close(sum(part[name] for part in parts), value, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_trainable_parameter_gets_a_gradient(make_target, kind):
    target, batch = make_target(kind).train(), make_batch()
    sum(target.loss(batch).values()).backward()
    without = [name for name, p in target.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_one_image_trains(make_target, kind):
    terms = make_target(kind).train().loss(split_batch(make_batch())[0])
    assert all(value.isfinite() for value in terms.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 64), (50, 91)])
def test_predictions_are_class_indices_at_the_size_asked_for(make_target, vocabulary, kind, size):
    prediction = make_target(kind).eval().predict(torch.rand(3, 70, 45), vocabulary, size)
    assert prediction.shape == size
    assert prediction.dtype == torch.long
    assert prediction.min() >= 0
    assert prediction.max() < 9


@pytest.mark.parametrize("kind", KINDS)
def test_prediction_does_not_depend_on_the_strip(make_target, vocabulary, kind):
    target, image = make_target(kind).eval(), torch.rand(3, 64, 64)
    whole = target.predict(image, vocabulary, (64, 64))
    target.strip_bytes = 1
    assert torch.equal(target.predict(image, vocabulary, (64, 64)), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_state_gives_the_same_scores(make_target, teacher, text, kind):
    target, images = make_target(kind).eval(), torch.rand(1, 3, 64, 64)
    other = build_target(make_settings(kind), teacher, text).eval()
    assert not torch.equal(get_scores(target, images), get_scores(other, images))
    state = {name: value.clone() for name, value in target.state_dict().items()}
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    assert not other.load_state_dict(state).missing_keys
    assert torch.equal(get_scores(target, images), get_scores(other, images))


@pytest.mark.parametrize("kind", KINDS)
def test_a_subnetwork_goes_into_the_backbone_from_outside(make_target, kind):
    target, batch = make_target(kind).eval(), make_batch()
    dense = get_scores(target, batch.images)
    with torch.no_grad():
        target.backbone.get_parameter("layer1.0.downsample.0.weight").zero_()
    assert not torch.equal(get_scores(target, batch.images), dense)


def test_the_distillation_term_counts_only_known_regions(make_target, deterministic):
    target, batch = make_target("han").eval(), make_batch()
    batch.regions[0].known[:] = False
    part = target.loss(split_batch(batch)[0])["distillation"]
    assert part.item() == 0
    assert target.loss(batch)["distillation"] > 0


@pytest.mark.parametrize("changes", [{"distillation": None}, {"distillation_weight": 0.0}])
def test_without_distillation_han_has_no_student_heads(make_target, changes):
    target = make_target("han", **changes).train()
    assert "distillation" not in target.loss(make_batch())
    assert not any("student" in name for name in target.state_dict())


@pytest.mark.parametrize("kind", ["tgkd", "vgkd", "tgkd_released"])
def test_hans_distillation_by_a_loop_over_outputs_and_images(make_target, deterministic, kind):
    target, batch = make_target("han", distillation=kind, distillation_weight=3.0).eval(), make_batch()
    batch.regions[1].known[0] = False
    outputs, texts = target._decode(batch.images), target.classifier.class_directions()
    total = 0.0
    for states, head in zip(outputs.queries, target.student_heads, strict=True):
        triples = []
        for state, regions in zip(states, batch.regions, strict=True):
            # Queries are matched in order: query i belongs to region i.
            rows = [i for i in range(len(regions.classes)) if regions.known[i]]
            students = torch.stack([F.normalize(head(target.query_head(state[i])), dim=0) for i in rows])
            triples.append((students, regions.embeddings[rows], texts[regions.classes[rows]]))
        total += DistillationLoss(kind)(triples)
    torch.testing.assert_close(target.loss(batch)["distillation"], 3 * total)


def test_hans_grounding_is_that_of_every_outputs_class_embeddings(make_target, deterministic):
    target, batch = make_target("han", grounding_weight=2.0).eval(), make_batch(3)
    batch.words = [draw_directions(count, count) for count in (2, 0, 3)]
    outputs, scale = target._decode(batch.images), target.classifier.log_scale.exp()
    total = 0.0
    for states, head in zip(outputs.queries, [*target.auxiliary_heads, target.class_head], strict=True):
        embeddings = head(target.query_head(states).relu())
        # Queries are matched in order: two of each image.
        total += grounding_loss(batch.words, [embedding[:2] for embedding in embeddings], scale)
    torch.testing.assert_close(target.loss(batch)["grounding"], 2 * total)
    torch.testing.assert_close(target.loss(replace(batch, share=0.5))["grounding"], total)


def test_without_its_weight_han_needs_no_words(make_target):
    assert "grounding" not in make_target("han").train().loss(make_batch())
    with pytest.raises(ValueError, match="needs the words"):
        make_target("han", grounding_weight=2.0).train().loss(make_batch())


def test_hans_class_logits_by_the_authors_order_of_layers(make_target):
    target, batch = make_target("han").eval(), make_batch()
    state = target._decode(batch.images).queries[-1]
    hidden = state @ target.query_head.weight.T + target.query_head.bias
    embeddings = hidden.clamp(min=0) @ target.class_head.weight.T + target.class_head.bias
    logits, _ = target.network(batch.images)
    torch.testing.assert_close(logits, target.classifier(embeddings))


def test_distillation_has_the_weight_of_its_kind_unless_another_is_set():
    weights = {kind: get_distillation_weight(make_settings("han", distillation=kind)) for kind in DEFAULT_WEIGHTS}
    assert weights == {"tgkd": 0.2, "vgkd": 0.2, "tgkd_released": 2.0}
    assert get_distillation_weight(make_settings("han", distillation_weight=0.5)) == 0.5
    assert get_distillation_weight(make_settings("han", distillation=None)) == 0


def test_labels_marked_ignore_do_not_count_in_deeplab(make_target):
    target, batch = make_target("deeplabv3").eval(), make_batch()
    before = target.loss(batch)["segmentation"]
    batch.labels[:] = IGNORE
    assert target.loss(batch)["segmentation"].item() == 0 != before.item()


def test_class_zero_is_learnt_as_itself_in_deeplab(make_target):
    # The released code trains class 0 as no-object.
    target, batch = make_target("deeplabv3").eval(), make_batch()
    batch.labels[:] = 0
    loss = target.loss(batch)["segmentation"]
    logits = target.network(batch.images).permute(0, 3, 1, 2)
    logits = F.interpolate(logits, (64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(loss, -logits.log_softmax(1)[:, 0].mean())


def get_scores(target, images):
    """The target's class scores: of its queries or its pixels."""
    result = target.network(images)
    return result if isinstance(result, torch.Tensor) else result[0]


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def full_size():
    """The paper's sizes with CLIP RN50, on the meta device: shapes without weights."""
    text = TextEmbeddings(torch.zeros(133, 1024), torch.arange(133))
    training = make_settings("han").training
    with torch.device("meta"):
        visual = Teacher(get_architecture("RN50")).visual
        teacher = ClipWeights(get_architecture("RN50"), visual, 100.0, torch.device("meta"))

        def build(kind, **settings):
            return build_target(TargetConfig(kind=kind, prompts="plain", training=training, **settings), teacher, text)

        return {
            "han": build("han", distillation="tgkd"),
            "deeplabv3": build("deeplabv3", output_stride=16),
            "fcclip": build("fcclip", queries=250),
        }


def test_the_trunk_has_the_papers_size(full_size):
    assert {count(target.backbone) for target in full_size.values()} == {23_527_264}


def test_han_has_the_papers_size(full_size):
    # Paper: 44.1 M. At test one class projection is used; nine more and ten of the students serve training.
    han = full_size["han"]
    training_only = count(han.auxiliary_heads) + count(han.student_heads)
    assert training_only == 19 * 263_168
    assert count(han) - training_only == 44_285_985 + 256 * 257


def test_deeplab_has_the_papers_size(full_size):
    assert count(full_size["deeplabv3"]) == pytest.approx(40.3e6, rel=0.01)


def test_fcclips_head_has_the_published_number_of_parameters(full_size):
    target = full_size["fcclip"]
    pixel_decoder = count(target.head.pixel_decoder)
    decoder = count(target.head.decoder) + count(target.class_head) + target.classifier.log_scale.numel()
    assert (pixel_decoder, decoder) == (6_035_904, 14_996_481)
    assert target.classifier.no_object.numel() == 1024
    assert count(target.attention_pool) == 14_789_632
