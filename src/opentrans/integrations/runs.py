"""A published FC-CLIP checkpoint as a folder of results: teacher, text embeddings, configuration, finished run."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from opentrans.clip.teacher import Teacher, get_architecture
from opentrans.clip.text import embed_vocabulary
from opentrans.clip.weights import ClipWeights
from opentrans.config import Config, TargetConfig
from opentrans.data.prepared import Vocabulary
from opentrans.errors import UserError
from opentrans.integrations.fcclip import FCCLIP_REMEDY, get_clip, import_state
from opentrans.models.registry import build_target
from opentrans.runs.find import CHECKPOINT, name_config
from opentrans.system.files import sha256, write_text
from opentrans.training.checkpoint import save_checkpoint


def build_teacher(theirs: Mapping[str, Tensor], config: Config, quick_gelu: bool, where: object) -> Teacher:
    """The CLIP model inside their checkpoint, by the configuration's architecture."""
    teacher = Teacher({**get_architecture(config.teacher.architecture), "quick_gelu": quick_gelu})
    try:
        teacher.clip.load_state_dict(get_clip(theirs, where))
    except RuntimeError as error:
        problem = f"its CLIP is not the configured teacher.architecture ({str(error).splitlines()[-1].strip()})"
        raise UserError(where, problem, FCCLIP_REMEDY) from None
    return teacher


def write_run(
    results: Path,
    place: Path,
    theirs: Mapping[str, Tensor],
    config: Config,
    settings: TargetConfig,
    vocabulary: Path,
    quick_gelu: bool,
    source: Path,
) -> Path:
    """Write everything that ``evaluate`` and ``predict`` need of a published checkpoint into `results`.

    Args:
        results: the folder to write.
        place: of the run inside it (``training/{target}/{subnetwork}/{freeze}/seed{seed}``).
        theirs: the state dict of the published code.
        config: written beside the run, so that the folder is complete.
        settings: sizes of the target.
        vocabulary: the training vocabulary's file; it is embedded with the target's prompts.
        quick_gelu: whether CLIP's text encoder has QuickGELU.
        source: the published file; its hash goes into the run's identity.

    Returns:
        The run's checkpoint.
    """
    if settings.kind != "fcclip":
        raise UserError("--target", f"is of kind {settings.kind}", "name a target of kind fcclip")

    teacher = build_teacher(theirs, config, quick_gelu, source)
    templates = config.teacher.templates if settings.prompts == "ensemble" else None
    text = embed_vocabulary(teacher, Vocabulary.read(vocabulary), templates)

    # The target is built from files, as a training builds it.
    artefact = results / "teacher/teacher.safetensors"
    teacher.save(artefact)
    target = build_target(settings, ClipWeights.load(artefact), text)
    target.load_state_dict(import_state(theirs, target.state_dict(), source))

    text.save(results / f"text/{settings.prompts}/coco_train.safetensors")
    name, content = name_config(config)
    write_text(results / name, content)
    identity = {"target": place.parts[1], "seed": place.parts[4].removeprefix("seed"), "imported": sha256(source)}
    optimizer = torch.optim.SGD(target.parameters(), settings.training.optimizer.lr)  # has no state
    save_checkpoint(results / place / CHECKPOINT, settings.training.iterations, target, optimizer, identity)
    return results / place / CHECKPOINT
