"""A trained target from its files: the one way in for evaluation, figures and prediction."""

from pathlib import Path

from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipWeights
from opentrans.config import Config
from opentrans.models.registry import build_target
from opentrans.models.target import Target
from opentrans.runs.find import FinishedRun, find_run
from opentrans.runs.table import get_named
from opentrans.system.device import prefer_device, select_device
from opentrans.training.checkpoint import load_checkpoint, load_model


def load_run(run: FinishedRun | Path | str, device: str | None = None) -> Target:
    """The target of a finished run, in evaluation mode.

    Args:
        run: the run's folder or checkpoint inside its results, or what `opentrans.runs.find.find_run` found.
        device: ``auto``, ``cpu`` or ``cuda``; by default that of the run's configuration, or the CPU without a GPU.

    Raises:
        UserError: there is no such run, or a file that belongs to it is missing or damaged.
    """
    found = run if isinstance(run, FinishedRun) else find_run(Path(run))
    name = found.run_id.target
    device = device or prefer_device(found.config.device)
    return load_target(found.config, name, found.checkpoint, found.teacher, found.train_text, device)


def load_target(
    config: Config, name: str, checkpoint: Path, teacher: Path, train_text: Path, device: str | None = None
) -> Target:
    """The target `name` with a checkpoint's weights, in evaluation mode.

    Args:
        config: the configuration that the run was made with.
        name: a key of ``config.targets``.
        checkpoint: the run's weights.
        teacher: the teacher's artefact; it says what the backbone looks like.
        train_text: embeddings of the training vocabulary, with the prompts of the target.
        device: ``auto``, ``cpu`` or ``cuda``; by default the configured one.

    Raises:
        UserError: an unknown target, a missing or damaged file, a checkpoint of another architecture.
    """
    settings = get_named(config.targets, name, "target")
    target = build_target(settings, ClipWeights.load(teacher), TextEmbeddings.load(train_text))
    load_model(target, load_checkpoint(checkpoint), checkpoint)
    target.strip_bytes = config.evaluation.strip_megabytes * 2**20
    return target.to(select_device(device or config.device)).eval()
