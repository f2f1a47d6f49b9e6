import numpy as np
import pytest
import torch

from opentrans.clip.text import PromptCache, embed_vocabulary
from opentrans.data.name_lists import read_names, take_names
from opentrans.data.prepared import Vocabulary
from opentrans.errors import UserError
from opentrans.models.classifier import TextClassifier, class_cosines

OWN = Vocabulary("coco", (("person",), ("light",), ("wall brick",), ("sky",)), 255)


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "names.txt").write_text(text)
        return tmp_path / "names.txt"

    return write


class Words:
    """Encodes each prompt by itself: another unit vector for every text."""

    def __init__(self):
        self.known = {}

    def encode_texts(self, prompts):
        for prompt in prompts:
            self.known.setdefault(prompt, len(self.known))
        return torch.eye(32)[[self.known[prompt] for prompt in prompts]]


def test_plain_lines_are_the_classes_in_order(write):
    path = write("person, child,man\n\nlamp\nbrick wall\nsky,clouds\n")
    assert read_names(path, 4) == [("person", "child", "man"), ("lamp",), ("brick wall",), ("sky", "clouds")]


def test_indexed_lines_leave_out_what_is_no_class(write):
    path = write("0:invalid_class_id\n1:person,child\n3:lamp\n7:brick wall\n8:sky\n9:invalid_class_id\n")
    assert read_names(path, 4) == [("person", "child"), ("lamp",), ("brick wall",), ("sky",)]


def test_index_0_is_a_class_or_a_background_by_the_count(write):
    path = write("0:road,railroad\n1:sidewalk\n")
    assert read_names(path, 2) == [("road", "railroad"), ("sidewalk",)]
    assert read_names(path, 1) == [("sidewalk",)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("person\nlamp\nbrick wall\n", "names 3 classes, the vocabulary has 4"),
        ("1:person\n2:lamp\n2:wall\n4:sky\n", "index 2 is listed twice"),
        ("1:person\nlamp\n3:wall\n4:sky\n", "line 2: has no index"),
        ("1:person\n2:\n3:wall\n4:sky\n", "class 2: has no name"),
        ("road\nlane\ncar\nriver\n", r"no line fits class 0 \(person\)"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(write, text, message):
    with pytest.raises(UserError, match=message):
        take_names(OWN, {"coco": str(write(text))})


def test_a_list_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.txt: no such file"):
        take_names(OWN, {"coco": str(tmp_path / "none.txt")})


def test_renamed_classes_keep_their_place(write):
    # Nothing ties the lamp to the light but its place, as in FC-CLIP's list of COCO.
    named = take_names(OWN, {"coco": str(write("1:person,child\n2:lamp\n3:wall brick,brick wall\n4:sky\n"))})
    assert named.names[1] == ("lamp",)
    assert (named.dataset, named.ignore) == ("coco", 255)
    assert take_names(OWN, {"pc59": "nowhere.txt"}) is OWN


def test_lines_in_another_order_are_paired_by_name(write):
    own = [("case", "display case"), ("counter",), ("buffet", "counter", "sideboard"), ("fan",), ("wall",), ("tree",)]
    lines = ["wall,walls", "display case,case,vitrine", "ceiling fan", "counter,counters", "tree,trees"]
    lines.append("buffet,counter,sideboard")
    vocabulary = Vocabulary("ade847", tuple(own), 65535)
    text = "0:invalid_class_id\n" + "".join(f"{number}:{line}\n" for number, line in enumerate(lines, 1))
    wanted = [1, 3, 5, 2, 0, 4]
    found = take_names(vocabulary, {"ade847": str(write(text))})
    assert [",".join(names) for names in found.names] == [lines[number] for number in wanted]


def test_lists_decide_the_best_synonym_and_what_is_seen(write):
    """Beside a plain loop over strings, as FC-CLIP decides which classes overlap with training."""
    train = take_names(OWN, {"coco": str(write("person,child\nlight,lamp\nwall brick\nsky,clouds\n"))})
    test = Vocabulary("ade150", (("person", "man"), ("bulb", "lamp"), ("tree",), ("clouds",), ("wall",)), 255)
    encoder = PromptCache(Words())
    texts = [embed_vocabulary(encoder, vocabulary, ["{}"]) for vocabulary in (train, test)]

    names = {name for synonyms in train.names for name in synonyms}
    overlapping = [bool(names & set(synonyms)) for synonyms in test.names]
    assert overlapping == [True, True, False, True, False]
    assert TextClassifier(texts[0]).get_seen(texts[1]).tolist() == overlapping

    generator = np.random.default_rng(0)
    direction = torch.from_numpy(generator.normal(size=(1, 32))).float()
    scores = class_cosines(direction, texts[1])[0]
    for score, synonyms in zip(scores, test.names, strict=True):
        assert score == max(direction[0] @ encoder.known[name] for name in synonyms)
