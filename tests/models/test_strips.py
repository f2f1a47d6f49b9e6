import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from opentrans.clip.text import TextEmbeddings
from opentrans.models.strips import Frame, mask_argmax, pixel_argmax, resize_matrices

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


def test_no_intermediate_of_masks_is_larger_than_the_strip():
    logits, scores, size, limit = torch.randn(10, 25, 25), torch.rand(10, 300), (200, 200), 2**20
    with LargestTensor() as largest:
        mask_argmax(scores, logits, size, limit)
    assert 40 * limit < 4 * 300 * 200 * 200
    assert limit // 2 < largest.bytes <= limit


def test_no_intermediate_of_pixels_is_larger_than_the_strip():
    text = TextEmbeddings(F.normalize(torch.randn(400, 8), dim=-1), torch.arange(400) % 300)
    with LargestTensor() as largest:
        pixel_argmax(torch.randn(8, 25, 25), text, (200, 200), 2**20)
    assert 2**18 < largest.bytes <= 2**20
