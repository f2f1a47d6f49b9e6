"""OpenAI's CLIP RN50 at true size, a TorchScript archive in half precision; the witness is open_clip's own loader."""

import open_clip
import pytest
import torch
from open_clip.openai import load_openai_model
from torch import nn

from opentrans.clip.backbone import ClipBackbone
from opentrans.clip.importing import import_teacher
from opentrans.clip.teacher import Teacher

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore::DeprecationWarning")
NUMBERS = {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}


def nest(weights):
    """A module whose state dict has the keys and values of `weights`."""
    root = nn.Module()
    for name, value in weights.items():
        *path, last = name.split(".")
        place = root
        for part in path:
            if part not in dict(place.named_children()):
                place.add_module(part, nn.Module())
            place = place.get_submodule(part)
        place.register_buffer(last, value)
    return root


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """What OpenAI published, with drawn weights: same keys, shapes, types and container."""
    torch.manual_seed(0)
    clip = open_clip.CLIP(**open_clip.get_model_config("RN50"))
    for name, weight in clip.visual.named_parameters():
        if "bn" in name and name.endswith("weight"):
            weight.data.uniform_(0.3, 0.7)  # open_clip starts some at 0, which would hide whole blocks
    halves = {
        name: weight.half() if weight.is_floating_point() else weight for name, weight in clip.state_dict().items()
    }
    path = tmp_path_factory.mktemp("openai") / "RN50.pt"
    torch.jit.save(torch.jit.script(nest(halves | {name: torch.tensor(n) for name, n in NUMBERS.items()})), path)
    return path


@pytest.fixture(scope="module")
def expected(archive):
    """Weights and answers of the network that open_clip makes of the archive."""
    return load_openai_model(str(archive), precision="fp32", device="cpu").eval()


def ask(clip):
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    tokens = open_clip.SimpleTokenizer()(["a photo of a cat"])
    with torch.inference_mode():
        return clip.encode_image(images), clip.encode_text(tokens)


def test_the_archive_behind_the_tag_answers_as_in_open_clip(archive, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(open_clip, "download_pretrained", lambda settings: str(archive))
    import_teacher("RN50", "openai").save(tmp_path / "teacher.safetensors")
    teacher = Teacher.load(tmp_path / "teacher.safetensors")
    assert teacher.architecture["quick_gelu"] is True
    assert {weight.dtype for weight in teacher.clip.parameters()} == {torch.float32}
    for ours, theirs in zip(ask(teacher.clip), ask(expected), strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs)
    backbone = ClipBackbone.of_teacher(teacher)
    assert all(torch.equal(weight, expected.visual.state_dict()[name]) for name, weight in backbone.named_parameters())


def test_the_archive_as_a_local_file_gives_the_same_weights(archive, expected):
    teacher, wanted = import_teacher("RN50", str(archive)), expected.state_dict()
    assert teacher.architecture["quick_gelu"] is True
    assert all(torch.equal(weight, wanted[name]) for name, weight in teacher.clip.state_dict().items())
