import pytest
import torch
from open_clip import tokenizer

from opentrans.clip.text import PromptCache, TextEmbeddings, embed_vocabulary
from opentrans.data.prepared import Vocabulary
from opentrans.errors import UserError

VOCABULARY = Vocabulary("toy", (("dog", "hound", "puppy"), ("cat",), ("sea", "water")), 255)
TEMPLATES = ["{}", "a photo of a {}."]


def encode_one(teacher, prompt: str) -> torch.Tensor:
    tokens = tokenizer.SimpleTokenizer(context_length=16)([prompt])
    with torch.no_grad():
        row = teacher.clip.encode_text(tokens)[0].double()
    return row / row.norm()


def test_the_ensemble_is_each_synonyms_normalised_mean_over_templates(teacher):
    found = embed_vocabulary(teacher, VOCABULARY, TEMPLATES)
    names = ["dog", "hound", "puppy", "cat", "sea", "water"]
    for row, name in zip(found.embeddings, names, strict=True):
        mean = sum(encode_one(teacher, template.format(name)) for template in TEMPLATES) / 2
        torch.testing.assert_close(row.double(), mean / mean.norm(), atol=1e-5, rtol=1e-4)
    assert found.class_index.tolist() == [0, 0, 0, 1, 2, 2]
    assert len(found) == 3


def test_plain_prompts_are_one_row_a_class_with_synonyms_joined_by_commas(teacher):
    found = embed_vocabulary(teacher, VOCABULARY, None)
    for row, name in zip(found.embeddings, ["dog, hound, puppy", "cat", "sea, water"], strict=True):
        torch.testing.assert_close(row.double(), encode_one(teacher, name), atol=1e-5, rtol=1e-4)
    assert found.class_index.tolist() == [0, 1, 2]


def test_a_class_scores_as_its_best_synonym():
    embeddings = TextEmbeddings(torch.eye(4), torch.tensor([0, 0, 1, 2]))
    scores = torch.tensor([[[-3.0, -1.0, 0.5, 2.0]], [[4.0, 3.0, -7.0, 0.0]]])
    assert embeddings.class_scores(scores).tolist() == [[[-1.0, 0.5, 2.0]], [[4.0, -7.0, 0.0]]]


def test_text_embeddings_survive_the_disk_and_a_foreign_file_does_not_pass(teacher, tmp_path):
    made = embed_vocabulary(teacher, VOCABULARY, None)
    made.save(tmp_path / "text.safetensors")
    loaded = TextEmbeddings.load(tmp_path / "text.safetensors")
    assert torch.equal(loaded.embeddings, made.embeddings)
    assert torch.equal(loaded.class_index, made.class_index)
    teacher.save(tmp_path / "teacher.safetensors")
    with pytest.raises(UserError, match="embeddings and class_index expected"):
        TextEmbeddings.load(tmp_path / "teacher.safetensors")


def test_a_prompt_that_several_vocabularies_share_is_encoded_once(teacher):
    asked = []

    class Recorder:
        def encode_texts(self, prompts):
            asked.extend(prompts)
            return teacher.encode_texts(prompts)

    cache = PromptCache(Recorder())
    found = [embed_vocabulary(cache, VOCABULARY, TEMPLATES) for _ in range(2)]
    embed_vocabulary(cache, VOCABULARY, None)
    assert sorted(asked) == sorted(set(asked))
    assert torch.equal(found[0].embeddings, found[1].embeddings)
    torch.testing.assert_close(found[0].embeddings, embed_vocabulary(teacher, VOCABULARY, TEMPLATES).embeddings)
