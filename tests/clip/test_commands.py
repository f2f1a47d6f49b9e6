import argparse
import csv
import dataclasses
import json
from types import ModuleType, SimpleNamespace

import pytest
import torch

from opentrans.clip.region_embeddings import RegionEmbeddings
from opentrans.clip.teacher import Teacher
from opentrans.clip.text import TextEmbeddings, embed_vocabulary
from opentrans.commands import embed_regions, embed_vocabularies, import_teacher, train_teacher
from opentrans.config import DataConfig, PretrainingConfig, TeacherConfig, ThreadConfig
from opentrans.data.prepared import Vocabulary
from opentrans.errors import UserError

RECIPE = PretrainingConfig(iterations=4, batch_size=8, lr=1e-3, warmup_iterations=1)


@pytest.fixture
def config(architecture) -> SimpleNamespace:
    teacher = TeacherConfig(architecture=architecture, pretraining=RECIPE, templates=["{}", "a {}"])
    threads, data = ThreadConfig(teacher=1), DataConfig(raw_root="raw", regions="segment")
    return SimpleNamespace(teacher=teacher, threads=threads, data=data, device="cpu")


def call(command: ModuleType, config: SimpleNamespace, *words: object) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args([str(word) for word in words])
    args.config = config
    command.run(args)


def test_train_teacher_writes_teacher_log_and_zero_shot(config, captions, tmp_path):
    files = [tmp_path / name for name in ("teacher.safetensors", "log.csv", "zero_shot.json")]
    call(
        train_teacher, config, "--captions", captions, "--output", files[0], "--log", files[1], "--zero-shot", files[2]
    )
    assert Teacher.load(files[0]).embed_dim == 32
    rows = list(csv.DictReader(files[1].open()))
    assert [row["iteration"] for row in rows] == ["1", "2", "3", "4"]
    assert all(float(row["loss"]) > 0 for row in rows)
    assert float(rows[0]["lr"]) == 1e-3
    assert json.loads(files[2].read_text())["held_out_among_all"]["chance"] == 25


def test_embed_regions_follows_the_configuration(config, teacher, prepared, tmp_path):
    teacher.save(tmp_path / "t.safetensors")
    words = (
        "--teacher",
        tmp_path / "t.safetensors",
        "--dataset",
        prepared.folder,
        "--output",
        tmp_path / "r.safetensors",
    )
    call(embed_regions, config, *words)
    loaded = RegionEmbeddings.load(tmp_path / "r.safetensors")
    assert (loaded.kind, loaded.encoding, loaded.region.tolist()) == ("segment", "crop", [3, 4, 7, 3, 4, 7])


def test_embed_vocabularies_writes_a_file_a_data_set_and_kind_of_prompts(config, teacher, prepared, tmp_path):
    teacher.save(tmp_path / "t.safetensors")
    path = prepared.folder / "vocabulary.json"
    words = ("--teacher", tmp_path / "t.safetensors", "--vocabularies", f"a={path}", f"b={path}")
    call(embed_vocabularies, config, *words, "--prompts", "plain", "ensemble", "--output", tmp_path / "text")
    for prompts, templates in (("plain", None), ("ensemble", ["{}", "a {}"])):
        expected = embed_vocabulary(teacher, prepared.vocabulary, templates)
        for name in ("a", "b"):
            found = TextEmbeddings.load(tmp_path / "text" / prompts / f"{name}.safetensors")
            torch.testing.assert_close(found.embeddings, expected.embeddings)
            assert torch.equal(found.class_index, expected.class_index)


def test_name_lists_are_for_the_ensemble_prompts_only(config, teacher, prepared, tmp_path):
    teacher.save(tmp_path / "t.safetensors")
    vocabulary = dataclasses.replace(prepared.vocabulary, dataset="coco")
    vocabulary.write(tmp_path / "vocabulary.json")
    lines = [f"{index}:{synonyms[0]}s,{synonyms[0]}\n" for index, synonyms in enumerate(vocabulary.names)]
    (tmp_path / "names.txt").write_text("".join(lines))
    content = config.teacher.model_dump() | {"name_lists": {"coco": str(tmp_path / "names.txt")}}
    config.teacher = TeacherConfig.model_validate(content)
    words = ("--teacher", tmp_path / "t.safetensors", "--vocabularies", f"a={tmp_path / 'vocabulary.json'}")
    call(embed_vocabularies, config, *words, "--prompts", "plain", "ensemble", "--output", tmp_path / "text")
    plain, ensemble = (TextEmbeddings.load(tmp_path / f"text/{kind}/a.safetensors") for kind in ("plain", "ensemble"))
    torch.testing.assert_close(plain.embeddings, embed_vocabulary(teacher, vocabulary, None).embeddings)
    named = Vocabulary(vocabulary.dataset, tuple((f"{n[0]}s", n[0]) for n in vocabulary.names), vocabulary.ignore)
    torch.testing.assert_close(ensemble.embeddings, embed_vocabulary(teacher, named, ["{}", "a {}"]).embeddings)
    assert torch.bincount(ensemble.class_index).tolist() == [2] * len(vocabulary)


def test_a_vocabulary_without_its_data_set_is_a_user_error(config, tmp_path):
    words = ("--teacher", "t", "--vocabularies", "vocabulary.json", "--prompts", "plain", "--output", tmp_path)
    with pytest.raises(UserError, match="NAME=PATH"):
        call(embed_vocabularies, config, *words)


def test_training_and_importing_need_their_own_part_of_the_configuration(config, architecture, captions, tmp_path):
    with pytest.raises(UserError, match=r"teacher\.pretrained: missing"):
        call(import_teacher, config, "--output", tmp_path / "t.safetensors")
    config.teacher = TeacherConfig(architecture=architecture, pretrained="openai", templates=["{}"])
    words = ("--captions", captions, "--output", tmp_path / "t", "--log", tmp_path / "l", "--zero-shot", tmp_path / "z")
    with pytest.raises(UserError, match=r"teacher\.pretraining: missing"):
        call(train_teacher, config, *words)
    assert not (tmp_path / "t").exists()


def test_a_truncated_teacher_is_a_user_error(config, teacher, prepared, tmp_path):
    path = tmp_path / "t.safetensors"
    teacher.save(path)
    path.write_bytes(path.read_bytes()[:5000])
    words = ("--teacher", path, "--dataset", prepared.folder, "--output", tmp_path / "r.safetensors")
    with pytest.raises(UserError, match="damaged or not safetensors"):
        call(embed_regions, config, *words)
    assert not (tmp_path / "r.safetensors").exists()
