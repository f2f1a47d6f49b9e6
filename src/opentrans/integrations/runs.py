"""A published FC-CLIP checkpoint as a folder of results: teacher, text embeddings, configuration, finished run."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from opentrans.clip.teacher import Teacher, get_architecture
from opentrans.clip.text import embed_vocabulary
from opentrans.clip.weights import ClipWeights
from opentrans.config import Config, TargetConfig
from opentrans.data.name_lists import take_names
from opentrans.data.prepared import Vocabulary
from opentrans.errors import UserError
from opentrans.integrations.fcclip import FCCLIP_REMEDY, get_clip, import_state
from opentrans.models.registry import build_target
from opentrans.runs.find import name_config
from opentrans.runs.layout import ResultsLayout
from opentrans.runs.table import RunId
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
    results: ResultsLayout,
    run_id: RunId,
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
        run_id: what the run is called.
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
    names, templates = Vocabulary.read(vocabulary), None
    if settings.prompts == "ensemble":
        names, templates = take_names(names, config.teacher.name_lists), config.teacher.templates
    text = embed_vocabulary(teacher, names, templates)
    teacher.save(results.teacher)

    # From the file, as `evaluate` and `predict` will build it.
    target = build_target(settings, ClipWeights.load(results.teacher), text)
    target.load_state_dict(import_state(theirs, target.state_dict(), source))
    text.save(results.text(settings.prompts))
    name, content = name_config(config)
    write_text(results.folder / name, content)

    identity = {"target": run_id.target, "seed": str(run_id.seed), "imported": sha256(source)}
    optimizer = torch.optim.SGD(target.parameters(), settings.training.optimizer.lr)  # has no state
    checkpoint = results.checkpoint(run_id)
    save_checkpoint(checkpoint, settings.training.iterations, target, optimizer, identity)
    return checkpoint
