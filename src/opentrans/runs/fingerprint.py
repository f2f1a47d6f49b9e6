"""What the results of a profile depend on, key by key: Snakemake's rerun triggers in a form that DVC can compare."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from opentrans.config import Config
from opentrans.runs.code_digest import hash_sources, list_commands
from opentrans.runs.layout import name_run, name_subnetwork
from opentrans.runs.table import read_experiments, runs_of


def describe_settings(config: Config) -> dict[str, Any]:
    """The merged configuration, the experiment table and what it asks for, and the code.

    Keys: ``config``, every setting, defaults written out; ``experiments``, the rows of the experiment table;
    ``subnetworks``, ``runs`` and ``evaluated``, the jobs that they come to; ``prompts``, those that the targets use;
    ``grounds``, whether one of these runs needs the nouns of captions; ``code``, a digest of each command's sources.

    Raises:
        UserError: the experiment table names something that the configuration lacks.
    """
    experiments = read_experiments(Path(config.experiments), config)
    runs = runs_of(experiments, config.tables, config.seeds)
    evaluated = runs_of(experiments, config.tables, config.seeds, evaluated_only=True)

    return {
        "config": config.model_dump(mode="json"),
        "experiments": [asdict(experiment) for experiment in experiments],
        "subnetworks": sorted({name_subnetwork(run) for run in runs}),
        "runs": sorted(map(name_run, runs)),
        "evaluated": sorted(map(name_run, evaluated)),
        "prompts": sorted({target.prompts for target in config.targets.values()}),
        "grounds": any(config.targets[run.target].grounding_weight > 0 for run in runs),
        "code": {command: hash_sources(command) for command in list_commands()},
    }
