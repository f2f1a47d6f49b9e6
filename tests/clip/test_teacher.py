import json

import open_clip
import pytest
import torch

from opentrans.clip.teacher import Teacher
from opentrans.clip.weights import CLIP_MEAN, CLIP_STD
from opentrans.errors import UserError
from opentrans.system.tensors import save_tensors


def test_a_teacher_survives_the_disk_and_equal_teachers_are_equal_bytes(teacher, tmp_path):
    teacher.save(tmp_path / "a")
    loaded = Teacher.load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_images_are_normalised_as_clips_and_embeddings_have_length_one(teacher):
    grey = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1).expand(2, 3, 64, 64)
    assert teacher.normalize(grey).abs().max() < 1e-6
    white = teacher.normalize(torch.ones(1, 3, 1, 1)).flatten()
    assert white[0].item() == pytest.approx((1 - 0.48145466) / 0.26862954)
    torch.testing.assert_close(teacher.encode_images(grey).norm(dim=-1), torch.ones(2))


def test_text_embeddings_do_not_depend_on_the_batch(teacher):
    prompts = [f"a photo of {number} dogs" for number in range(5)]
    torch.testing.assert_close(teacher.encode_texts(prompts, batch_size=2), teacher.encode_texts(prompts))


def test_weights_of_another_network_are_a_user_error(teacher, architecture, tmp_path):
    other = architecture | {"embed_dim": 16}
    save_tensors(tmp_path / "t", teacher.clip.state_dict(), {"architecture": json.dumps(other)})
    with pytest.raises(UserError, match="weights and architecture do not fit"):
        Teacher.load(tmp_path / "t")


def test_a_file_without_architecture_is_a_user_error(tmp_path):
    save_tensors(tmp_path / "t", {"a": torch.zeros(1)})
    with pytest.raises(UserError, match="architecture or tensor logit_scale is missing"):
        Teacher.load(tmp_path / "t")


def test_the_written_out_colour_statistics_are_open_clips():
    assert (CLIP_MEAN, CLIP_STD) == (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)


@pytest.mark.parametrize(
    ("section", "name"), [("vision_cfg", "timm_model_name"), ("text_cfg", "hf_model_name"), ("text_cfg", "other")]
)
def test_an_architecture_that_would_be_fetched_from_the_network_is_refused(teacher, tmp_path, section, name):
    path = tmp_path / "teacher.safetensors"
    settings = {**teacher.architecture[section], name: "hf-hub:someone/model"}
    metadata = {"architecture": json.dumps({**teacher.architecture, section: settings})}
    save_tensors(path, teacher.clip.state_dict(), metadata)
    with pytest.raises(UserError, match=r"fetched from the network|hf-hub:"):
        Teacher.load(path)
