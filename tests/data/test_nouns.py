import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from builders import write_prepared
from opentrans.config import DataConfig
from opentrans.data.nouns import (
    CaptionNouns,
    clean_nouns,
    make_lexicon_tagger,
    make_nltk_tagger,
    prepare_nouns,
    read_captions,
)
from opentrans.errors import UserError

# Two captions of the first image, one of the second.
CAPTIONS = {
    "images": [{"id": 7, "file_name": "000007.jpg"}, {"id": 9, "file_name": "000009.jpg"}],
    "annotations": [
        {"image_id": 7, "id": 1, "caption": "A dog and a dog, on GRASS"},
        {"image_id": 9, "id": 2, "caption": "nothing here"},
        {"image_id": 7, "id": 3, "caption": "one cat"},
    ],
}
TAGS = {"dog": "NN", "GRASS": "NNP", "cat": "NN", "nothing": "NN", "one": "CD"}


@pytest.fixture
def download(tmp_path):
    """COCO's folder with captions and no list of nouns."""
    annotations = tmp_path / "raw/coco/annotations"
    annotations.mkdir(parents=True)
    (annotations / "captions_train2017.json").write_text(json.dumps(CAPTIONS))
    return annotations


@pytest.fixture
def prepared(tmp_path):
    images = [np.zeros((4, 4, 3), np.uint8)] * 3
    labels = [np.zeros((4, 4), np.uint8)] * 3
    return write_prepared(tmp_path / "prepared", images, labels, [("dog",)], ids=["000007", "000009", "000011"])


@pytest.fixture
def config(tmp_path):
    return DataConfig(raw_root=str(tmp_path / "raw"))


@pytest.fixture
def fake_nltk(monkeypatch):
    """Stands in for NLTK: words are split at blanks and commas, tags come from a table; its data are there."""

    def find(place):
        if place in module.missing:
            raise LookupError

    def tokenize(text):
        return text.replace(",", " , ").split()

    module = SimpleNamespace(missing=set(), data=SimpleNamespace(path=["/usr/share/nltk_data"], find=find))
    module.word_tokenize = tokenize
    module.pos_tag = lambda words: [(word, TAGS.get(word, "DT")) for word in words]
    monkeypatch.setitem(sys.modules, "nltk", module)
    return module


def test_captions_belong_to_the_images_by_their_files_names(download):
    captions = read_captions(download / "captions_train2017.json")
    assert captions == {"000007": ["A dog and a dog, on GRASS", "one cat"], "000009": ["nothing here"]}


def test_nouns_of_nltk_keep_their_order_and_repetitions(download, prepared, config, fake_nltk):
    prepare_nouns(prepared, config)
    nouns = CaptionNouns.read(prepared.folder / "nouns.json", prepared)
    assert nouns.captions == ((("dog", "dog", "GRASS"), ("cat",)), (("nothing",),), ())
    assert nouns.distinct == ["GRASS", "cat", "dog", "nothing"]


def test_nouns_of_a_list_beside_the_captions_need_no_nltk(download, prepared, config, monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)
    (download / "nouns.json").write_text(json.dumps(["dog", "grass"]))
    prepare_nouns(prepared, config)
    nouns = CaptionNouns.read(prepared.folder / "nouns.json", prepared)
    assert nouns.captions == ((("dog", "dog", "grass"), ()), ((),), ())


def test_the_captions_are_those_of_the_split_that_stands_in(download, prepared, config, fake_nltk):
    (download / "captions_train2017.json").rename(download / "captions_val2017.json")
    prepare_nouns(prepared, config.model_copy(update={"splits": {"coco_train": "val"}}))
    assert CaptionNouns.read(prepared.folder / "nouns.json", prepared).captions[0][1] == ("cat",)


def test_nouns_are_cleaned_as_class_names_are():
    assert clean_nouns(["wall-other-merged", "t-shirt", "-", "dog"]) == ["wall", "t shirt", "dog"]


def test_missing_captions_are_named_with_where_to_get_them(prepared, config):
    with pytest.raises(UserError, match=r"captions_train2017.json: no such file; unpack annotations_trainval2017.zip"):
        prepare_nouns(prepared, config)


def test_captions_of_other_images_are_refused(download, prepared, config, fake_nltk):
    content = CAPTIONS | {"images": [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}]}
    (download / "captions_train2017.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="holds no caption of the training images"):
        prepare_nouns(prepared, config)


@pytest.mark.parametrize("content", [{"images": []}, {"images": [], "annotations": [{"image_id": 1, "caption": ""}]}])
def test_another_file_than_captions_is_refused(tmp_path, content):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="no captions of COCO's"):
        read_captions(path)


@pytest.mark.parametrize("place", ["tokenizers/punkt_tab/english/", "taggers/averaged_perceptron_tagger_eng/"])
def test_missing_data_of_nltk_are_named_with_what_to_do(fake_nltk, place):
    fake_nltk.missing.add(place)
    name = place.split("/")[1]
    with pytest.raises(UserError, match=rf"^/my/data: NLTK's {name} is not there; download .* unpack") as caught:
        make_nltk_tagger("/my/data")
    assert "data.nltk_data" in str(caught.value)
    assert fake_nltk.data.path[0] == "/my/data"


def test_a_damaged_list_of_nouns_is_refused(tmp_path):
    path = tmp_path / "nouns.json"
    path.write_text("{}")
    with pytest.raises(UserError, match="is no list of nouns"):
        make_lexicon_tagger(path)


def test_nouns_of_other_images_are_refused(download, prepared, config, fake_nltk, tmp_path):
    path = tmp_path / "nouns.json"
    path.write_text(json.dumps({"images": {"000007": []}}))
    with pytest.raises(UserError, match="image or field '000009' is missing"):
        CaptionNouns.read(path, prepared)


def write_nltk_data(folder):
    """A tokenizer that knows nothing and a tagger that knows five words, in the files of NLTK's packages."""
    tokenizer, tagger = folder / "tokenizers/punkt_tab/english", folder / "taggers/averaged_perceptron_tagger_eng"
    tagger.mkdir(parents=True)
    tokenizer.mkdir(parents=True)
    for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
        (tokenizer / name).write_text("")
    tags = {"a": "DT", "dog": "NN", "on": "IN", "mats": "NNS", ".": "."}
    for name, content in (("weights", {}), ("tagdict", tags), ("classes", sorted({*tags.values()}))):
        (tagger / f"averaged_perceptron_tagger_eng.{name}.json").write_text(json.dumps(content))


def test_nltk_itself_reads_its_data_from_the_folder(tmp_path):
    pytest.importorskip("nltk")
    write_nltk_data(tmp_path / "complete")
    assert make_nltk_tagger(str(tmp_path / "complete"))("a dog on mats.") == ["dog", "mats"]


def test_incomplete_data_of_nltk_are_refused_before_the_captions(fake_nltk):
    def fail(words):
        raise LookupError("no weights")

    fake_nltk.pos_tag = fail
    with pytest.raises(UserError, match=r"NLTK's data are incomplete \(no weights\); download"):
        make_nltk_tagger(None)
