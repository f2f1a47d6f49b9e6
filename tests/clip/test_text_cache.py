import multiprocessing
from dataclasses import replace

import pytest
import torch

from opentrans.clip import text_cache
from opentrans.clip.teacher import Teacher
from opentrans.clip.text import embed_vocabulary
from opentrans.clip.text_cache import TextEmbedder
from opentrans.data.prepared import Vocabulary
from opentrans.errors import UserError

VOCABULARY = Vocabulary("toy", (("dog", "hound"), ("cat",)), 255)
TEMPLATES = ["{}", "a photo of a {}."]


@pytest.fixture
def path(teacher, tmp_path):
    teacher.save(tmp_path / "teacher.safetensors")
    return tmp_path / "teacher.safetensors"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def loads(monkeypatch):
    """How often a teacher was loaded."""
    made, load = [], Teacher.load
    monkeypatch.setattr(Teacher, "load", lambda path: made.append(path) or load(path))
    return made


@pytest.mark.parametrize("templates", [None, TEMPLATES])
def test_the_second_job_reads_what_the_first_one_made_and_loads_no_teacher(path, folder, loads, teacher, templates):
    first = TextEmbedder(path, folder=folder).embed(VOCABULARY, templates)
    second = TextEmbedder(path, folder=folder).embed(VOCABULARY, templates)
    assert len(loads) == 1
    assert torch.equal(first.embeddings, second.embeddings)
    assert torch.equal(first.class_index, second.class_index)
    torch.testing.assert_close(first.embeddings, embed_vocabulary(teacher, VOCABULARY, templates).embeddings)


def test_names_templates_and_teacher_each_make_another_entry(path, folder, teacher):
    embedder = TextEmbedder(path, folder=folder)
    keys = {embedder.get_key(VOCABULARY, TEMPLATES)}
    keys.add(embedder.get_key(VOCABULARY, None))
    keys.add(embedder.get_key(VOCABULARY, TEMPLATES[::-1]))
    keys.add(embedder.get_key(replace(VOCABULARY, names=VOCABULARY.names[::-1]), TEMPLATES))
    keys.add(embedder.get_key(replace(VOCABULARY, names=(("dog",), ("hound",), ("cat",))), TEMPLATES))
    with torch.no_grad():
        teacher.clip.logit_scale.add_(1)
        teacher.save(path)
        teacher.clip.logit_scale.sub_(1)
    keys.add(TextEmbedder(path, folder=folder).get_key(VOCABULARY, TEMPLATES))
    assert len(keys) == 6


def test_the_name_of_the_data_set_makes_no_other_entry(path, folder):
    embedder = TextEmbedder(path, folder=folder)
    assert embedder.get_key(VOCABULARY, None) == embedder.get_key(replace(VOCABULARY, dataset="mine", ignore=0), None)


def test_a_damaged_entry_is_made_again(path, folder, caplog):
    first = TextEmbedder(path, folder=folder).embed(VOCABULARY, None)
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(whole[:100])
    again = TextEmbedder(path, folder=folder).embed(VOCABULARY, None)
    assert torch.equal(first.embeddings, again.embeddings)
    assert entry.read_bytes() == whole
    assert "recreated" in caplog.text


def test_a_cache_that_cannot_be_written_costs_a_warning_only(path, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    found = TextEmbedder(path, folder=tmp_path / "file" / "cache").embed(VOCABULARY, None)
    assert len(found) == 2
    assert "not kept" in caplog.text


def test_a_missing_teacher_is_named_though_nothing_is_embedded(tmp_path, folder):
    with pytest.raises(UserError, match=r"teacher\.safetensors"):
        TextEmbedder(tmp_path / "teacher.safetensors", folder=folder).embed(VOCABULARY, None)


def test_the_users_cache_folder_is_the_default(path, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    TextEmbedder(path).embed(VOCABULARY, None)
    assert len(list((tmp_path / "home/opentrans/text").iterdir())) == 1


def embed_in_a_job(arguments):
    path, folder = arguments
    torch.set_num_threads(1)
    return TextEmbedder(path, folder=folder).embed(VOCABULARY, TEMPLATES).embeddings.numpy()


@pytest.mark.workflow
def test_jobs_that_embed_at_once_agree_and_leave_one_whole_entry(path, folder, caplog):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.map(embed_in_a_job, [(path, folder)] * 6, chunksize=1)
    assert all((found[0] == other).all() for other in found)
    assert len(list(folder.iterdir())) == 1
    assert not caplog.text
    assert text_cache.TextEmbeddings.load(next(folder.iterdir())).embeddings.shape == (3, 32)
