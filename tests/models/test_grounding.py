import math

import pytest
import torch
from torch.nn import functional as F

from opentrans.models.grounding import align, draw_regions, grounding_loss


def make_group(words, regions, seed=0, dimension=6):
    """Embeddings of so many words and regions of each image, in double precision."""
    generator = torch.Generator().manual_seed(seed)

    def draw(counts):
        return [torch.randn(count, dimension, generator=generator, dtype=torch.float64) for count in counts]

    return draw(words), draw(regions), torch.tensor(3.0, dtype=torch.float64)


def softmax(values):
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def loop_loss(words, regions, scale):
    """The formulas for one pair, one word and one region at a time, without padding."""
    pairs = [(w, r) for w, r in zip(words, regions, strict=True) if len(w)]
    n = len(pairs)
    to_regions, to_words = ([[0.0] * n for _ in range(n)] for _ in range(2))
    for a in range(n):
        for b in range(n):
            cosines = [[float(F.cosine_similarity(w, r, dim=0)) for r in pairs[b][1]] for w in pairs[a][0]]
            for row in cosines:
                weights = softmax([scale * s for s in row])
                to_regions[a][b] += sum(p * scale * (1 - s) for p, s in zip(weights, row, strict=True)) / len(cosines)
            for column in zip(*cosines, strict=True):
                weights = softmax([scale * s for s in column])
                gap = sum(p * scale * (1 - s) for p, s in zip(weights, column, strict=True))
                to_words[a][b] += gap / len(cosines[0])

    total = 0.0
    for table in (to_regions, to_words):
        for i in range(n):
            total -= math.log(softmax([-d for d in table[i]])[i])
            total -= math.log(softmax([-row[i] for row in table])[i])
    return total / (4 * n)


@pytest.mark.parametrize(
    ("words", "regions"), [((2, 3), (3, 3)), ((1, 5, 2), (4, 1, 2)), ((3, 0, 1, 2), (2, 5, 1, 3)), ((2,), (3,))]
)
def test_the_loss_equals_the_double_loop(words, regions):
    group = make_group(words, regions)
    expected = loop_loss(*group[:2], float(group[2]))
    assert grounding_loss(*group).item() == pytest.approx(expected, abs=1e-6)  # computed in single precision


def test_two_captions_and_two_images_by_hand():
    """One word and one region each; cosines 1 and 0 crosswise, tau = 1: distances 0 on the diagonal, 1 beside it."""
    e1, e2 = torch.eye(2)
    loss = grounding_loss([e1[None], e2[None]], [2 * e1[None], 5 * e2[None]], torch.tensor(1.0))
    # All four cross-entropies choose between distance 0 and 1.
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-6)


def test_the_alignment_by_hand():
    """One word with cosines 1 and 0 to two regions, tau = ln 3: softmax 3/4 and 1/4, gaps 0 and ln 3."""
    cosines = torch.tensor([[[[1.0, 0.0]]]])
    words, regions, scale = torch.ones(1, 1).bool(), torch.ones(1, 2).bool(), torch.tensor(math.log(3))
    to_regions, to_words = align(cosines, words, regions, scale)
    assert to_regions.item() == pytest.approx(math.log(3) / 4)
    # Each region has but one word to align with: the mean of the gaps.
    assert to_words.item() == pytest.approx(math.log(3) / 2)


def test_a_pair_with_neither_words_nor_regions_is_the_furthest():
    cosines = torch.zeros(2, 2, 1, 1)
    has = torch.tensor([[True], [False]])
    for table in align(cosines, has, has, torch.tensor(2.0)):
        assert table[1, 1] == table.flatten()[:3].max() + 100


def test_captions_without_nouns_and_their_images_are_left_out():
    words, regions, scale = make_group((2, 3), (3, 3))
    nothing, region = torch.zeros(0, 6, dtype=torch.float64), torch.ones(4, 6, dtype=torch.float64)
    alone = grounding_loss(words, regions, scale)
    torch.testing.assert_close(grounding_loss([nothing, *words], [region, *regions], scale), alone)


@pytest.mark.parametrize("words", [(), (2,), (0, 2), (0, 0)])
def test_fewer_than_two_captions_cost_nothing_and_backward_works(words):
    parts = [torch.randn(count, 4) for count in words] or [torch.zeros(0, 4)]
    regions = [torch.randn(3, 4, requires_grad=True) for _ in parts]
    loss = grounding_loss(parts, regions, torch.tensor(10.0))
    loss.backward()
    assert loss.item() == 0
    assert not any(region.grad is not None and region.grad.any() for region in regions)


def test_an_image_without_regions_changes_the_loss_by_a_finite_amount():
    words, regions, scale = make_group((2, 3), (3, 0))
    regions[0].requires_grad_()
    loss = grounding_loss(words, regions, scale)
    loss.backward()
    assert loss.isfinite()
    assert regions[0].grad.isfinite().all()


def test_the_gradient_goes_through_the_attention():
    words, regions, scale = make_group((2, 3), (3, 2), dimension=4)
    cosines = torch.einsum(
        "awd,brd->abwr",
        F.normalize(torch.nn.utils.rnn.pad_sequence(words, batch_first=True), dim=-1),
        F.normalize(torch.nn.utils.rnn.pad_sequence(regions, batch_first=True), dim=-1),
    )
    masks = torch.tensor([[True, True, False], [True, True, True]]), torch.tensor([[True] * 3, [True, True, False]])

    def distance(values, tau):
        return align(values, *masks, tau)

    assert torch.autograd.gradcheck(distance, (cosines.requires_grad_(), scale.requires_grad_()))


def test_at_most_25_regions_are_drawn():
    few, many = torch.arange(25), torch.arange(60)
    assert torch.equal(draw_regions(few), few)
    torch.manual_seed(0)
    drawn = draw_regions(many)
    assert len(set(drawn.tolist())) == 25
    torch.manual_seed(0)
    assert torch.equal(draw_regions(many), drawn)
