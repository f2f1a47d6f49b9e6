"""What the rest needs of CLIP, without building CLIP: importing open_clip costs every job seconds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from opentrans.errors import UserError
from opentrans.system.tensors import load_tensors

Architecture = dict[str, Any]
# Written out for the same reason; a test compares them with open_clip's.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_VISUAL = "visual."
_FETCHED = ("timm_model_name", "hf_model_name", "hf_tokenizer_name")
TEACHER_REMEDY = "make the teacher again (opentrans train-teacher or import-teacher)"


@runtime_checkable
class ClipSource(Protocol):
    """Where a backbone takes CLIP's image encoder from: `ClipWeights`, or a whole `opentrans.clip.teacher.Teacher`."""

    @property
    def architecture(self) -> Architecture:
        """The open_clip model configuration."""

    @property
    def embed_dim(self) -> int:
        """The dimension of CLIP's embedding space."""

    @property
    def visual(self) -> Mapping[str, Tensor]:
        """The state dict of the image encoder."""

    @property
    def logit_scale(self) -> float:
        """CLIP's inverse temperature (100 for the published models)."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""


@dataclass(frozen=True)
class ClipWeights:
    """The image encoder's weights of a teacher's artefact; see `ClipSource`."""

    architecture: Architecture
    visual: Mapping[str, Tensor]
    logit_scale: float
    device: torch.device

    @property
    def embed_dim(self) -> int:
        """The dimension of CLIP's embedding space."""
        return int(self.architecture["embed_dim"])

    @classmethod
    def load(cls, path: Path, device: torch.device | None = None) -> "ClipWeights":
        """Read an artefact written by ``Teacher.save``, onto `device` (default: the CPU)."""
        tensors, architecture = load_artefact(path)
        device = device or torch.device("cpu")
        visual = {
            name.removeprefix(_VISUAL): value.to(device) for name, value in tensors.items() if name.startswith(_VISUAL)
        }
        return cls(architecture, visual, float(tensors["logit_scale"].exp()), device)


def load_artefact(path: Path) -> tuple[dict[str, Tensor], Architecture]:
    """All weights and the architecture of a teacher's artefact; anything else is a `UserError`."""
    tensors, metadata = load_tensors(path, TEACHER_REMEDY)
    if "architecture" not in metadata or "logit_scale" not in tensors:
        raise UserError(path, "metadata field architecture or tensor logit_scale is missing", TEACHER_REMEDY)

    try:
        architecture: Architecture = json.loads(metadata["architecture"])
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(
            path, f"metadata field architecture is not readable as JSON ({error})", TEACHER_REMEDY
        ) from None
    if not isinstance(architecture, dict):
        raise UserError(path, "metadata field architecture holds no fields", TEACHER_REMEDY)
    _refuse_downloads(path, architecture)
    return tensors, architecture


def _refuse_downloads(path: Path, architecture: Architecture) -> None:
    """Refuse an architecture that open_clip would fetch from the network: a file from others is data."""
    for section, settings in architecture.items():
        for name in _FETCHED if isinstance(settings, dict) else ():
            if settings.get(name):
                problem = f"metadata field architecture: {section}.{name} would be fetched from the network"
                raise UserError(path, problem, TEACHER_REMEDY)
    if "hf-hub:" in json.dumps(architecture):
        problem = "metadata field architecture names a model of a hub (hf-hub:)"
        raise UserError(path, problem, TEACHER_REMEDY)
