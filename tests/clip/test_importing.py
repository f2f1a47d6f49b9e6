from argparse import Namespace

import open_clip
import pytest
import torch

from opentrans.clip import importing
from opentrans.clip.importing import import_teacher
from opentrans.clip.teacher import Teacher, get_architecture
from opentrans.commands import import_teacher as command
from opentrans.config import TeacherConfig
from opentrans.errors import UserError


def test_a_local_open_clip_checkpoint_becomes_an_equal_teacher(teacher, architecture, tmp_path):
    torch.save({"state_dict": teacher.clip.state_dict(), "epoch": 3}, tmp_path / "epoch_3.pt")
    settings = TeacherConfig(architecture=architecture, pretrained=str(tmp_path / "epoch_3.pt"), templates=["{}"])
    command.run(Namespace(config=Namespace(teacher=settings), output=tmp_path / "teacher.safetensors"))
    loaded = Teacher.load(tmp_path / "teacher.safetensors")
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.encode_images(images), teacher.encode_images(images))
    assert torch.equal(loaded.encode_texts(["a dog"]), teacher.encode_texts(["a dog"]))
    assert not loaded.training


def test_quick_gelu_is_in_the_artefact_and_changes_the_text_tower(teacher, architecture, tmp_path):
    torch.save(teacher.clip.state_dict(), tmp_path / "weights.pt")
    imported = import_teacher(architecture | {"quick_gelu": True}, str(tmp_path / "weights.pt"))
    imported.save(tmp_path / "teacher.safetensors")
    loaded = Teacher.load(tmp_path / "teacher.safetensors")
    assert loaded.architecture["quick_gelu"] is True
    assert torch.equal(loaded.encode_texts(["a dog"]), imported.encode_texts(["a dog"]))
    assert not torch.allclose(loaded.encode_texts(["a dog"]), teacher.encode_texts(["a dog"]), atol=1e-5)


@pytest.mark.parametrize("quick", [True, False])
def test_a_tag_is_downloaded_and_brings_its_own_activation(teacher, architecture, tmp_path, monkeypatch, quick):
    torch.save(teacher.clip.state_dict(), tmp_path / "hub.pt")
    monkeypatch.setattr(open_clip, "download_pretrained", lambda settings: str(tmp_path / "hub.pt"))
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: {"quick_gelu": quick})
    monkeypatch.setattr(importing, "get_architecture", lambda name: architecture)
    assert import_teacher("RN50", "openai").architecture.get("quick_gelu", False) is quick


def test_a_state_dict_saved_from_openais_archive_is_read_with_quick_gelu(teacher, architecture, tmp_path):
    weights = {name: weight.half() for name, weight in teacher.clip.state_dict().items()}
    numbers = {
        "input_resolution": torch.tensor(64),
        "context_length": torch.tensor(16),
        "vocab_size": torch.tensor(49408),
    }
    torch.save(weights | numbers, tmp_path / "RN50.pt")
    imported = import_teacher(architecture, str(tmp_path / "RN50.pt"))
    assert imported.architecture["quick_gelu"] is True
    assert imported.clip.visual.conv1.weight.dtype == torch.float32
    assert torch.equal(imported.clip.visual.conv1.weight, weights["visual.conv1.weight"].float())


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_torchscript_archive_is_told_from_a_checkpoint(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "script.pt")
    torch.save({"a": torch.zeros(2)}, tmp_path / "checkpoint.pt")
    (tmp_path / "noise.pt").write_bytes(b"noise")
    found = [importing._is_torchscript(tmp_path / f"{name}.pt") for name in ("script", "checkpoint", "noise")]
    assert found == [True, False, False]
    assert importing._read_openai(tmp_path / "script.pt").keys() == {"weight", "bias"}
    assert importing._read_openai(tmp_path / "checkpoint.pt") is None


def test_openais_published_rn50_was_trained_with_quick_gelu():
    assert open_clip.get_pretrained_cfg("RN50", "openai")["quick_gelu"]


def test_rn50_has_the_shapes_of_the_paper():
    with torch.device("meta"):
        clip = Teacher(get_architecture("RN50")).clip
    trunk = {name: weight for name, weight in clip.visual.named_parameters() if not name.startswith("attnpool")}
    convolutions = [weight.numel() for weight in trunk.values() if weight.ndim == 4]
    assert (len(convolutions), sum(convolutions)) == (55, 23_474_016)
    assert sum(weight.numel() for weight in trunk.values()) == pytest.approx(23.53e6, rel=1e-3)
    assert clip.visual.attnpool.c_proj.weight.shape == (1024, 2048)
    assert clip.token_embedding.weight.shape == (49408, 512)


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("RN50", "nobody", "nor a tag of this model"),
        ("RN50000", "openai", "open_clip knows no such model"),
        ("ViT-B-32", "openai", "not a CLIP ResNet"),
    ],
)
def test_unknown_sources_are_user_errors(name, pretrained, message):
    with pytest.raises(UserError, match=message):
        import_teacher(name, pretrained)


def test_a_failed_download_is_a_user_error(monkeypatch):
    def fail(settings: object) -> str:
        raise OSError("network is unreachable")

    monkeypatch.setattr(open_clip, "download_pretrained", fail)
    with pytest.raises(UserError, match=r"download failed .*unreachable"):
        import_teacher("RN50", "openai")


def test_weights_that_do_not_fit_are_damaged_or_not_finite_are_user_errors(teacher, architecture, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(teacher.clip.state_dict() | {"visual.conv1.weight": torch.zeros(7, 3, 3, 3)}, path)
    with pytest.raises(UserError, match="not the weights of teacher"):
        import_teacher(architecture, str(path))
    torch.save(teacher.clip.state_dict() | {"logit_scale": torch.tensor(float("nan"))}, path)
    with pytest.raises(UserError, match="not finite"):
        import_teacher(architecture, str(path))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="not the weights"):
        import_teacher(architecture, str(path))


def test_random_weights_have_the_right_shapes_and_are_always_the_same(architecture):
    one, two = (import_teacher(architecture, "random").clip.state_dict() for _ in range(2))
    assert one.keys() == Teacher(architecture).clip.state_dict().keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert one["visual.conv1.weight"].std() > 0
