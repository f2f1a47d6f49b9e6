"""The frozen CLIP teacher: one artefact (weights + architecture), read by everything that needs CLIP."""

import json
from pathlib import Path

import open_clip
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from opentrans.clip.weights import CLIP_MEAN, CLIP_STD, TEACHER_REMEDY, Architecture, load_artefact
from opentrans.errors import UserError
from opentrans.system.tensors import save_tensors


def get_architecture(name: str | Architecture) -> Architecture:
    """The open_clip model configuration of a model name (``RN50``); a configuration is returned as it is.

    Raises:
        UserError: unknown name, or a visual tower that is not CLIP's ResNet.
    """
    architecture = open_clip.get_model_config(name) if isinstance(name, str) else name
    if architecture is None:
        raise UserError(f"teacher.architecture: {name}", "open_clip knows no such model", "see open_clip.list_models()")
    if not isinstance(architecture.get("vision_cfg", {}).get("layers"), list | tuple):
        problem = "the visual tower is not a CLIP ResNet"
        raise UserError("teacher.architecture", problem, "take RN50 or another RN model")
    return architecture


class Teacher(nn.Module):
    """CLIP behind one interface; all parameters frozen, batch norm in evaluation mode."""

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.clip = open_clip.CLIP(**architecture)
        self.image_size = int(architecture["vision_cfg"]["image_size"])
        self.embed_dim = int(architecture["embed_dim"])

        self.register_buffer("mean", torch.tensor(CLIP_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(CLIP_STD).view(1, 3, 1, 1), persistent=False)

        self.requires_grad_(False)
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.clip.logit_scale.device
        return device

    @property
    def visual(self) -> dict[str, Tensor]:
        """The state dict of the image encoder."""
        state: dict[str, Tensor] = self.clip.visual.state_dict()
        return state

    @property
    def logit_scale(self) -> float:
        """CLIP's inverse temperature (100 for the published models)."""
        return float(self.clip.logit_scale.exp())

    def encode_images(self, images: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n d"]:
        """L2-normalised image embeddings of RGB images with values 0..1 at the teacher's input size."""
        return F.normalize(self.clip.visual(self.normalize(images)), dim=-1)

    def normalize(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """CLIP's input: values 0..1 minus CLIP's mean, divided by its deviation, per channel."""
        return (images - self.mean) / self.std

    def encode_texts(self, prompts: list[str], batch_size: int = 512) -> Float[Tensor, "n d"]:
        """L2-normalised text embeddings."""
        tokenize = open_clip.SimpleTokenizer(context_length=self.clip.context_length)
        parts = [prompts[start : start + batch_size] for start in range(0, len(prompts), batch_size)]
        with torch.no_grad():
            return torch.cat([self.clip.encode_text(tokenize(part).to(self.device), normalize=True) for part in parts])

    def save(self, path: Path) -> None:
        """Write the artefact (safetensors; the architecture is in the metadata)."""
        save_tensors(path, self.clip.state_dict(), {"architecture": json.dumps(self.architecture, sort_keys=True)})

    @classmethod
    def load(cls, path: Path | str) -> "Teacher":
        """Read an artefact written by `save`."""
        tensors, architecture = load_artefact(Path(path))
        teacher = cls(architecture)
        try:
            teacher.clip.load_state_dict(tensors)
        except RuntimeError as error:
            problem = f"weights and architecture do not fit ({str(error).splitlines()[-1].strip()})"
            raise UserError(path, problem, TEACHER_REMEDY) from None
        return teacher
