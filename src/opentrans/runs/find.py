"""A finished run on disk: which one it is, and where the files lie that it was made with.

The places are those that the workflow writes: ``results/{profile}/training/{target}/{subnetwork}/{freeze}/seed{seed}``.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opentrans.config import Config, load_config
from opentrans.errors import UserError
from opentrans.runs.provenance import SUFFIX, read_record
from opentrans.runs.table import RunId, get_named

CHECKPOINT, CONFIGS = "checkpoint.safetensors", "config"
DIGITS = 16
REMEDY = "give a run's folder, for example results/mini/training/han/dense/none/seed0"


@dataclass(frozen=True)
class FinishedRun:
    """A run with the configuration of its profile and the files that its target is built from."""

    run_id: RunId
    config: Config
    checkpoint: Path
    teacher: Path
    train_text: Path


def find_run(path: Path, config: Config | None = None) -> FinishedRun:
    """Recognise a run by its folder or checkpoint.

    Args:
        path: ``.../training/{target}/{subnetwork}/{freeze}/seed{seed}``, or the checkpoint in it.
        config: the run's configuration; by default the one that the workflow left in the folder of the results.

    Raises:
        UserError: `path` is no run, or a file that belongs to it is missing.
    """
    checkpoint = path / CHECKPOINT if path.is_dir() else path
    if not checkpoint.is_file():
        inside = sorted(path.glob(f"**/seed*/{CHECKPOINT}"))[:3] if path.is_dir() else []
        remedy = f"take one of the runs in it, such as {', '.join(str(p.parent) for p in inside)}" if inside else REMEDY
        raise UserError(path, f"no such run (no {CHECKPOINT} there)", remedy)
    parts = checkpoint.resolve().parts
    seed = re.fullmatch(r"seed(\d+)", parts[-2]) if len(parts) > 6 else None
    if seed is None or parts[-6] != "training":
        raise UserError(checkpoint, "does not lie in training/{target}/{subnetwork}/{freeze}/seed{seed}", REMEDY)
    results = checkpoint.resolve().parents[5]
    run_id = RunId(parts[-5], parts[-4], parts[-3], int(seed[1]))
    config = config or load_config([find_config(results, checkpoint)])
    prompts = get_named(config.targets, run_id.target, f"{checkpoint}: target").prompts
    teacher, text = results / "teacher/teacher.safetensors", results / f"text/{prompts}/coco_train.safetensors"
    for file in (teacher, text):
        if not file.is_file():
            raise UserError(file, "the run needs this file", "keep the whole folder of the results together")
    return FinishedRun(run_id, config, checkpoint, teacher, text)


def name_config(config: Config) -> tuple[str, str]:
    """Name and content of a configuration's file in the folder of the results; the name is made of the content."""
    content = config.model_dump_json(indent=1) + "\n"
    return f"{CONFIGS}/{hashlib.sha256(content.encode()).hexdigest()[:DIGITS]}.yaml", content


def find_config(results: Path, checkpoint: Path) -> Path:
    """The configuration that a run was made with: what its record of provenance names, or the only one there is.

    Raises:
        UserError: none is there, or several and no record says which.
    """
    named = [path for path in _list_inputs(checkpoint) if path.parent == results / CONFIGS and path.is_file()]
    there = named[:1] or sorted((results / CONFIGS).glob("*.yaml"))
    if len(there) != 1:
        problem = f"{len(there)} configurations, and the run does not say which is its own"
        raise UserError(results / CONFIGS, problem, "give the configuration files with --config")
    return there[0]


def _list_inputs(checkpoint: Path) -> Iterator[Path]:
    """The files that a checkpoint was made of, by the record beside it."""
    folder = checkpoint.resolve().parent
    for record in sorted(folder.glob(f"{checkpoint.name}*{SUFFIX}")):
        for name in read_record(record)["inputs"]:
            yield (folder / name).resolve()
