"""A finished run on disk: which one it is, and where the files lie that it was made with."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opentrans.config import Config, load_config
from opentrans.errors import UserError
from opentrans.runs.layout import CHECKPOINT, RUN_REMEDY, ResultsLayout, parse_checkpoint
from opentrans.runs.provenance import SUFFIX, read_record
from opentrans.runs.table import RunId, get_named

DIGITS = 16


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
        raise UserError(path, f"no such run (no {CHECKPOINT} there)", _suggest_runs(path))
    results, run_id = parse_checkpoint(checkpoint)

    # The run's own configuration says which prompts its training vocabulary was embedded with.
    config = config or load_config([find_config(results, checkpoint)])
    prompts = get_named(config.targets, run_id.target, f"{checkpoint}: target").prompts
    teacher, text = results.teacher, results.text(prompts)

    for file in (teacher, text):
        if not file.is_file():
            raise UserError(file, "the run needs this file", "keep the whole folder of the results together")
    return FinishedRun(run_id, config, checkpoint, teacher, text)


def _suggest_runs(path: Path) -> str:
    """The remedy where `path` is no run: some of the runs in it, or an example."""
    inside = sorted(path.glob(f"**/seed*/{CHECKPOINT}"))[:3] if path.is_dir() else []
    names = ", ".join(str(checkpoint.parent) for checkpoint in inside)
    return f"take one of the runs in it, such as {names}" if inside else RUN_REMEDY


def name_config(config: Config) -> tuple[str, str]:
    """Name and content of a configuration's file in the folder of the results; the name is made of the content."""
    content = config.model_dump_json(indent=1) + "\n"
    digest = hashlib.sha256(content.encode()).hexdigest()[:DIGITS]
    return ResultsLayout(Path()).config(digest).as_posix(), content


def find_config(results: ResultsLayout, checkpoint: Path) -> Path:
    """The configuration that a run was made with: what its record of provenance names, or the only one there is.

    Raises:
        UserError: none is there, or several and no record says which.
    """
    named = [path for path in _list_inputs(checkpoint) if path.parent == results.configs and path.is_file()]
    there = named[:1] or sorted(results.configs.glob("*.yaml"))

    if len(there) != 1:
        problem = f"{len(there)} configurations, and the run does not say which is its own"
        raise UserError(results.configs, problem, "give the configuration files with --config")
    return there[0]


def _list_inputs(checkpoint: Path) -> Iterator[Path]:
    """The files that a checkpoint was made of, by the record beside it."""
    folder = checkpoint.resolve().parent
    for record in sorted(folder.glob(f"{checkpoint.name}*{SUFFIX}")):
        for name in read_record(record)["inputs"]:
            yield (folder / name).resolve()
