import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from opentrans.clip.backbone import MaskedAttentionPool
from opentrans.clip.region_embeddings import RegionEmbeddings
from opentrans.clip.region_encoder import cover_cells, crop_regions, embed_regions, pool_regions
from opentrans.clip.teacher import Teacher
from opentrans.clip.weights import CLIP_MEAN
from opentrans.data.regions import get_boxes, get_regions
from opentrans.errors import UserError

LABEL = np.array([[0, 0, 2, 2], [0, 9, 2, 2], [2, 2, 9, 9]])
SEGMENTS = np.array([[5, 5, 8, 8], [5, 5, 0, 8], [3, 3, 3, 3]])


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encode_alone(teacher: Teacher, image: np.ndarray, masks: np.ndarray, encoding: str) -> torch.Tensor:
    """The regions' embeddings without batches across images."""
    if encoding == "mask_pool":
        return pool_regions(teacher, MaskedAttentionPool(teacher), image, masks)
    return torch.cat([teacher.encode_images(crop_regions(image, mask[None], teacher.image_size)) for mask in masks])


def test_regions_by_class_are_all_pixels_of_each_class_but_the_ignored():
    numbers, classes, masks = get_regions(LABEL, SEGMENTS, "class", ignore=9)
    assert numbers.tolist() == classes.tolist() == [0, 2]
    assert [mask.sum() for mask in masks] == [3, 6]
    assert (masks[1] == (LABEL == 2)).all()


def test_regions_by_segment_have_their_pixels_class_and_none_ignored():
    numbers, classes, masks = get_regions(LABEL, SEGMENTS, "segment", ignore=9)
    assert (numbers.tolist(), classes.tolist()) == ([3, 5, 8], [2, 0, 2])
    assert [mask.sum() for mask in masks] == [2, 3, 3]


def test_without_segments_the_regions_are_the_classes():
    assert get_regions(LABEL, None, "segment", ignore=9)[0].tolist() == [0, 2]


@pytest.mark.parametrize("kind", ["class", "segment"])
def test_regions_smaller_than_the_minimum_are_left_out(kind):
    numbers, _, masks = get_regions(LABEL, SEGMENTS, kind, ignore=9, min_pixels=4)
    assert numbers.tolist() == ([2] if kind == "class" else [])
    assert masks.shape == (len(numbers), 3, 4)


def test_a_box_is_tight_and_half_open():
    mask = np.zeros((2, 9, 11), bool)
    mask[0, 2:5, 3:11] = mask[1, 8, 0] = True
    assert get_boxes(mask).tolist() == [[2, 3, 5, 11], [8, 0, 9, 1]]


def test_a_mask_without_pixels_has_no_crop():
    with pytest.raises(ValueError, match="without pixels"):
        crop_regions(random_image(8, 8), np.zeros((1, 8, 8), bool), 4)


@pytest.mark.parametrize(("height", "width", "size"), [(200, 300, 64), (50, 41, 64), (64, 64, 64)])
def test_a_crop_is_what_pillow_makes_of_the_grey_painted_box(height, width, size):
    image = 90 + random_image(height, width) // 4  # no overshoot beyond 0..255, which Pillow cuts between its passes
    mask = np.zeros((height, width), bool)
    mask[5 : height - 9, 3 : width - 7] = True
    mask[20:30, 10:20] = False
    painted = np.where(mask[..., None], image, np.round(255 * np.array(CLIP_MEAN)).astype(np.uint8))
    box = Image.fromarray(painted[5 : height - 9, 3 : width - 7])
    expected = np.asarray(box.resize((size, size), Image.Resampling.BICUBIC)).transpose(2, 0, 1) / 255
    crop = crop_regions(image, mask[None], size)[0].numpy()
    assert np.abs(crop - expected).max() < 3 / 255  # Pillow rounds to bytes after each pass


@pytest.mark.parametrize("size", [16, 40])
def test_a_released_crop_is_what_the_released_code_makes_with_pillow(size):
    image, mask = 90 + random_image(30, 40) // 4, np.zeros((30, 40), bool)
    mask[5:21, 8:30] = np.random.default_rng(1).random((16, 22)) < 0.6
    mask[[5, 20], 8], mask[5, 29] = True, True
    rows, columns = mask.nonzero()
    painted = Image.fromarray(image)
    painted.paste((128, 128, 128), mask=Image.fromarray(~mask))
    box = painted.crop((columns.min(), rows.min(), columns.max(), rows.max()))
    assert box.size == (21, 15)
    expected = np.asarray(box.resize((size, size), Image.Resampling.BICUBIC)).transpose(2, 0, 1) / 255
    found = crop_regions(image, mask[None], size, released=True)[0].numpy()
    assert np.abs(found - expected).max() < 3 / 255
    assert np.abs(crop_regions(image, mask[None], size)[0].numpy() - expected).max() > 0.05


def test_a_region_of_one_row_keeps_it_in_a_released_crop():
    image, mask = random_image(8, 8), np.zeros((1, 8, 8), bool)
    mask[0, 3, 2:6] = True
    assert crop_regions(image, mask, 4, released=True).shape == (1, 3, 4, 4)


def test_pixels_outside_the_mask_do_not_change_the_crop():
    image, mask = random_image(30, 30), np.zeros((1, 30, 30), bool)
    mask[0, 4:20, 6:25] = np.random.default_rng(1).random((16, 19)) < 0.7
    other = np.where(mask[0, ..., None], image, random_image(30, 30, seed=2))
    assert torch.equal(crop_regions(image, mask, 32), crop_regions(other, mask, 32))


def test_a_region_smaller_than_a_grid_cell_owns_the_cell_it_lies_in():
    masks = np.zeros((2, 32, 32), bool)
    masks[0, 17:19, 9:11] = True
    masks[1, :16] = True
    grid = cover_cells(masks, (4, 4)) > 0.5
    assert grid[0].nonzero().tolist() == [[2, 1]]
    assert grid[1].sum(1).tolist() == [4, 4, 0, 0]


def test_a_full_mask_at_the_teachers_size_pools_to_clips_own_embedding(teacher):
    image = random_image(64, 64)
    pixels = torch.tensor(image).permute(2, 0, 1)[None] / 255
    mean, std = (
        torch.tensor(v).view(3, 1, 1)
        for v in ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    )
    with torch.no_grad():
        expected = F.normalize(teacher.clip.encode_image((pixels - mean) / std), dim=-1)
    pooled = pool_regions(teacher, MaskedAttentionPool(teacher), image, np.ones((1, 64, 64), bool))
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=1e-4)


def test_mask_pooling_tells_the_regions_of_an_image_apart(teacher):
    image, masks = random_image(128, 160), np.zeros((2, 128, 160), bool)
    masks[0, :64], masks[1, 64:] = True, True
    left, right = pool_regions(teacher, MaskedAttentionPool(teacher), image, masks)
    assert not torch.allclose(left, right, atol=1e-4)


@pytest.mark.parametrize(("kind", "regions"), [("class", [0, 1, 0, 1]), ("segment", [3, 4, 7, 3, 4, 7])])
@pytest.mark.parametrize("encoding", ["crop", "mask_pool"])
def test_embeddings_of_a_data_set_are_its_images_and_survive_the_disk(
    teacher, prepared, tmp_path, kind, regions, encoding
):
    embed_regions(teacher, prepared, kind, 1, encoding, batch_size=3).save(tmp_path / "r.safetensors")
    loaded = RegionEmbeddings.load(tmp_path / "r.safetensors")
    assert (loaded.kind, loaded.encoding, loaded.records) == (kind, encoding, 3)
    assert loaded.region.tolist() == regions
    for index in range(3):
        label, segments = prepared.label(index), prepared.segments(index)
        numbers, classes, masks = get_regions(label, segments, kind, 255)
        found = loaded.of_record(index)
        assert (found[0].tolist(), found[1].tolist()) == (numbers.tolist(), classes.tolist())
        if len(masks):
            expected = encode_alone(teacher, prepared.image(index), masks, encoding)
            torch.testing.assert_close(found[2], expected, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(found[2].norm(dim=-1), torch.ones(len(masks)))
        else:
            assert found[2].shape == (0, 32)


def test_a_data_set_without_regions_is_a_user_error(teacher, prepared):
    with pytest.raises(UserError, match="no region of 5000 pixels"):
        embed_regions(teacher, prepared, "class", 5000, "crop", 8)


def test_a_foreign_file_of_region_embeddings_is_a_user_error(teacher, tmp_path):
    teacher.save(tmp_path / "teacher.safetensors")
    with pytest.raises(UserError, match="region embeddings"):
        RegionEmbeddings.load(tmp_path / "teacher.safetensors")
