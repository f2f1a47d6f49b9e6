from collections import Counter

import numpy as np
import pytest

from opentrans.errors import UserError
from opentrans.world.lexicon import (
    CAPTIONED,
    CONCEPTS,
    FIRST_STUFF,
    HELD_OUT,
    THINGS,
    VOCABULARIES,
    name,
    swapped_name,
    synonym,
    written_names,
)


def test_the_world_has_180_things_of_which_36_are_held_out_of_captions():
    assert (FIRST_STUFF, CONCEPTS, len(HELD_OUT), len(CAPTIONED)) == (180, 190, 36, 144)
    assert len(set(THINGS)) == 180


def test_every_word_and_every_pair_of_words_is_captioned():
    for first, second in ((0, 1), (0, 2), (1, 2)):
        whole = {(thing[first], thing[second]) for thing in THINGS}
        assert {(THINGS[i][first], THINGS[i][second]) for i in CAPTIONED} == whole


def test_vocabulary_sizes_and_their_unseen_shares():
    trained = set(VOCABULARIES["coco"].concepts)
    assert {key: len(v.concepts) for key, v in VOCABULARIES.items()} == {
        "coco": 50, "ade847": 170, "ade150": 70, "pc459": 120, "pc59": 42, "pas20": 12, "cityscapes": 19,
    }  # fmt: skip
    unseen = {key: len(set(v.concepts) - trained) for key, v in VOCABULARIES.items()}
    assert unseen == {"coco": 0, "ade847": 120, "ade150": 40, "pc459": 80, "pc59": 16, "pas20": 8, "cityscapes": 8}


def test_segmentation_training_names_every_word_but_no_held_out_pair():
    things = VOCABULARIES["coco"].things
    assert not set(things) & set(HELD_OUT)
    counts = Counter(word for i in things for word in THINGS[i])
    assert len(counts) == 6 + 5 + 6
    assert min(counts.values()) >= 3


def test_pc59_is_part_of_pc459():
    assert set(VOCABULARIES["pc59"].concepts) < set(VOCABULARIES["pc459"].concepts)


def test_names_follow_each_data_sets_style():
    star = THINGS.index(("red", "striped", "star"))
    assert (name(star), swapped_name(star), synonym(name(star))) == (
        "red striped star",
        "striped red star",
        "crimson banded star",
    )
    assert any("-merged" in written for written in written_names("coco"))
    assert any("," in written for written in written_names("ade150"))
    with pytest.raises(UserError, match="no such vocabulary"):
        written_names("lvis")


def test_names_are_unique_within_a_vocabulary():
    assert all(len(set(written_names(key))) == len(written_names(key)) for key in VOCABULARIES)
    assert np.all([len(set(v.concepts)) == len(v.concepts) for v in VOCABULARIES.values()])
