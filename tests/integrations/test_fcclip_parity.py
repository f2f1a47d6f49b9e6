"""Our FC-CLIP against the unmodified public one on the CPU: same weights, same image, same batch.

Skipped, with the reason, where detectron2 or the public FC-CLIP is missing (docs/integrations.md).
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipWeights
from opentrans.config import OptimizerConfig, TargetConfig, TrainingConfig
from opentrans.integrations.fcclip import get_clip, import_state
from opentrans.models.registry import build_target
from opentrans.models.target import Batch, Regions, pad_images

pytest.importorskip("detectron2.engine", reason="the real detectron2 is not installed (docs/integrations.md)")
pytestmark = [pytest.mark.detectron2, pytest.mark.filterwarnings("ignore")]
TRAIN_CLASS, TEST_CLASS = torch.tensor([0, 0, 1, 2, 3]), torch.arange(4)  # synonyms of the fixture's vocabularies
TRAINING = TrainingConfig(
    iterations=1, warmup_iterations=0, batch_size=1, crop_size=64, optimizer=OptimizerConfig(name="adamw", lr=1e-4)
)
ARCHITECTURE = {"embed_dim": 1024, "vision_cfg": {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64}}
SIZE = (130, 175)


def make_images(count, height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 3, height // 16, width // 16, generator=generator)
    noise = 40 * torch.rand(count, 3, height, width, generator=generator)
    return (F.interpolate(low, (height, width), mode="bicubic").clamp(0, 1) * 200 + noise).to(torch.uint8)


@torch.no_grad()
def give_sense(model, image):
    """Random weights that behave like trained ones: normal features, queries and classes that differ."""
    layers = [layer for layer in model.backbone.clip_model.visual.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    model.backbone.extract_features((make_images(2, 128, 160, 5).float() - model.pixel_mean) / model.pixel_std)
    for layer in layers:
        layer.eval()
    for layer in model.sem_seg_head.pixel_decoder.transformer.encoder.layers:
        layer.self_attn.sampling_offsets.weight.normal_(0, 0.02)
        layer.self_attn.attention_weights.weight.normal_(0, 0.1)
    predictor = model.sem_seg_head.predictor
    predictor.mask_embed.layers[2].weight.mul_(3)
    model.void_embedding.weight.normal_()
    model.backbone.clip_model.logit_scale.fill_(torch.tensor(100.0).log())
    generator = torch.Generator().manual_seed(3)
    model.train_text_classifier = F.normalize(torch.randn(5, 1024, generator=generator), dim=-1)
    model.test_text_classifier = F.normalize(torch.randn(4, 1024, generator=generator), dim=-1)
    model.test_text_classifier[[0, 2]] = model.train_text_classifier[[0, 3]]  # the names that both vocabularies have
    model.train_num_templates, model.test_num_templates = [2, 1, 1, 1], [1, 1, 1, 1]
    pooled, embedded = [], []
    handle = predictor.class_embed.register_forward_hook(lambda *call: embedded.append(call[-1]))
    original = model.backbone.visual_prediction_forward
    model.backbone.visual_prediction_forward = lambda *args: pooled.append(original(*args)) or pooled[-1]
    model.eval()
    model([{"image": image}])
    handle.remove()
    model.backbone.visual_prediction_forward = original
    predictor.class_embed.layers[2].bias.sub_(embedded[-1][0].mean(0))
    model.backbone.clip_model.visual.attnpool.c_proj.bias.sub_(pooled[0][0].nanmean(0))


@pytest.fixture(scope="module")
def pair(fcclip):
    """Both models with the same weights, an image, and both vocabularies' embeddings."""
    image = make_images(1, 122, 157, 11)[0]
    give_sense(fcclip, image)
    theirs = {name: value.detach().clone() for name, value in fcclip.state_dict().items()}
    clip = get_clip(theirs, "the public model")
    visual = {name.removeprefix("visual."): value for name, value in clip.items() if name.startswith("visual.")}
    settings = TargetConfig(kind="fcclip", prompts="ensemble", queries=250, train_points=1024, training=TRAINING)
    text = TextEmbeddings(fcclip.train_text_classifier, TRAIN_CLASS)
    ours = build_target(settings, ClipWeights(ARCHITECTURE, visual, 100.0, torch.device("cpu")), text)
    ours.load_state_dict(import_state(theirs, ours.state_dict()))
    return fcclip, ours, image, TextEmbeddings(fcclip.test_text_classifier, TEST_CLASS)


def find_turned(first, second):
    """Queries that attend to other pixels in the next layers: a resized mask's sign differs, by rounding near zero."""
    sizes = [(side // stride for side in first.shape[-2:]) for stride in (8, 4, 2)]  # a mask has a quarter of the sides
    turned = torch.zeros(first.shape[:2], dtype=torch.bool)
    for size in map(tuple, sizes):
        signs = [F.interpolate(masks, size, mode="bilinear") > 0 for masks in (first, second)]
        turned |= (signs[0] != signs[1]).flatten(2).any(-1)
    return turned


@torch.no_grad()
def test_masks_logits_and_the_semantic_map_are_the_public_ones(pair):
    fcclip, ours, image, vocabulary = pair
    fcclip.eval(), ours.eval()
    answers = {}
    handle = fcclip.sem_seg_head.register_forward_hook(lambda *call: answers.update(call[-1]))
    scores = fcclip([{"image": image, "height": SIZE[0], "width": SIZE[1]}])[0]["sem_seg"]
    handle.remove()
    outputs = ours.head(ours.backbone(pad_images(ours.normalize(image[None].float() / 255))))
    layers = [*answers["aux_outputs"], answers]
    assert len(layers) == len(outputs.masks) == 10
    turned = torch.zeros(1, 250, dtype=torch.bool)
    for theirs, queries, masks in zip(layers, outputs.queries, outputs.masks, strict=True):
        torch.testing.assert_close(masks, theirs["pred_masks"], rtol=0, atol=1e-4)
        # A mask's sign decides which pixels are pooled, so logits are compared over the same masks.
        logits = ours.classifier(ours.class_head(queries, theirs["pred_masks"], outputs.features), vocabulary)
        difference = (logits - theirs["pred_logits"]).abs().amax(-1)
        assert float(difference[~turned].max()) <= 1e-4
        assert float(difference.max()) <= 1e-3
        turned |= find_turned(masks, theirs["pred_masks"])
    assert float(turned.float().mean()) <= 0.05
    found = ours.predict(image.float() / 255, vocabulary, SIZE)
    assert float((found == scores.argmax(0)).float().mean()) >= 0.999
    # With random weights one class may win everywhere; which class gains most over its mean differs by pixel.
    probabilities, masks = ours.network(image[None].float() / 255, vocabulary)
    masks = F.interpolate(masks, (128, 160), mode="bilinear")[..., :122, :157]
    masks = F.interpolate(masks, SIZE, mode="bilinear").sigmoid()
    summed = torch.einsum("bqc,bqhw->bchw", probabilities, masks)[0]
    torch.testing.assert_close(summed, scores, rtol=1e-3, atol=1e-3)
    maps = [(values - values.mean((1, 2), keepdim=True)).argmax(0) for values in (summed, scores)]
    assert all(len(classes.unique()) > 1 for classes in maps)
    assert float((maps[0] == maps[1]).float().mean()) >= 0.999


def test_the_training_loss_of_a_batch_is_the_public_one(pair, monkeypatch):
    """Both draw their points from `torch.rand`, in another order: here each shape has its own fixed draw."""
    from detectron2.structures import Instances

    fcclip, ours, _, _ = pair
    images, labels = make_images(2, 64, 96, 21), torch.zeros(2, 64, 96, dtype=torch.long)
    labels[0, :, 40:], labels[0, 45:, :30], labels[1, 20:50, 30:] = 1, 3, 2
    instances, regions, draw = [], [], torch.rand
    for label in labels:
        classes = label.unique()
        masks = torch.stack([label == c for c in classes])
        instances.append(Instances((64, 96), gt_classes=classes, gt_masks=masks))
        known = torch.ones(len(classes), dtype=torch.bool)
        regions.append(Regions(masks, classes, torch.zeros(len(classes), 1024), known))

    def draw_by_shape(*shape, **_):
        sizes = tuple(shape[0]) if not isinstance(shape[0], int) else shape
        return draw(*sizes, generator=torch.Generator().manual_seed(sum(size * 31**n for n, size in enumerate(sizes))))

    monkeypatch.setattr(torch, "rand", draw_by_shape)
    fcclip.train(), ours.train()
    with torch.no_grad():
        batch = [{"image": image, "instances": part} for image, part in zip(images, instances, strict=True)]
        theirs = fcclip(batch)
        count = sum(len(part.classes) for part in regions)
        found = ours.loss(Batch(images.float() / 255, labels, regions, count, 1.0))
    for name, their_name in (("class", "ce"), ("mask", "mask"), ("dice", "dice")):
        expected = sum(float(value) for key, value in theirs.items() if key.startswith(f"loss_{their_name}"))
        assert float(found[name]) == pytest.approx(expected, rel=1e-5)
