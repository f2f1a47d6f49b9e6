import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from builders import IGNORE, write_prepared
from opentrans.errors import UserError
from opentrans.reporting.figures.qualitative import (
    NOT_ANNOTATED,
    SMALL,
    get_colour,
    paint,
    plot_images,
    rank_classes,
)
from opentrans.reporting.images import Predictions, select_images
from opentrans.system.tensors import save_tensors


@pytest.fixture
def dataset(tmp_path):
    """Five images of 8 x 6 pixels: ground truth 0 above, 1 below, the last column not annotated."""
    label = np.zeros((8, 6), np.uint8)
    label[4:] = 1
    label[:, 5] = IGNORE
    names = (("sky",), ("tree", "wood"), ("cat",))
    ids = [f"p{number}" for number in range(5)]
    return write_prepared(tmp_path, [np.zeros((8, 6, 3), np.uint8)] * 5, [label] * 5, names, "pc59", ids=ids)


@pytest.fixture
def predictions(tmp_path, dataset):
    """FC-CLIP and Han et al. see nothing but class 2, and class 0."""
    for target, value in (("fcclip", 2), ("han", 0)):
        maps = {record.image_id: torch.full((8, 6), value, dtype=torch.int16) for record in dataset.records}
        save_tensors(tmp_path / target / "ours/none/seed0/pc59.safetensors", maps)
    return [Predictions.read(path) for path in sorted(tmp_path.rglob("*.safetensors"))]


def test_images_are_evenly_spaced(dataset):
    assert select_images(dataset, 3) == [0, 2, 4]
    assert select_images(dataset, 9) == [0, 1, 2, 3, 4]


def test_a_row_is_image_ground_truth_and_a_column_for_each_target(dataset, predictions):
    figure = plot_images(dataset, [0, 2], predictions)
    assert len(figure.axes) == 2 * 4
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == ["image", "ground truth", "Han et al.\nours", "FC-CLIP\nours"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["1 sky", "2 cat", "3 tree", "other classes, small regions", "not annotated"]
    assert [text.get_text() for text in figure.axes[1].texts] == ["1", "3"]
    han = np.asarray(figure.axes[2].images[0].get_array())
    assert np.allclose(han, to_rgb(get_colour(0)))


def test_small_regions_and_what_is_not_annotated_have_colours_of_their_own():
    classified = np.array([[0, 0, 7, IGNORE]])
    image = paint(classified, [0], IGNORE)
    assert np.allclose(image[0], [to_rgb(get_colour(0))] * 2 + [to_rgb(SMALL), to_rgb(NOT_ANNOTATED)])


def test_classes_are_ranked_by_pixels_and_tiny_ones_left_out():
    classified = np.zeros((10, 20), np.int32)
    classified[:, 12:] = 4
    classified[0, 0] = 9
    classified[1] = IGNORE
    assert rank_classes([[classified]], IGNORE) == [0, 4]


def test_a_missing_or_misshapen_prediction_is_named(tmp_path, dataset, predictions):
    empty = Predictions("han", "ours", "none", {})
    with pytest.raises(UserError, match="prediction of han for image p0: is missing"):
        plot_images(dataset, [0], [empty])
    small = Predictions("han", "ours", "none", {"p0": np.zeros((2, 2), np.int32)})
    with pytest.raises(UserError, match=r"is \(2, 2\), the ground truth \(8, 6\)"):
        plot_images(dataset, [0], [small])


def test_without_predictions_the_figure_says_so(dataset):
    assert "no image was predicted" in plot_images(dataset, [0], []).texts[0].get_text()
