import json

import numpy as np
import pytest
import torch

from builders import build_world_config, draw_directions
from opentrans.cli import main
from opentrans.clip.nouns import NounEmbeddings
from opentrans.clip.teacher import Teacher
from opentrans.config import DataConfig
from opentrans.data.nouns import CaptionNouns
from opentrans.data.prepare import prepare
from opentrans.data.prepared import PreparedDataset
from opentrans.errors import UserError
from opentrans.training.data import TrainingData, collate
from opentrans.training.words import CaptionWords, draw_words
from opentrans.world.make import make_world

NOUNS = ("cat", "dog", "tree")


def make_words(dataset):
    captions = tuple((("dog", "cat", "dog", "tree"), ("tree",)) for _ in dataset.records)
    return CaptionWords(CaptionNouns(captions), NounEmbeddings(NOUNS, draw_directions(3, 0)))


def test_a_quarter_of_the_nouns_is_dropped_but_never_all():
    generator = np.random.default_rng(0)
    drawn = [draw_words([["a", "b", "c"]], generator) for _ in range(4000)]
    # Each stays with 3/4; all three are dropped in one of 64 draws, which then keeps all three.
    assert np.mean([len(words) for words in drawn]) == pytest.approx(9 / 4 + 3 / 64, abs=0.05)
    assert all(words and words == sorted(words) for words in drawn)


def test_of_many_nouns_five_are_drawn_and_repetitions_stay():
    generator = np.random.default_rng(0)
    drawn = [draw_words([["dog"] * 4 + ["cat"] * 16], generator) for _ in range(500)]
    assert {len(words) for words in drawn} == {5}
    assert np.mean([words.count("dog") for words in drawn]) == pytest.approx(1.0, abs=0.15)


def test_every_caption_of_an_image_comes_up_and_one_may_have_no_noun():
    generator = np.random.default_rng(0)
    drawn = [tuple(draw_words([["a"], [], ["b"]], generator)) for _ in range(600)]
    shares = {words: drawn.count(words) / 600 for words in set(drawn)}
    assert shares == {key: pytest.approx(1 / 3, abs=0.06) for key in (("a",), (), ("b",))}
    assert draw_words([], generator) == []


def test_words_depend_on_seed_and_position_alone(data, dataset, embeddings):
    def make(seed, words):
        return TrainingData(dataset, embeddings, data.crop, "class", 1, seed, words)

    words = make_words(dataset)
    first, again, other = make(3, words), make(3, words), make(4, words)
    drawn = [first.get_example(position).words for position in range(20)]
    for position in reversed(range(20)):
        assert torch.equal(again.get_example(position).words, drawn[position])
    assert any(not torch.equal(other.get_example(position).words, drawn[position]) for position in range(20))

    # Augmentation is as without words.
    for position in range(5):
        assert np.array_equal(first.get_example(position).image, data.get_example(position).image)


def test_a_batch_holds_the_words_of_its_images(data, dataset, embeddings):
    with_words = TrainingData(dataset, embeddings, data.crop, "class", 1, 3, make_words(dataset))
    examples = [with_words.get_example(position) for position in range(3)]
    batch = collate(examples, 1, 1.0, torch.device("cpu"))
    assert all(torch.equal(*pair) for pair in zip(batch.words, [each.words for each in examples], strict=True))
    assert collate([data.get_example(0)], 1, 1.0, torch.device("cpu")).words is None


def test_a_noun_without_embedding_is_refused(dataset):
    nouns = CaptionNouns(((("dog", "bird"),),))
    with pytest.raises(UserError, match="'bird' is missing"):
        CaptionWords(nouns, NounEmbeddings(NOUNS, draw_directions(3, 0)))


def test_embeddings_of_nouns_survive_their_file_and_others_are_refused(tmp_path, project):
    written = NounEmbeddings(NOUNS, draw_directions(3, 0))
    written.save(tmp_path / "nouns.safetensors")
    read = NounEmbeddings.load(tmp_path / "nouns.safetensors")
    assert read.names == NOUNS
    assert torch.equal(read.embeddings, written.embeddings)
    with pytest.raises(UserError, match="embed the nouns again"):
        NounEmbeddings.load(project.folder / "regions.safetensors")


def test_a_target_that_grounds_needs_the_nouns(project, capsys):
    words = project.train("han")
    start = words.index("--grounding")
    assert main(words[:start] + words[start + 3 :]) == 2
    assert "its grounding loss needs the nouns of captions" in capsys.readouterr().err


def test_the_grounding_term_is_in_the_log(project):
    assert main(project.train("han", name="first")) == 0
    header = (project.folder / "first/checkpoint.csv").read_text().splitlines()[0]
    assert "grounding" in header.split(",")


def test_the_mini_worlds_nouns_come_from_its_lexicon(tmp_path, project, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_world(build_world_config(), tmp_path / "world")
    folder = tmp_path / "train"
    prepare("coco", "train", DataConfig(raw_root=str(tmp_path / "world")), folder)
    common = ["--config", str(project.folder / "config.yaml"), "--dataset", str(folder)]
    assert main(["prepare-nouns", *common, "--raw-root", str(tmp_path / "world")]) == 0

    nouns = CaptionNouns.read(folder / "nouns.json", PreparedDataset.open(folder))
    content = json.loads((tmp_path / "world/coco/annotations/captions_train2017.json").read_text())
    for (found,), annotation in zip(nouns.captions, content["annotations"], strict=True):
        things, stuff = annotation["caption"].split(" on ")
        last_words = [phrase.split()[-1] for phrase in things.split(" and ") + stuff.split(" and ")]
        assert list(found) == last_words

    files = ["--teacher", str(project.folder / "teacher.safetensors"), "--nouns", str(folder / "nouns.json")]
    assert main(["embed-nouns", *common, *files, "--output", str(tmp_path / "nouns.safetensors")]) == 0
    embedded = NounEmbeddings.load(tmp_path / "nouns.safetensors")
    assert list(embedded.names) == nouns.distinct
    teacher = Teacher.load(project.folder / "teacher.safetensors")
    torch.testing.assert_close(embedded.embeddings, teacher.encode_texts(nouns.distinct))
