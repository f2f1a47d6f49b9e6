"""A trained target from its files: the one way in for evaluation, figures and prediction."""

from pathlib import Path

from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipWeights
from opentrans.config import Config
from opentrans.models.registry import build_target
from opentrans.models.target import Target
from opentrans.runs.find import FinishedRun
from opentrans.runs.table import get_named
from opentrans.system.device import select_device
from opentrans.training.checkpoint import load_checkpoint, load_model


def load_target(config: Config, name: str, checkpoint: Path, teacher: Path, train_text: Path) -> Target:
    """The target `name` with a checkpoint's weights, in evaluation mode on the configured device.

    Args:
        config: the configuration that the run was made with.
        name: a key of ``config.targets``.
        checkpoint: the run's weights.
        teacher: the teacher's artefact; it says what the backbone looks like.
        train_text: embeddings of the training vocabulary, with the prompts of the target.

    Raises:
        UserError: an unknown target, a missing or damaged file, a checkpoint of another architecture.
    """
    settings = get_named(config.targets, name, "--target")
    target = build_target(settings, ClipWeights.load(teacher), TextEmbeddings.load(train_text))
    load_model(target, load_checkpoint(checkpoint), checkpoint)
    target.strip_bytes = config.evaluation.strip_megabytes * 2**20
    return target.to(select_device(config.device)).eval()


def load_run(found: FinishedRun) -> Target:
    """The target of a run that `opentrans.runs.find.find_run` found."""
    return load_target(found.config, found.run_id.target, found.checkpoint, found.teacher, found.train_text)
