import math

import pytest
import torch
from open_clip import SimpleTokenizer
from torch.nn import functional as F

from opentrans.clip.captions import CaptionedNames, read_images
from opentrans.clip.pretraining import (
    compact_tokens,
    contrastive_loss,
    draw_batches,
    get_pretraining_lr,
    make_teacher,
    pretrain,
)
from opentrans.clip.zero_shot import assess_zero_shot, get_accuracy
from opentrans.config import PretrainingConfig
from opentrans.errors import UserError

RECIPE = PretrainingConfig(iterations=12, batch_size=12, lr=2e-3, warmup_iterations=3, seed=5)


def unit_rows(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 6, generator=generator, dtype=torch.float64), dim=-1)


def test_with_distinct_captions_the_loss_is_clips():
    images, texts = unit_rows(4, 0), unit_rows(4, 1)
    logits = 7.0 * images @ texts.T
    target = torch.arange(4)
    expected = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    assert contrastive_loss(images, texts, target, torch.tensor(7.0)).item() == pytest.approx(expected.item())


def test_the_loss_with_shared_captions_is_its_definitions_double_loop():
    images, texts, index = unit_rows(5, 0), unit_rows(2, 1), [0, 1, 1, 0, 1]
    exponent = [[math.exp(3 * float(i @ t)) for t in texts] for i in images]
    of_image = -sum(math.log(exponent[k][index[k]] / sum(exponent[k])) for k in range(5)) / 5
    of_text = 0.0
    for t in range(2):
        column = [exponent[k][t] for k in range(5)]
        right = [k for k in range(5) if index[k] == t]
        of_text -= sum(math.log(column[k] / sum(column)) for k in right) / len(right) / 2
    found = contrastive_loss(images, texts, torch.tensor(index), torch.tensor(3.0))
    assert found.item() == pytest.approx((of_image + of_text) / 2)


def test_the_compact_table_encodes_the_same_and_trains_the_full_table(architecture):
    clip = make_teacher(architecture, 0).clip
    tokens = SimpleTokenizer(context_length=16)(["a red circle", "sand"])
    before = clip.token_embedding.weight.clone()
    expected = clip.encode_text(tokens)
    with compact_tokens(clip, tokens) as compact:
        assert clip.token_embedding.weight.shape[0] == len(torch.unique(tokens)) < 10
        torch.testing.assert_close(clip.encode_text(compact), expected)
        with torch.no_grad():
            clip.token_embedding.weight += 1
    changed = (clip.token_embedding.weight != before).all(1).nonzero().flatten()
    assert changed.tolist() == torch.unique(tokens).tolist()
    torch.testing.assert_close(clip.token_embedding.weight[changed], before[changed] + 1)


def test_the_learning_rate_warms_up_and_falls_along_a_half_cosine():
    recipe = PretrainingConfig(iterations=110, batch_size=1, lr=2.0, warmup_iterations=10)
    assert [get_pretraining_lr(i, recipe) for i in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    assert [get_pretraining_lr(i, recipe) for i in (10, 60, 110)] == pytest.approx([2.0, 1.0, 0.0])


def test_every_image_comes_once_before_any_comes_again():
    batches = list(draw_batches(10, 4, 5, torch.Generator().manual_seed(0)))
    order = torch.cat(batches).tolist()
    assert [len(batch) for batch in batches] == [4] * 5
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert order[:10] != order[10:]


def test_the_seed_decides_initial_weights_and_no_global_generator(architecture):
    torch.manual_seed(123)
    expected = torch.rand(1)
    torch.manual_seed(123)
    first, second, other = (make_teacher(architecture, seed).clip.visual.conv1.weight for seed in (3, 3, 4))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_training_twice_gives_the_same_bytes_and_leaves_the_teacher_frozen(architecture, captions, tmp_path):
    torch.set_num_threads(1)
    captioned = read_images(captions, "train", 64)
    logs = []
    for name in ("a", "b"):
        teacher = make_teacher(architecture, RECIPE.seed)
        logs.append(pretrain(teacher, captioned.images, captioned.captions, RECIPE))
        teacher.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert logs[0] == logs[1]
    assert not teacher.clip.training
    assert not any(weight.requires_grad for weight in teacher.parameters())
    assert teacher.clip.token_embedding.weight.shape == (49408, 32)


def test_training_learns_what_the_captions_say(architecture, captions):
    torch.set_num_threads(1)
    captioned, test = (read_images(captions, split, 64) for split in ("train", "test"))
    teacher = make_teacher(architecture, 0)
    recipe = RECIPE.model_copy(update={"iterations": 60})
    log = pretrain(teacher, captioned.images, captioned.captions, recipe)
    assert float(log[-1]["loss"]) < 0.5 * float(log[0]["loss"])
    found = assess_zero_shot(teacher, test, CaptionedNames.read(captions))
    assert found["captioned_among_all"]["accuracy"] > 60  # chance: 25


def test_the_temperature_never_passes_100(architecture, captions):
    teacher = make_teacher(architecture, 0)
    teacher.clip.logit_scale.fill_(math.log(1e4))
    captioned = read_images(captions, "train", 64)
    pretrain(teacher, captioned.images, captioned.captions, RECIPE.model_copy(update={"iterations": 1}))
    assert teacher.logit_scale == pytest.approx(100)


def test_accuracy_counts_only_the_candidates_and_the_chosen_images():
    scores = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.1, 0.5], [0.0, 0.0, 1.0]])
    truth, chosen = torch.tensor([1, 1, 2]), torch.tensor([True, True, False])
    assert get_accuracy(scores, truth, chosen, [0, 1, 2])["accuracy"] == 0
    assert get_accuracy(scores, truth, chosen, [1, 2]) == {
        "accuracy": 50, "chance": 50, "candidates": 2, "images": 2,
    }  # fmt: skip
    with pytest.raises(ValueError, match="no image"):
        get_accuracy(scores, truth, ~chosen & chosen, [0])


def test_zero_shot_questions_part_held_out_from_captioned_things(teacher, captions):
    found = assess_zero_shot(teacher, read_images(captions, "test", 64), CaptionedNames.read(captions))
    shown = {title: (entry["images"], entry["candidates"]) for title, entry in found.items()}
    assert shown == {
        "held_out_among_all": (12, 4),
        "held_out_among_held_out": (12, 1),
        "captioned_among_all": (12, 4),
        "held_out_among_all_crops": (6, 4),
        "held_out_among_held_out_crops": (6, 1),
        "captioned_among_all_crops": (6, 4),
    }
    assert found["held_out_among_held_out"]["accuracy"] == 100  # one candidate


def test_images_come_at_the_asked_size(captions):
    assert read_images(captions, "train", 32).images.shape == (24, 3, 32, 32)


def test_missing_parts_of_a_captions_folder_are_user_errors(captions):
    with pytest.raises(UserError, match="no image of split validation"):
        read_images(captions, "validation", 64)
    with pytest.raises(UserError, match="no such folder"):
        read_images(captions / "nowhere", "train", 64)
    (captions / "heldout.json").write_text('{"names": ["sand"]}')
    with pytest.raises(UserError, match="field 'heldout' is missing"):
        CaptionedNames.read(captions)
    (captions / "heldout.json").write_text('{"names": ["sand"], "heldout": ["sea"]}')
    with pytest.raises(UserError, match="not among names"):
        CaptionedNames.read(captions)
    (captions / "images" / "0.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="unreadable image"):
        read_images(captions, "train", 64)
