import csv

import numpy as np
import pytest
from PIL import Image

import opentrans
from opentrans.cli import main
from opentrans.data.palette import get_colours
from opentrans.errors import UserError
from opentrans.prediction.drawing import draw_overlay
from opentrans.prediction.images import find_images, get_image, read_image
from opentrans.prediction.segment import load_segmenter
from opentrans.prediction.words import parse_classes
from opentrans.runs.find import find_run

WORDS = "sky, dog|puppy|small dog, zebra"


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)).save(path)
    return path


def predict(finished_profile, *arguments, run="han"):
    place = finished_profile / f"training/{run}/dense/none/seed0"
    return main(["predict", *map(str, arguments), "--run", str(place), "--device", "cpu"])


@pytest.mark.parametrize("kind", ["han", "deeplabv3", "fcclip"])
def test_every_target_segments_an_image_with_new_words(kind, finished_profile, photo, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # nothing is taken from the working directory, no configuration either
    assert predict(finished_profile, "photo.jpg", "--classes", WORDS, run=kind) == 0
    labels = Image.open("predictions/photo_labels.png")
    assert labels.mode == "P"
    values = np.asarray(labels)
    assert values.shape == (50, 70)
    rows = list(csv.DictReader(open("predictions/photo_legend.csv")))  # noqa: SIM115, PTH123
    assert [row["synonyms"] for row in rows] == ["sky", "dog|puppy|small dog", "zebra"]
    assert [int(row["pixels"]) for row in rows] == np.bincount(values.ravel(), minlength=3).tolist()
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1)
    assert Image.open("predictions/photo_overlay.png").size == (700, 500)
    assert Image.open("predictions/photo_legend.png").width > 60
    out = capsys.readouterr().out
    assert all(f"{float(row['share']):.1%}" in out for row in rows if int(row["pixels"]))


def test_a_prediction_is_the_targets_own_with_its_configurations_prompts(finished_profile, photo):
    import torch

    from opentrans.clip.teacher import Teacher
    from opentrans.clip.text import embed_vocabulary
    from opentrans.evaluation.evaluate import resize_image
    from opentrans.evaluation.loading import load_run

    found, vocabulary = find_run(finished_profile / "training/fcclip/dense/none/seed0"), parse_classes(WORDS)
    image = read_image(photo)
    text = embed_vocabulary(Teacher.load(found.teacher), vocabulary, found.config.teacher.templates)
    with torch.inference_mode():
        expected = load_run(found).predict(resize_image(image, None, 1333), text, (50, 70))
    segmenter = load_segmenter(found, vocabulary)
    assert len(segmenter.classes.embeddings) == 5  # one for each synonym
    np.testing.assert_array_equal(segmenter(image), expected)
    plain = load_segmenter(find_run(finished_profile / "training/han/dense/none/seed0"), vocabulary)
    assert len(plain.classes.embeddings) == 3


def test_a_large_image_is_reduced_to_the_size_that_the_run_knows(finished_profile, monkeypatch):
    segmenter = load_segmenter(find_run(finished_profile / "training/han/dense/none/seed0"), parse_classes(WORDS))
    seen = []
    predict_as_is = segmenter.target.predict

    def record(image, text, size):
        seen.append((tuple(image.shape[1:]), size))
        return predict_as_is(image, text, size)

    monkeypatch.setattr(segmenter.target, "predict", record)
    for height in (48, 192):
        assert segmenter(np.zeros((height, 2 * height, 3), np.uint8)).shape == (height, 2 * height)
    assert seen == [((48, 96), (48, 96)), ((96, 192), (192, 384))]


def test_an_image_is_segmented_from_python_as_a_file_a_picture_or_an_array(finished_profile, photo):
    run = finished_profile / "training/han/dense/none/seed0"
    segmentation = opentrans.predict(photo, WORDS, run=run, device="cpu")
    assert segmentation.names == ["sky", "dog", "zebra"]
    assert segmentation.labels.shape == (50, 70)
    expected = load_segmenter(find_run(run), parse_classes(WORDS))(read_image(photo))
    np.testing.assert_array_equal(segmentation.labels, expected)
    words = [part.strip() for part in WORDS.split(",")]
    for image in (str(photo), Image.open(photo), read_image(photo)):
        again = opentrans.predict(image, words, run=str(run), device="cpu")
        np.testing.assert_array_equal(again.labels, expected)


@pytest.mark.parametrize("image", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)])
def test_an_array_that_is_no_rgb_image_is_refused(image):
    with pytest.raises(UserError, match="is no RGB image"):
        get_image(image)


def test_a_folder_is_segmented_without_what_was_written_there_before(finished_profile, photo, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for name in ("a.png", "b.jpg", "b.png", "a_overlay.png", "notes.txt"):
        (folder / name).write_bytes(photo.read_bytes())
    assert list(find_images([folder, folder / "a.png"])) == ["a", "b-1", "b-2"]
    assert predict(finished_profile, folder, "--classes", WORDS, "--output-dir", folder) == 0
    assert len(list(folder.glob("*_labels.png"))) == 3


def test_exif_rotation_transparency_and_deep_greys_are_respected(tmp_path):
    values = np.zeros((20, 30, 3), np.uint8)
    values[:, :15, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(values).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(values, -1))
    Image.fromarray(np.zeros((4, 4, 4), np.uint8)).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png") == 255).all()
    Image.fromarray(np.linspace(0, 60000, 16).reshape(4, 4).astype(np.uint16)).save(tmp_path / "deep.png")
    deep = read_image(tmp_path / "deep.png")
    assert (deep[0, 0, 0], deep[3, 3, 0]) == (0, 255)
    assert len(np.unique(deep)) == 16


def test_words_are_classes_with_synonyms_from_text_or_file(tmp_path):
    expected = (("dog", "small dog"), ("cat",))
    assert parse_classes(" dog | small  dog,cat ,").names == expected
    (tmp_path / "words.txt").write_text("# pets\ndog|small dog\n\ncat\n")
    assert parse_classes(f"@{tmp_path / 'words.txt'}").names == expected


@pytest.mark.parametrize("text", ["", " , ", "dog|, cat", "dog, cat|Dog", "@nowhere.txt"])
def test_words_that_make_no_vocabulary_are_refused(text):
    with pytest.raises(UserError, match=r"classes: |nowhere\.txt"):
        parse_classes(text)


def test_bad_input_is_named_before_anything_is_loaded(finished_profile, photo, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("opentrans.prediction.segment.load_segmenter", lambda *_: pytest.fail("loaded"))
    (tmp_path / "broken.jpg").write_bytes(photo.read_bytes()[:200])
    (tmp_path / "empty").mkdir()
    for path, message in (
        (tmp_path / "absent.jpg", "no such image"),
        (tmp_path / "broken.jpg", "cannot be read as an image"),
        (tmp_path / "empty", "holds no image"),
    ):
        assert predict(finished_profile, path, "--classes", WORDS) == 2
        assert message in capsys.readouterr().err
    assert predict(finished_profile, photo, "--classes", WORDS, "--alpha", 3) == 2
    assert main(["predict", str(photo), "--classes", WORDS, "--run", str(finished_profile)]) == 2
    assert "take one of the runs in it" in capsys.readouterr().err


def test_the_overlay_mixes_colours_and_keeps_small_images_readable():
    labels = np.zeros((600, 500), int)
    labels[:, 250:] = 1
    image = np.full((600, 500, 3), 100, np.uint8)
    overlay = np.asarray(draw_overlay(image, labels, ["a", "b"], 0.5))
    assert overlay.shape == image.shape
    np.testing.assert_array_equal(overlay[5, 5], np.rint(0.5 * 100 + 0.5 * get_colours(2)[0]))
    assert (overlay[5, 250] == 255).all()
    assert draw_overlay(image[:60, :50], labels[:60, :50], ["a", "b"], 0.5).size == (500, 600)


def test_colours_differ_and_prefixes_agree():
    colours = get_colours(200)
    assert len(np.unique(colours, axis=0)) == 200
    np.testing.assert_array_equal(get_colours(7), colours[:7])
