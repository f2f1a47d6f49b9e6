import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from opentrans.clip.text import TextEmbeddings
from opentrans.models.strips import mask_argmax, pixel_argmax
from opentrans.models.tiles import Frame, fast_argmax, resize_matrices

QUERIES, CLASSES, LOW = 7, 11, (6, 9)


def resize(maps, size):
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]


class LargestTensor(TorchDispatchMode):
    """Remembers the bytes of the largest tensor that any operation returned."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.bytes = max(self.bytes, leaf.numel() * leaf.element_size())
        return result


@pytest.fixture
def masks():
    return 3 * torch.randn(QUERIES, *LOW), torch.rand(QUERIES, CLASSES)


@pytest.fixture
def pixels():
    text = F.normalize(torch.randn(15, 4), dim=-1)
    return torch.randn(4, *LOW), TextEmbeddings(text, torch.arange(15) % CLASSES)


@pytest.mark.parametrize("size", [(6, 9), (24, 36), (25, 31), (3, 4), (100, 5)])
def test_matrices_resize_as_interpolate_does(size):
    maps = torch.randn(2, *LOW)
    rows, columns = resize_matrices(LOW, None, size, maps.device)
    torch.testing.assert_close(rows @ maps @ columns.T, resize(maps, size), atol=1e-5, rtol=0)


def test_matrices_of_a_frame_pad_then_cut_then_resize():
    maps = torch.randn(2, *LOW)
    rows, columns = resize_matrices(LOW, Frame((48, 72), (45, 70)), (31, 99), maps.device)
    expected = resize(resize(maps, (48, 72))[:, :45, :70], (31, 99))
    torch.testing.assert_close(rows @ maps @ columns.T, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("strip_bytes", [1, 5000, 2**30])
def test_strips_of_masks_equal_the_full_computation(masks, strip_bytes):
    logits, scores = masks
    full = torch.einsum("qk,qhw->khw", scores, resize(logits, (37, 29)).sigmoid())
    result = mask_argmax(scores, logits, (37, 29), strip_bytes)
    assert result.dtype == torch.long
    assert torch.equal(result, full.argmax(0))


@pytest.mark.parametrize("strip_bytes", [1, 5000, 2**30])
def test_strips_of_pixels_equal_the_full_computation(pixels, strip_bytes):
    embedding, text = pixels
    cosines = torch.einsum("dhw,pd->phw", F.normalize(embedding, dim=0), text.embeddings)
    best = torch.stack([cosines[text.class_index == k].amax(0) for k in range(CLASSES)])
    assert torch.equal(pixel_argmax(embedding, text, (37, 29), strip_bytes), resize(best, (37, 29)).argmax(0))


@pytest.mark.parametrize("strip_bytes", [1, 50_000, 2**30])
@pytest.mark.parametrize("certainty", [0, 3, 12])
def test_leaving_classes_out_changes_no_pixel(strip_bytes, certainty):
    scores = (torch.randn(30, 150) + certainty * F.one_hot(torch.randint(150, (30,)), 150)).softmax(-1)
    logits = resize(4 * torch.randn(30, 6, 8), (30, 42)) - 2
    full = torch.einsum("qk,qhw->khw", scores.double(), resize(logits, (99, 170)).sigmoid().double())
    result = mask_argmax(scores, logits, (99, 170), strip_bytes)
    best, second = full.topk(2, dim=0).values
    assert torch.equal(result[best - second > 1e-6], full.argmax(0)[best - second > 1e-6])
    assert (best - second > 1e-6).double().mean() > 0.99


def test_negative_scores_and_frames_are_compared_alike():
    scores, logits, frame = torch.randn(5, 70), torch.randn(5, 16, 20), Frame((64, 80), (60, 71))
    resized = resize(resize(logits, (64, 80))[:, :60, :71], (90, 100))
    full = torch.einsum("qk,qhw->khw", scores, resized.sigmoid())
    assert (mask_argmax(scores, logits, (90, 100), frame=frame) == full.argmax(0)).double().mean() > 0.9999


def test_fast_argmax_takes_the_first_of_equal_values():
    scores = torch.randint(5, (200, 101)).float()
    assert torch.equal(fast_argmax(scores), (scores == scores.amax(1, keepdim=True)).int().argmax(1))


def test_confident_masks_take_a_tenth_of_the_multiplications_and_memory():
    scores = (torch.randn(100, 300) + 15 * F.one_hot(torch.randint(300, (100,)), 300)).softmax(-1)
    logits = resize(4 * torch.randn(100, 5, 8), (50, 76))
    with FlopCounterMode(display=False) as counter, LargestTensor() as largest:
        mask_argmax(scores, logits, (200, 304))
    assert counter.get_total_flops() < 2 * 100 * 300 * 200 * 304 / 10
    assert largest.bytes < 4 * 300 * 200 * 304 / 5


def test_noise_takes_hardly_more_multiplications_than_all_classes():
    scores, logits = torch.rand(100, 300), 3 * torch.randn(100, 25, 38)
    with FlopCounterMode(display=False) as counter:
        mask_argmax(scores, logits, (100, 152))
    assert counter.get_total_flops() < 1.5 * 2 * 100 * 300 * 100 * 152


def test_no_intermediate_of_masks_is_larger_than_the_strip():
    logits, scores, size, limit = torch.randn(10, 25, 25), torch.rand(10, 300), (200, 200), 2**20
    with LargestTensor() as largest:
        mask_argmax(scores, logits, size, limit)
    assert 40 * limit < 4 * 300 * 200 * 200
    assert limit // 4 < largest.bytes <= limit


def test_no_intermediate_of_pixels_is_larger_than_the_strip():
    text = TextEmbeddings(F.normalize(torch.randn(400, 8), dim=-1), torch.arange(400) % 300)
    with LargestTensor() as largest:
        pixel_argmax(torch.randn(8, 25, 25), text, (200, 200), 2**20)
    assert 2**18 < largest.bytes <= 2**20


def test_a_class_scores_as_its_best_synonym():
    text = TextEmbeddings(torch.zeros(7, 2), torch.tensor([2, 0, 1, 2, 2, 0, 3]))
    scores = torch.randn(4, 7, requires_grad=True)
    expected = torch.stack([scores[:, text.class_index == k].amax(1) for k in range(4)], dim=1)
    torch.testing.assert_close(text.class_scores(scores), expected, rtol=0, atol=0)
    (given,) = torch.autograd.grad(text.class_scores(scores).sum(), scores)
    torch.testing.assert_close(given, torch.autograd.grad(expected.sum(), scores)[0])
