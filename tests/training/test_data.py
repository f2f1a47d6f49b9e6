import numpy as np
import pytest
import torch

from builders import ROOT
from opentrans.config import load_config
from opentrans.models.target import IGNORE
from opentrans.training.data import PAD_VALUE, CropSettings, TrainingData, collate


def test_every_epoch_shows_every_image_once_in_another_order(data, dataset):
    epochs = [[data.get_record(epoch * len(dataset) + place) for place in range(len(dataset))] for epoch in range(20)]
    assert all(sorted(epoch) == list(range(len(dataset))) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_an_example_depends_on_seed_and_position_only(data, dataset, embeddings):
    again = TrainingData(dataset, embeddings, data.crop, "class", 1, seed=3)
    other = TrainingData(dataset, embeddings, data.crop, "class", 1, seed=4)
    again.get_example(0)
    assert np.array_equal(data.get_example(7).image, again.get_example(7).image)
    assert any(not np.array_equal(data.get_example(k).image, other.get_example(k).image) for k in range(5))


def test_image_and_label_move_together(data):
    for position in range(10):
        example = data.get_example(position)
        brightness = example.image.mean(-1) // 40
        inner = example.label >= 0
        assert (np.abs(brightness - example.label)[inner] <= 1).mean() > 0.8


def test_what_the_image_does_not_fill_is_padded(dataset, embeddings):
    data = TrainingData(dataset, embeddings, CropSettings(80, (0.5, 0.5), flip=False), "class", 1, seed=0)
    example = data.get_example(0)
    assert example.image.shape == (80, 80, 3)
    assert (example.image[31:] == PAD_VALUE).all()
    assert (example.label[31:] == IGNORE).all()
    assert (example.label[:30, :40] >= 0).any()


def test_regions_carry_the_teachers_embedding_of_their_class(data, dataset, embeddings):
    for position in range(10):
        regions, record = data.get_example(position).regions, data.get_record(position)
        names, _, vectors = embeddings.of_record(record)
        for name, vector, known in zip(regions.classes, regions.embeddings, regions.known, strict=True):
            if known:
                assert torch.equal(vector, vectors[names.tolist().index(int(name))])


def test_a_region_mostly_cut_away_has_no_embedding(dataset, embeddings):
    data = TrainingData(dataset, embeddings, CropSettings(48, (3.0, 3.0)), "class", 1, seed=0)
    known = torch.cat([data.get_example(position).regions.known for position in range(20)])
    assert not known.all()


def test_micro_batches_are_the_parts_of_the_global_batch(data):
    whole = data.get_examples(2, 4, range(4))
    parts = data.get_examples(2, 4, [0, 2]) + data.get_examples(2, 4, [1, 3])
    for index, example in zip([0, 2, 1, 3], parts, strict=True):
        assert np.array_equal(whole[index].image, example.image)
    batch = collate(whole, 9, 1.0, torch.device("cpu"))
    assert batch.images.shape == (4, 3, 48, 48)
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1
    assert batch.labels.dtype == torch.int64


@pytest.mark.parametrize("kind", ["class", "segment"])
def test_a_data_set_without_segments_falls_back_to_classes(dataset, embeddings, kind):
    data = TrainingData(dataset, embeddings, CropSettings(48, (1.0, 1.0)), kind, 1, seed=0)
    assert len(data.get_example(0).regions.classes) > 0


def test_large_scale_jitter_fills_or_pads_a_crop_of_fixed_size(dataset, embeddings):
    """FC-CLIP's augmentation: scaled to fit the crop, times 0.1 to 2, then cut or padded at the right and below."""
    scales = load_config([ROOT / "config/paper.yaml"]).targets["fcclip"].training.scale_range
    assert scales == (0.1, 2.0)
    data = TrainingData(dataset, embeddings, CropSettings(64, scales), "class", 1, seed=0)
    examples = [data.get_example(position) for position in range(60)]
    filled = []
    for example in examples:
        assert example.image.shape == (64, 64, 3)
        padded = (example.image == PAD_VALUE).all(-1) & (example.label == IGNORE)
        rows, columns = (~padded).any(1).sum(), (~padded).any(0).sum()
        assert not padded[:rows, :columns].all()
        assert padded[rows:].all()
        assert padded[:, columns:].all()
        assert not example.regions.masks[:, rows:].any()
        filled.append(max(rows, columns))

    # Images are 48 x 64: from a tenth of the crop to all of it, which is cut from twice its size.
    assert min(filled) < 20
    assert 20 < sum(side == 64 for side in filled) < 50
