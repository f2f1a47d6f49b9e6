"""Published CLIP weights through open_clip, turned into the teacher's artefact."""

from pathlib import Path

import open_clip
import torch

from opentrans.clip.teacher import Architecture, Teacher, get_architecture
from opentrans.errors import UserError

FIELD = "teacher.pretrained"


def uses_quick_gelu(name: str, pretrained: str) -> bool:
    """Whether open_clip's tag was trained with QuickGELU (OpenAI's were); False for a local file."""
    if Path(pretrained).exists():
        return False
    return bool((open_clip.get_pretrained_cfg(name, pretrained) or {}).get("quick_gelu", False))


def import_teacher(architecture: str | Architecture, pretrained: str) -> Teacher:
    """A teacher with open_clip weights.

    Args:
        architecture: open_clip model name (``RN50``, or ``RN50-quickgelu`` for a local file of OpenAI's weights),
            or a model configuration, which needs a local file.
        pretrained: a tag that open_clip knows for the name (it downloads the weights) or a local file (open_clip
            checkpoint, safetensors, or OpenAI's TorchScript archive).

    Raises:
        UserError: unknown name or tag, missing, damaged or unfitting file, failed download.
    """
    settings = dict(get_architecture(architecture))
    source = Path(pretrained)
    if source.is_file():
        return _import_file(settings, source)
    tags = open_clip.list_pretrained_tags_by_model(architecture) if isinstance(architecture, str) else []
    if not isinstance(architecture, str) or pretrained not in tags:
        raise UserError(f"{FIELD}: {pretrained}", "no such file, nor a tag of this model", f"give a file or one of {tags}")
    if uses_quick_gelu(architecture, pretrained):
        settings["quick_gelu"] = True
    return _import_file(settings, _download(architecture, pretrained))


def _download(name: str, tag: str) -> Path:
    try:
        return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(name, tag)))
    except Exception as error:  # whatever the hub's client or the network raises
        remedy = "check the network, or download the weights by hand and give the file"
        raise UserError(f"{FIELD}: {tag}", f"download failed ({type(error).__name__}: {error})", remedy) from None


def _import_file(settings: Architecture, path: Path) -> Teacher:
    """Build the network of `settings` and load `path` with open_clip's own reader (nothing is unpickled freely)."""
    teacher = Teacher(settings)
    try:
        open_clip.load_checkpoint(teacher.clip, str(path), strict=True, weights_only=True)
    except Exception as error:  # unpickling, zip, safetensors and shape errors have no common base
        problem = f"these are not the weights of teacher.architecture ({str(error).splitlines()[0]})"
        raise UserError(path, problem, "give the weights that belong to the architecture") from None
    if any(not weight.isfinite().all() for weight in teacher.clip.parameters()):
        raise UserError(path, "holds weights that are not finite", "download the file again")
    teacher.clip.to(torch.float32)
    return teacher.requires_grad_(False).eval()
