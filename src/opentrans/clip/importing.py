"""Published CLIP weights through open_clip, turned into the teacher's artefact."""

import zipfile
from pathlib import Path

import open_clip
import torch
from torch import Tensor

from opentrans.clip.pretraining import make_teacher
from opentrans.clip.teacher import Teacher, get_architecture
from opentrans.clip.weights import Architecture
from opentrans.errors import UserError

_FIELD = "teacher.pretrained"
_RANDOM = "random"
_OPENAI_NUMBERS = ("input_resolution", "context_length", "vocab_size")  # stored by OpenAI beside the weights


def import_teacher(architecture: str | Architecture, pretrained: str) -> Teacher:
    """A teacher with open_clip weights.

    Args:
        architecture: open_clip model name (``RN50``, or ``RN50-quickgelu`` for OpenAI's weights in a local file that
            others saved), or a model configuration, which needs a local file.
        pretrained: a tag that open_clip knows for the name (it downloads the weights) or a local file (open_clip
            checkpoint, safetensors, or OpenAI's TorchScript archive), or ``random``: initial weights, always the same.

    Raises:
        UserError: unknown name or tag, missing, damaged or unfitting file, failed download.
    """
    settings = dict(get_architecture(architecture))
    if pretrained == _RANDOM:
        return make_teacher(settings, 0)

    source = Path(pretrained)
    if source.is_file():
        return _import_file(settings, source)

    tags = open_clip.list_pretrained_tags_by_model(architecture) if isinstance(architecture, str) else []
    if not isinstance(architecture, str) or pretrained not in tags:
        raise UserError(
            f"{_FIELD}: {pretrained}", "no such file, nor a tag of this model", f"give a file or one of {tags}"
        )

    # OpenAI's weights were trained with QuickGELU; the artefact must rebuild the same network.
    if open_clip.get_pretrained_cfg(architecture, pretrained).get("quick_gelu", False):
        settings["quick_gelu"] = True
    return _import_file(settings, _download(architecture, pretrained))


def _download(name: str, tag: str) -> Path:
    try:
        return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(name, tag)))
    except Exception as error:  # whatever the hub's client or the network raises
        remedy = "check the network, or download the weights by hand and give the file"
        raise UserError(f"{_FIELD}: {tag}", f"download failed ({type(error).__name__}: {error})", remedy) from None


def _is_torchscript(path: Path) -> bool:
    """Whether a file is an archive as OpenAI published CLIP in."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(Path(name).name == "constants.pkl" for name in archive.namelist())


def _read_openai(path: Path) -> dict[str, Tensor] | None:
    """The weights of a file that is OpenAI's by its form: the archive, or its state dict saved again. Else None."""
    if _is_torchscript(path):
        weights = torch.jit.load(path, map_location="cpu").state_dict()
    else:
        weights = open_clip.factory.load_state_dict(str(path), weights_only=True)
        if not all(name in weights for name in _OPENAI_NUMBERS):
            return None
    return {name: weight for name, weight in weights.items() if name not in _OPENAI_NUMBERS}


def _import_file(settings: Architecture, path: Path) -> Teacher:
    """Build the network of `settings` and load `path` (nothing is unpickled freely)."""
    try:
        weights = _read_openai(path)
        if weights is not None:
            # OpenAI's networks were trained with QuickGELU, whatever the name in the configuration says.
            teacher = Teacher(settings | {"quick_gelu": True})
            teacher.clip.load_state_dict(weights)
        else:
            teacher = Teacher(settings)
            open_clip.load_checkpoint(teacher.clip, str(path), strict=True, weights_only=True)
    except Exception as error:  # unpickling, zip, safetensors and shape errors have no common base
        problem = f"not the weights of teacher.architecture ({str(error).splitlines()[0]})"
        raise UserError(path, problem, "give the weights that belong to the architecture") from None

    if not all(weight.isfinite().all() for weight in teacher.clip.state_dict().values()):
        raise UserError(path, "holds weights that are not finite", "download the file again")
    return teacher
