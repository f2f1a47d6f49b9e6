import numpy as np
import pytest
from open_clip import OPENAI_DATASET_MEAN

from opentrans.world.captions import CLIP_GREY, crop, make_test_images, make_training_images
from opentrans.world.drawing import PATTERN_INK, SHAPE_MASKS, draw_thing
from opentrans.world.lexicon import HELD_OUT, PATTERNS, SHAPES, THINGS, VOCABULARIES, name
from opentrans.world.scenes import Scene, make_generator, make_scenes

COCO = VOCABULARIES["coco"]


def test_a_circle_has_the_area_of_a_circle():
    mask, _ = draw_thing(THINGS.index(("red", "plain", "circle")), 200, np.random.default_rng(0))
    assert mask.mean() == pytest.approx(np.pi * 0.86 / 4, abs=0.005)


def test_all_shapes_and_patterns_differ():
    line = np.linspace(-1, 1, 60, dtype=np.float32)
    u, v = np.meshgrid(line, -line)
    assert (set(SHAPE_MASKS), set(PATTERN_INK)) == (set(SHAPES), set(PATTERNS))
    for drawn in (SHAPE_MASKS, PATTERN_INK):
        images = [draw(u, v) for draw in drawn.values()]
        gaps = [np.mean(a != b) for i, a in enumerate(images) for b in images[:i]]
        assert min(gaps) > 0.05


def test_scenes_hold_only_what_they_were_given_and_cover_every_thing():
    scenes = list(make_scenes(1, "x", 60, 64, COCO.things, COCO.stuff))
    found = set().union(*(np.unique(scene.concepts) for scene in scenes)) - {-1}
    assert found <= set(COCO.concepts)
    assert set(COCO.things) <= found


def test_a_scene_does_not_depend_on_how_many_follow_it():
    few = make_generator(5, "a", 0).random()
    assert few == make_generator(5, "a", 0).random()
    assert few != make_generator(5, "a", 1).random()
    assert few != make_generator(6, "a", 0).random()


def test_regions_part_the_labelled_pixels():
    for scene in make_scenes(2, "x", 8, 64, COCO.things, COCO.stuff):
        total = np.sum([mask for _, mask in scene.regions()], axis=0)
        np.testing.assert_array_equal(total, scene.concepts >= 0)
        assert all(np.unique(scene.concepts[mask]).tolist() == [concept] for concept, mask in scene.regions())


def test_the_grey_outside_a_region_is_clips_mean_colour():
    assert tuple(round(255 * value) for value in OPENAI_DATASET_MEAN) == CLIP_GREY


def test_a_crop_is_the_tight_box_with_grey_outside():
    image = np.full((8, 8, 3), 200, np.uint8)
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:6] = mask[4:6, 2:4] = True
    cut = crop(Scene(image, np.zeros((8, 8), int), np.zeros((8, 8), int)), mask, 4)
    assert (cut[:2] == 200).all()
    assert (cut[3, 3] == CLIP_GREY).all()


def test_training_captions_never_name_a_held_out_combination():
    held = {name(index) for index in HELD_OUT}
    images = list(make_training_images(0, 120, 16, 48))
    assert len(images) == 120
    assert {each.kind for each in images} == {"object", "stuff", "crop"}
    assert not {each.name for each in images} & held


def test_the_zero_shot_test_holds_as_many_held_out_as_seen_things():
    held = {name(index) for index in HELD_OUT}
    images = list(make_test_images(0, 40, 16, 48))
    assert len(images) == 80
    assert sum(each.name in held for each in images) == 40
    assert all(each.caption == each.name for each in images)
    assert sum(each.kind == "crop" for each in images) == 40
